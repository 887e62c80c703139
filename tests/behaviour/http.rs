//! The port beside gRPC: grpc-web for browsers, health, reflection, the plain pages, CORS.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Buf as _, Bytes, BytesMut};
use prost::Message as _;
use relay_proto::chat::v1::{
    self as wire, OpenStream, PingRequest, PingResponse, RoomKind, RoomPosition, SubscribeRequest, SubscribeResponse,
    frame::Kind,
};
use tokio_stream::StreamExt as _;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::support::{Answer, Http, Server, Token, error_of, message};

const PING: &str = "/relay.chat.v1.ChatService/Ping";
const SEND: &str = "/relay.chat.v1.ChatService/SendMessage";
const SUBSCRIBE: &str = "/relay.chat.v1.ChatService/Subscribe";
const ORIGIN: &str = "https://app.example.com";

/// A message as grpc-web frames it.
fn framed(message: &impl prost::Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    [&[0][..], &u32::try_from(bytes.len()).unwrap().to_be_bytes(), &bytes].concat()
}

/// Takes a whole frame off the front.
fn take(bytes: &mut BytesMut) -> Option<(u8, Bytes)> {
    let length = u32::from_be_bytes(bytes.get(1..5)?.try_into().unwrap()) as usize;
    if bytes.len() < 5 + length {
        return None;
    }
    let flag = bytes.get_u8();
    bytes.advance(4);
    Some((flag, bytes.split_to(length).freeze()))
}

/// The status in the frame that ends a grpc-web response.
fn web_status(trailers: &[u8]) -> Status {
    let mut headers = hyper::HeaderMap::new();
    for line in std::str::from_utf8(trailers).unwrap().lines().filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        let name: hyper::header::HeaderName = name.parse().unwrap();
        headers.insert(name, value.trim().parse().unwrap());
    }
    Status::from_header_map(&headers).unwrap()
}

fn web(server: &Server, path: &str, user: &str) -> Http {
    Http::post(server, path)
        .header("content-type", "application/grpc-web+proto")
        .header("x-grpc-web", "1")
        .header("authorization", &format!("Bearer {}", Token::of(user).sign()))
}

/// The message and the status of a unary grpc-web response.
fn unary(body: &[u8]) -> (Bytes, Status) {
    let mut body = BytesMut::from(body);
    let (flag, message) = take(&mut body).unwrap();
    assert_eq!(flag, 0);
    let (flag, trailers) = take(&mut body).unwrap();
    assert_eq!((flag, body.len()), (0x80, 0));
    (message, web_status(&trailers))
}

#[tokio::test]
async fn a_browser_calls_over_http_1() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let answer = web(&server, SEND, "ana").send(framed(&message("r", "from a browser"))).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type").as_str()), (200, "application/grpc-web+proto"));
    let (message, status) = unary(&answer.bytes().await);
    assert_eq!(status.code(), Code::Ok);
    let receipt = wire::SendMessageResponse::decode(message).unwrap().receipt.unwrap();
    assert_eq!(receipt.seq, 1);
    assert_eq!(ana.history("r").await[0].text, "from a browser");
}

