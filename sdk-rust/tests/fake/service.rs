//! The methods of the fake server, below the generated code, which has no server side for streams.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use relay_proto::chat::v1::{
    CaughtUp, ConnectRequest, ConnectResponse, Done, Frame, Hello, ListMessagesRequest, ListMessagesResponse,
    MembershipState, Reply, ResumeVerdict, Resumed, RoomResume, SendMessageRequest, SendMessageResponse,
    SkipLaneRequest, SkipLaneResponse, UpdateReceiptsRequest, UpdateReceiptsResponse, connect_request::Frame as Up,
    frame::Kind, reply::Result as Outcome,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::{Service, http},
    server::{Grpc, NamedService, StreamingService, UnaryService},
};
use tonic_prost::ProstCodec;

use super::{Log, ROOM};

type Answer<T> = Pin<Box<dyn Future<Output = Result<T, Status>> + Send>>;
type Down = mpsc::Sender<Result<ConnectResponse, Status>>;

#[derive(Clone)]
pub(super) struct Fake(pub(super) Log);

impl NamedService for Fake {
    const NAME: &'static str = "relay.chat.v1.ChatService";
}

impl Service<http::Request<Body>> for Fake {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let fake = self.clone();
        Box::pin(async move {
            let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok());
            if let Err(status) = fake.0.authorize(authorization) {
                return Ok(status.into_http());
            }
            Ok(match request.uri().path() {
                "/relay.chat.v1.ChatService/SendMessage" => unary::<SendMessageRequest>(fake, request).await,
                "/relay.chat.v1.ChatService/ListMessages" => unary::<ListMessagesRequest>(fake, request).await,
                "/relay.chat.v1.ChatService/SkipLane" => unary::<SkipLaneRequest>(fake, request).await,
                "/relay.chat.v1.ChatService/UpdateReceipts" => unary::<UpdateReceiptsRequest>(fake, request).await,
                "/relay.chat.v1.ChatService/Connect" => Grpc::new(ProstCodec::default()).streaming(fake, request).await,
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

async fn unary<Q>(fake: Fake, request: http::Request<Body>) -> http::Response<Body>
where
    Q: prost::Message + Default + Send + 'static,
    Fake: UnaryService<Q>,
    <Fake as UnaryService<Q>>::Response: prost::Message + Default + Send + 'static,
{
    Grpc::new(ProstCodec::<<Fake as UnaryService<Q>>::Response, Q>::default()).unary(fake, request).await
}

impl UnaryService<ListMessagesRequest> for Fake {
    type Response = ListMessagesResponse;
    type Future = Answer<Response<ListMessagesResponse>>;

    fn call(&mut self, request: Request<ListMessagesRequest>) -> Self::Future {
        let ListMessagesRequest { start_seq, page_size, .. } = request.into_inner();
        let (messages, position) = self.0.from(start_seq, page_size as usize);
        let answer = ListMessagesResponse { messages, next_page_token: String::new(), position };
        Box::pin(std::future::ready(Ok(Response::new(answer))))
    }
}

impl UnaryService<SkipLaneRequest> for Fake {
    type Response = SkipLaneResponse;
    type Future = Answer<Response<SkipLaneResponse>>;

    fn call(&mut self, request: Request<SkipLaneRequest>) -> Self::Future {
        self.0.hear(format!("skip {}", request.into_inner().first_client_seq));
        Box::pin(std::future::ready(Ok(Response::new(SkipLaneResponse::default()))))
    }
}

impl UnaryService<UpdateReceiptsRequest> for Fake {
    type Response = UpdateReceiptsResponse;
    type Future = Answer<Response<UpdateReceiptsResponse>>;

    fn call(&mut self, request: Request<UpdateReceiptsRequest>) -> Self::Future {
        let UpdateReceiptsRequest { delivered_seq, read_seq, .. } = request.into_inner();
        self.0.hear(format!("receipts {delivered_seq} {read_seq} by call"));
        let answer = UpdateReceiptsResponse { state: Some(MembershipState::default()) };
        Box::pin(std::future::ready(Ok(Response::new(answer))))
    }
}

impl UnaryService<SendMessageRequest> for Fake {
    type Response = SendMessageResponse;
    type Future = Answer<Response<SendMessageResponse>>;

    fn call(&mut self, request: Request<SendMessageRequest>) -> Self::Future {
        let answer = self.0.append(request.into_inner());
        Box::pin(std::future::ready(
            answer.map(|receipt| Response::new(SendMessageResponse { receipt: Some(receipt) })),
        ))
    }
}

impl StreamingService<ConnectRequest> for Fake {
    type Response = ConnectResponse;
    type ResponseStream = ReceiverStream<Result<ConnectResponse, Status>>;
    type Future = Answer<Response<Self::ResponseStream>>;

    fn call(&mut self, request: Request<Streaming<ConnectRequest>>) -> Self::Future {
        let log = self.0.clone();
        let (down, frames) = mpsc::channel(4);
        Box::pin(async move {
            let mut up = request.into_inner();
            let held = match up.message().await?.and_then(|first| first.frame) {
                Some(Up::Open(open)) => {
                    if let Some(watch) = open.watch_presence {
                        log.hear(format!("opened watching {}", watch.room_ids.join(" ")));
                    }
                    open.positions.first().map(|at| at.position)
                }
                _ => return Err(Status::failed_precondition("the first frame is open")),
            };
            tokio::spawn(listen(log.clone(), up, down.clone()));
            tokio::spawn(stream(log, held, down));
            Ok(Response::new(ReceiverStream::new(frames)))
        })
    }
}

/// Answers what comes up.
async fn listen(log: Log, mut up: Streaming<ConnectRequest>, down: Down) {
    while let Ok(Some(ConnectRequest { request_id, frame })) = up.message().await {
        log.hear(match frame {
            Some(Up::UpdateReceipts(at)) => format!("receipts {} {} by stream", at.delivered_seq, at.read_seq),
            Some(Up::SetTyping(at)) => format!("typing {}", at.typing),
            Some(Up::SetPresence(at)) => format!("{:?} {:?}", at.state(), at.status_text),
            Some(Up::WatchPresence(at)) => format!("watching {}", at.room_ids.join(" ")),
            other => format!("{other:?}"),
        });
        if !request_id.is_empty() {
            let reply = Reply { request_id, result: Some(Outcome::Done(Done {})) };
            let frame = Some(Frame { kind: Some(Kind::Reply(reply)) });
            if down.send(Ok(ConnectResponse { frame })).await.is_err() {
                return;
            }
        }
    }
}

/// Sends hello, the verdict, what was missed and what happens, until the client is gone.
async fn stream(log: Log, held: Option<u64>, down: Down) {
    let _open = Open::count(log.clone());
    let mut head = log.0.head.subscribe();
    let last_position = *head.borrow();
    let verdict = if held.is_some() { ResumeVerdict::Complete } else { ResumeVerdict::Joined };
    let mut position = held.unwrap_or(last_position);
    let room = RoomResume { room_id: ROOM.to_owned(), verdict: verdict.into(), position, last_position };
    let mut frames = vec![
        Kind::Hello(Hello { user_id: "ana".into(), ..Hello::default() }),
        Kind::Resumed(Resumed { rooms: vec![room] }),
    ];
    frames.extend(log.after(position).into_iter().take((last_position - position) as usize).map(Kind::Event));
    frames.push(Kind::CaughtUp(CaughtUp {}));
    position = last_position;
    loop {
        for kind in frames {
            let frame = Some(Frame { kind: Some(kind) });
            if down.send(Ok(ConnectResponse { frame })).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = down.closed() => return,
            _ = head.wait_for(|newest| *newest > position) => {}
        }
        let events = log.after(position);
        position += events.len() as u64;
        frames = events.into_iter().map(Kind::Event).collect();
    }
}

/// Counts a stream while it is open.
struct Open(Log);

impl Open {
    fn count(log: Log) -> Self {
        log.0.streams.send_modify(|open| *open += 1);
        Self(log)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.streams.send_modify(|open| *open -= 1);
    }
}
