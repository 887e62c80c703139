//! The client's frames on a Connect stream: what a bad one is answered, and which ones end the stream.

use relay_proto::chat::v1::{
    ConnectRequest, OpenStream, RenewToken, SendMessageRequest, connect_request::Frame as Up, reply::Result as Outcome,
};
use tonic::Code;

use crate::{
    bad_input::{server_with_a_room, still_good},
    support::{Raw, Stream, Token, error_of, message},
};

#[tokio::test]
async fn a_stream_must_begin_with_open() {
    let (server, mut ana, _) = server_with_a_room().await;
    let frames = [Some(Up::Send(message("r", "early"))), Some(Up::Renew(RenewToken { token: "x".into() })), None];
    for frame in frames {
        let raw = Raw::connect(&server.url()).await.bearer(&Token::of("ana").sign());
        let request = ConnectRequest { request_id: "1".into(), frame };
        let status = raw.call("ChatService/Connect", request).await.unwrap_err();
        assert_eq!(error_of(&status), (Code::FailedPrecondition, "STREAM_NOT_OPEN".into(), vec![]));
    }
    let mut hung_up = Stream::silent(&ana).await;
    hung_up.half_close();
    assert_eq!(error_of(&hung_up.end().await.unwrap()).1, "STREAM_NOT_OPEN");
    assert_eq!(ana.history("r").await.len(), 1);
    still_good(&mut ana, 2).await;
}

#[tokio::test]
async fn an_error_of_a_frame_is_its_answer_and_the_stream_goes_on() {
    let (_server, ana, _) = server_with_a_room().await;
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    let other = Token::of("ben").sign();
    let expired = Token::of("ana").for_seconds(-60).sign();
    let used = message("r", "used");
    stream.send("good", Up::Send(used.clone())).await;
    assert!(matches!(stream.reply("good").await, Outcome::Sent(_)));
    let frames = [
        (Up::Send(message("nowhere", "x")), Code::NotFound, "ROOM_NOT_FOUND", vec![]),
        (Up::Send(message("r", "")), Code::InvalidArgument, "FIELD_INVALID", vec!["text"]),
        (
            Up::Send(SendMessageRequest { room_id: "?".into(), ..message("r", "x") }),
            Code::InvalidArgument,
            "FIELD_INVALID",
            vec!["room_id"],
        ),
        (
            Up::Send(SendMessageRequest { reply_to_seq: 99, ..message("r", "x") }),
            Code::InvalidArgument,
            "FIELD_INVALID",
            vec!["reply_to_seq"],
        ),
        (
            Up::Send(SendMessageRequest { text: "else".into(), ..used }),
            Code::AlreadyExists,
            "CLIENT_MESSAGE_ID_REUSED",
            vec![],
        ),
        (Up::Open(OpenStream::default()), Code::FailedPrecondition, "STREAM_ALREADY_OPEN", vec![]),
        (Up::Renew(RenewToken { token: String::new() }), Code::Unauthenticated, "TOKEN_INVALID", vec![]),
        (Up::Renew(RenewToken { token: other }), Code::Unauthenticated, "TOKEN_INVALID", vec![]),
        (Up::Renew(RenewToken { token: expired }), Code::Unauthenticated, "TOKEN_EXPIRED", vec![]),
    ];
    for (i, (frame, code, reason, fields)) in frames.into_iter().enumerate() {
        let id = format!("frame-{i}");
        stream.send(&id, frame).await;
        let Outcome::Error(error) = stream.reply(&id).await else { panic!("{id} succeeded") };
        let named: Vec<_> = error.field_violations.iter().map(|v| v.field.as_str()).collect();
        let told = error.reason().as_str_name().strip_prefix("ERROR_REASON_").unwrap();
        assert_eq!((Code::from(error.code), told, named), (code, reason, fields), "{id}");
        assert!(!error.message.is_empty());
    }
    // A request id that is too long cannot come back; the answer carries none.
    stream.send(&"x".repeat(65), Up::Send(message("r", "x"))).await;
    let Outcome::Error(error) = stream.reply("").await else { panic!("it was taken") };
    assert_eq!(error.field_violations[0].field, "request_id");
    let id = "y".repeat(64);
    stream.send(&id, Up::Send(message("r", "the end"))).await;
    let Outcome::Sent(sent) = stream.reply(&id).await else { panic!("not sent") };
    assert_eq!(sent.seq, 3);
}

#[tokio::test]
async fn a_frame_above_the_limit_ends_its_stream_and_no_other() {
    let (_server, mut ana, _) = server_with_a_room().await;
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    let (mut other, _) = Stream::caught_up(&ana, &[]).await;
    stream.send("large", Up::Send(message("r", &"x".repeat(1 << 20)))).await;
    let status = stream.end().await.unwrap();
    assert_eq!(error_of(&status), (Code::ResourceExhausted, "REQUEST_TOO_LARGE".into(), vec![]));
    still_good(&mut ana, 2).await;
    assert_eq!(other.event().await.position, 4);
}