#[tokio::test]
async fn a_browser_calls_in_base64_text() {
    let server = Server::start();
    let answer = Http::post(&server, PING)
        .header("content-type", "application/grpc-web-text")
        .header("accept", "application/grpc-web-text")
        .header("authorization", &format!("Bearer {}", Token::of("ana").sign()))
        .send(STANDARD.encode(framed(&PingRequest {})))
        .await;
    assert_eq!(answer.header("content-type"), "application/grpc-web-text+proto");
    // Chunks are encoded one by one, each with its own padding.
    let text = answer.text().await;
    let mut body = Vec::new();
    for group in text.as_bytes().chunks(4) {
        body.extend(STANDARD.decode(group).unwrap());
    }
    let (message, status) = unary(&body);
    assert_eq!(status.code(), Code::Ok);
    assert_eq!(PingResponse::decode(message).unwrap().version, env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn a_browser_is_told_why_a_call_failed() {
    let server = Server::start();
    let calls = [
        (web(&server, SEND, "ana").send(framed(&message("nowhere", "x"))).await, "ROOM_NOT_FOUND"),
        (web(&server, SEND, "ana").send(framed(&message("r", ""))).await, "FIELD_INVALID"),
        (web(&server, SEND, "a b").send(framed(&message("r", "x"))).await, "TOKEN_INVALID"),
        (web(&server, SEND, "ana").send(&b"\x00\x00\x00\x00\x01\xff"[..]).await, "REQUEST_MALFORMED"),
        (web(&server, "/relay.chat.v1.ChatService/No", "ana").send(framed(&PingRequest {})).await, "METHOD_NOT_FOUND"),
        (
            Http::post(&server, PING)
                .header("content-type", "application/grpc-web+proto")
                .send(framed(&PingRequest {}))
                .await,
            "CREDENTIALS_MISSING",
        ),
    ];
    for (answer, reason) in calls {
        let status = match Status::from_header_map(&answer.headers) {
            Some(status) => status,
            None => {
                let mut body = BytesMut::from(&answer.bytes().await[..]);
                let (flag, trailers) = take(&mut body).unwrap();
                assert_eq!(flag, 0x80);
                web_status(&trailers)
            }
        };
        assert_eq!(error_of(&status).1, reason);
    }
}

/// Reads a Subscribe response frame by frame.
struct Frames {
    answer: Answer,
    bytes: BytesMut,
}

impl Frames {
    async fn next(&mut self) -> Kind {
        loop {
            if let Some((flag, message)) = take(&mut self.bytes) {
                assert_eq!(flag, 0, "the stream ended: {message:?}");
                return SubscribeResponse::decode(message).unwrap().frame.unwrap().kind.unwrap();
            }
            self.bytes.extend_from_slice(&self.answer.chunk().await.expect("more of the stream"));
        }
    }
}

#[tokio::test]
async fn a_browser_subscribes_over_http_1_and_resumes() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    ana.say("r", "missed").await;
    let positions = vec![RoomPosition { room_id: "r".into(), position: 2 }];
    let request = SubscribeRequest { open: Some(OpenStream { positions, ..OpenStream::default() }) };
    let answer = web(&server, SUBSCRIBE, "ben").send(framed(&request)).await;
    assert_eq!(answer.status, 200);
    let mut frames = Frames { answer, bytes: BytesMut::new() };
    assert!(matches!(frames.next().await, Kind::Hello(hello) if hello.user_id == "ben"));
    assert!(matches!(frames.next().await, Kind::Resumed(_)));
    assert!(matches!(frames.next().await, Kind::Event(event) if event.position == 3));
    assert!(matches!(frames.next().await, Kind::CaughtUp(_)));
    for i in 4..20 {
        ana.say("r", &"live ".repeat(i)).await;
        assert!(matches!(frames.next().await, Kind::Event(event) if event.position == i as u64));
    }
}

#[tokio::test]
async fn origins_that_are_allowed_may_read_everything_that_an_error_says() {
    let server = Server::with(&[("server.cors_origins", "https://other.example, https://app.example.com")]);
    let preflight = Http::method("OPTIONS", &server, PING)
        .header("origin", ORIGIN)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,x-grpc-web,grpc-timeout")
        .send("")
        .await;
    assert_eq!(preflight.status, 200);
    assert_eq!(preflight.header("access-control-allow-origin"), ORIGIN);
    assert!(preflight.header("access-control-allow-methods").contains("POST"));
    for name in ["authorization", "content-type", "x-grpc-web", "grpc-timeout"] {
        assert!(preflight.header("access-control-allow-headers").contains(name), "{name}");
    }
    let good = web(&server, PING, "ana").header("origin", ORIGIN).send(framed(&PingRequest {})).await;
    let bad = web(&server, PING, "a b").header("origin", ORIGIN).send(framed(&PingRequest {})).await;
    for answer in [good, bad] {
        assert_eq!(answer.header("access-control-allow-origin"), ORIGIN);
        for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
            assert!(answer.header("access-control-expose-headers").contains(name), "{name}");
        }
    }
    let stranger = web(&server, PING, "ana").header("origin", "https://evil.example").send(framed(&PingRequest {}));
    assert_eq!(stranger.await.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn no_origin_is_allowed_unless_it_is_configured() {
    let closed = Server::start();
    let answer = web(&closed, PING, "ana").header("origin", ORIGIN).send(framed(&PingRequest {})).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
    let open = Server::with(&[("server.cors_origins", "*")]);
    let answer = web(&open, PING, "ana").header("origin", ORIGIN).send(framed(&PingRequest {})).await;
    assert_eq!(answer.header("access-control-allow-origin"), "*");
}

#[tokio::test]
async fn the_plain_pages_answer() {
    let server = Server::alone(&[]);
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    ana.chat.send_message(message("nowhere", "x")).await.unwrap_err();
    let mut stream = ana.chat.subscribe(SubscribeRequest::default()).await.unwrap().into_inner();
    stream.message().await.unwrap();
    for (path, text) in [("/health", "ok\n"), ("/ready", "ready\n")] {
        let answer = Http::get(&server, path).send("").await;
        assert_eq!((answer.status.as_u16(), answer.text().await.as_str()), (200, text), "{path}");
        assert_eq!(Http::get(&server, path).send_h2("").await.status, 200, "{path} over HTTP/2");
        assert_eq!(Http::post(&server, path).send("").await.status, 405, "POST {path}");
    }
    let metrics = Http::get(&server, "/metrics").send("").await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.header("content-type").starts_with("application/openmetrics-text"));
    let metrics = metrics.text().await;
    for line in [
        "relay_calls_total{method=\"relay.chat.v1.RoomService/CreateRoom\",code=\"OK\"} 1",
        "relay_calls_total{method=\"relay.chat.v1.ChatService/SendMessage\",code=\"NOT_FOUND\"} 1",
        "relay_sessions 1",
        "# TYPE relay_commit_seconds histogram",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} is not in\n{metrics}");
    }
}

