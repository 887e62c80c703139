//! Requests that are no messages of the contract: bytes, framing, sizes and methods that the server cannot take.

use bytes::Bytes;
use prost::Message as _;
use tonic::Code;

use crate::{
    bad_input::{server_with_a_room, still_good},
    support::{Http, Token, error_of, message, methods},
};

#[tokio::test]
async fn bytes_that_are_no_message_are_malformed_to_every_method() {
    let (_server, mut ana, raw) = server_with_a_room().await;
    // Whoever may call every method.
    let raw = raw.bearer(&Token::of("ana").claim("relay_admin", true.into()).sign());
    let mut invalid_utf8 = message("r", "xx").encode_to_vec();
    let at = invalid_utf8.windows(2).position(|pair| pair == b"xx").unwrap();
    invalid_utf8[at] = 0xff;
    for garbage in [&b"\xff\xff\xff\xff"[..], b"\x0a\x05ab", b"\x0a\xff\xff\xff\xff\x0f", b"\x07"] {
        for method in methods() {
            let status = raw.call_bytes(&method, Bytes::copy_from_slice(garbage)).await.unwrap_err();
            let expected = (Code::InvalidArgument, "REQUEST_MALFORMED".to_owned(), vec![]);
            assert_eq!(error_of(&status), expected, "{method}: {}", status.message());
        }
    }
    let status = raw.call_bytes("ChatService/SendMessage", invalid_utf8.into()).await.unwrap_err();
    assert_eq!(error_of(&status).1, "REQUEST_MALFORMED", "{}", status.message());
    // Fields that nobody knows are no fault: a newer client sends them.
    let mut newer = message("r", "newer").encode_to_vec();
    newer.extend_from_slice(b"\xa2\x06\x03abc");
    raw.call_bytes("ChatService/SendMessage", newer.into()).await.unwrap();
    still_good(&mut ana, 3).await;
}

#[tokio::test]
async fn broken_grpc_framing_is_malformed() {
    let (server, mut ana, _) = server_with_a_room().await;
    let good = message("r", "good").encode_to_vec();
    let framed = |flag: u8, length: u32, bytes: &[u8]| [&[flag][..], &length.to_be_bytes(), bytes].concat();
    let length = u32::try_from(good.len()).unwrap();
    let bodies = [
        ("nothing", vec![], ""),
        ("half a prefix", vec![0, 0, 0], ""),
        ("less than it says", framed(0, length + 10, &good), ""),
        ("a compression flag without an encoding", framed(1, length, &good), ""),
        ("an unknown flag", framed(7, length, &good), ""),
        ("an encoding that the server does not take", framed(1, length, &good), "gzip"),
    ];
    let bearer = format!("Bearer {}", Token::of("ana").sign());
    for method in ["ChatService/SendMessage", "ChatService/Subscribe", "RoomService/GetRoom"] {
        for (what, body, encoding) in &bodies {
            let mut request = Http::post(&server, &format!("/relay.chat.v1.{method}"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .header("authorization", &bearer);
            if !encoding.is_empty() {
                request = request.header("grpc-encoding", encoding);
            }
            let status = request.send_h2(body.clone()).await.grpc_status().await;
            let (_, reason, _) = error_of(&status);
            assert_eq!(reason, "REQUEST_MALFORMED", "{method} with {what}: {}", status.message());
        }
    }
    still_good(&mut ana, 2).await;
}

#[tokio::test]
async fn a_request_above_the_limit_is_too_large() {
    let (_server, mut ana, raw) = server_with_a_room().await;
    let large = Bytes::from(vec![0; (1 << 20) + 1]);
    for method in ["ChatService/SendMessage", "ChatService/Subscribe", "ChatService/Connect", "RoomService/GetRoom"] {
        let status = raw.call_bytes(method, large.clone()).await.unwrap_err();
        let expected = (Code::ResourceExhausted, "REQUEST_TOO_LARGE".to_owned(), vec![]);
        assert_eq!(error_of(&status), expected, "{method}: {}", status.message());
    }
    still_good(&mut ana, 2).await;
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_unimplemented() {
    let (server, mut ana, raw) = server_with_a_room().await;
    for method in ["ChatService/Nothing", "NoService/SendMessage", "ChatService/sendmessage"] {
        let status = raw.call_bytes(method, Bytes::new()).await.unwrap_err();
        assert_eq!(error_of(&status), (Code::Unimplemented, "METHOD_NOT_FOUND".into(), vec![]), "{method}");
    }
    let page = Http::get(&server, "/nothing").send("").await;
    assert_eq!(page.status, 404);
    still_good(&mut ana, 2).await;
}