#[tokio::test]
async fn grpc_health_reports_on_each_service() {
    let server = Server::start();
    let channel = tonic::transport::Channel::from_shared(server.url()).unwrap().connect().await.unwrap();
    let mut health = HealthClient::new(channel);
    for service in ["", "relay.chat.v1.ChatService", "relay.chat.v1.RoomService"] {
        let request = HealthCheckRequest { service: service.into() };
        let status = health.check(request.clone()).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service}");
        let first = health.watch(request).await.unwrap().into_inner().message().await.unwrap().unwrap();
        assert_eq!(first.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health.check(HealthCheckRequest { service: "nothing".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

/// Asks reflection of one version for the services and for the file of one.
macro_rules! reflection {
    ($server:expr, $version:ident) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest as Ask, server_reflection_response::MessageResponse as Told,
        };
        let channel = tonic::transport::Channel::from_shared($server.url()).unwrap().connect().await.unwrap();
        let ask = |what| ServerReflectionRequest { host: String::new(), message_request: Some(what) };
        let file = |symbol: &str| ask(Ask::FileContainingSymbol(symbol.into()));
        let questions =
            [ask(Ask::ListServices(String::new())), file("relay.chat.v1.ChatService"), file("google.rpc.ErrorInfo")];
        let mut client = ServerReflectionClient::new(channel);
        let answers = client.server_reflection_info(tokio_stream::iter(questions)).await.unwrap();
        let answers: Vec<_> = answers.into_inner().map(|a| a.unwrap().message_response).collect().await;
        let Some(Told::ListServicesResponse(list)) = &answers[0] else { panic!("no list") };
        let Some(Told::FileDescriptorResponse(files)) = &answers[1] else { panic!("no file") };
        assert!(matches!(answers[2], Some(Told::FileDescriptorResponse(_))), "tools show no details of errors");
        let services: Vec<String> = list.service.iter().map(|s| s.name.clone()).collect();
        (services, files.file_descriptor_proto.clone())
    }};
}

#[tokio::test]
async fn reflection_shows_the_contract_in_both_versions() {
    let server = Server::start();
    for (services, files) in [reflection!(server, v1), reflection!(server, v1alpha)] {
        for service in ["relay.chat.v1.ChatService", "relay.chat.v1.RoomService", "grpc.health.v1.Health"] {
            assert!(services.iter().any(|s| s == service), "{service} is not in {services:?}");
        }
        let file = prost_types::FileDescriptorProto::decode(&files[0][..]).unwrap();
        assert_eq!(file.name(), "relay/chat/v1/chat_service.proto");
        assert!(file.service[0].method.iter().any(|method| method.name() == "Connect"));
    }
}
