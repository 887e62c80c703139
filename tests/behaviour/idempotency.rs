//! Idempotency: a message that is sent again is answered, not written, again.

use futures_util::future::join_all;
use relay_proto::chat::v1::{
    self as wire, Attachment, LeaveRoomRequest, RoomKind, SendMessageRequest, SendMessagesRequest, SendReceipt,
    connect_request::Frame as Up, reply::Result as Outcome, send_result::Result as Sent,
};
use tonic::{Code, Status};

use crate::support::{Clients, Server, Stream, error_of, message};

async fn send(clients: &mut Clients, request: &SendMessageRequest) -> Result<SendReceipt, Status> {
    Ok(clients.chat.send_message(request.clone()).await?.into_inner().receipt.unwrap())
}

fn repeated(first: &SendReceipt) -> SendReceipt {
    SendReceipt { duplicate: true, ..first.clone() }
}

#[tokio::test]
async fn a_message_sent_again_gets_the_first_answer_before_and_after_a_restart() {
    let mut server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let request = message("r", "once");
    let first = send(&mut ana, &request).await.unwrap();
    assert!(!first.duplicate);
    assert_eq!(send(&mut ana, &request).await.unwrap(), repeated(&first));
    server.kill();
    server.restart();
    let mut ana = server.user("ana").await;
    assert_eq!(send(&mut ana, &request).await.unwrap(), repeated(&first));
    // The id is the same in capitals, too.
    let capitals = SendMessageRequest { client_message_id: request.client_message_id.to_uppercase(), ..request };
    assert_eq!(send(&mut ana, &capitals).await.unwrap(), repeated(&first));
    assert_eq!(ana.history("r").await.len(), 1);
}

#[tokio::test]
async fn of_twenty_equal_sends_at_once_one_is_written() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    for round in 0..5 {
        let request = message("r", &round.to_string());
        let connections = join_all((0..20).map(|_| server.user("ana"))).await;
        let sends = connections.into_iter().map(|mut ana| {
            let request = &request;
            async move { send(&mut ana, request).await.unwrap() }
        });
        let receipts = join_all(sends).await;
        assert_eq!(receipts.iter().filter(|r| !r.duplicate).count(), 1);
        assert!(receipts.iter().all(|r| repeated(r) == repeated(&receipts[0])), "{receipts:?}");
        assert_eq!(ana.history("r").await.len(), round + 1);
    }
}

#[tokio::test]
async fn an_id_with_another_message_is_refused() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    ana.create_room("other", RoomKind::Private, &[]).await;
    ana.say("r", "to reply to").await;
    let request = message("r", "first");
    let first = send(&mut ana, &request).await.unwrap();
    let file =
        Attachment { url: "https://a.example/".into(), name: "a".into(), mime_type: "a/b".into(), size_bytes: 0 };
    for other in [
        SendMessageRequest { text: "second".into(), ..request.clone() },
        SendMessageRequest { room_id: "other".into(), ..request.clone() },
        SendMessageRequest { reply_to_seq: 1, ..request.clone() },
        SendMessageRequest { content_type: "text/markdown".into(), ..request.clone() },
        SendMessageRequest { metadata: [("k".to_owned(), "v".to_owned())].into(), ..request.clone() },
        SendMessageRequest { attachments: vec![file], ..request.clone() },
    ] {
        let refused = send(&mut ana, &other).await.unwrap_err();
        assert_eq!(error_of(&refused), (Code::AlreadyExists, "CLIENT_MESSAGE_ID_REUSED".into(), vec![]), "{other:?}");
    }
    // text/plain is what an empty content type means.
    let same = SendMessageRequest { content_type: "text/plain".into(), ..request };
    assert_eq!(send(&mut ana, &same).await.unwrap(), repeated(&first));
    assert!(ana.history("other").await.is_empty());
}

#[tokio::test]
async fn an_edit_or_a_deletion_does_not_free_the_id() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let request = message("r", "first");
    let first = send(&mut ana, &request).await.unwrap();
    let edit = wire::EditMessageRequest { room_id: "r".into(), seq: 1, text: "edited".into(), ..Default::default() };
    ana.chat.edit_message(edit).await.unwrap();
    assert_eq!(send(&mut ana, &request).await.unwrap(), repeated(&first));
    let edited = SendMessageRequest { text: "edited".into(), ..request.clone() };
    assert_eq!(error_of(&send(&mut ana, &edited).await.unwrap_err()).1, "CLIENT_MESSAGE_ID_REUSED");
    ana.chat
        .delete_message(wire::DeleteMessageRequest { room_id: "r".into(), seq: 1, reason: String::new() })
        .await
        .unwrap();
    assert_eq!(send(&mut ana, &request).await.unwrap(), repeated(&first));
    assert_eq!(ana.history("r").await.len(), 1);
}

#[tokio::test]
async fn two_senders_may_use_the_same_id() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    let request = message("r", "mine");
    assert_eq!(send(&mut ana, &request).await.unwrap().seq, 1);
    let other = SendMessageRequest { text: "mine too".into(), ..request };
    let receipt = send(&mut ben, &other).await.unwrap();
    assert_eq!((receipt.seq, receipt.duplicate), (2, false));
}

#[tokio::test]
async fn a_stream_a_call_and_a_batch_share_their_ids() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    let (mut stream, _) = Stream::caught_up(&ana, &[]).await;
    let (by_stream, by_call, by_batch) = (message("r", "1"), message("r", "2"), message("r", "3"));
    stream.send("a", Up::Send(by_stream.clone())).await;
    let Outcome::Sent(first) = stream.reply("a").await else { panic!("not sent") };
    let second = send(&mut ana, &by_call).await.unwrap();
    let batch = SendMessagesRequest { requests: vec![by_batch.clone(), by_batch.clone(), by_stream.clone()] };
    let results = ana.chat.send_messages(batch).await.unwrap().into_inner().results;
    let receipts: Vec<_> = results
        .into_iter()
        .map(|result| match result.result {
            Some(Sent::Receipt(receipt)) => receipt,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((receipts[0].seq, receipts[0].duplicate), (3, false));
    assert_eq!((&receipts[1], &receipts[2]), (&repeated(&receipts[0]), &repeated(&first)));
    assert_eq!(send(&mut ana, &by_stream).await.unwrap(), repeated(&first));
    for (id, request, receipt) in [("b", by_call, second), ("c", by_batch, receipts[0].clone())] {
        stream.send(id, Up::Send(request)).await;
        let Outcome::Sent(again) = stream.reply(id).await else { panic!("not sent") };
        assert_eq!(again, repeated(&receipt));
    }
    assert_eq!(ana.history("r").await.len(), 3);
}

#[tokio::test]
async fn a_sender_who_left_still_gets_the_first_answer() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Public, &["ben"]).await;
    let request = message("r", "bye");
    let first = send(&mut ben, &request).await.unwrap();
    ben.rooms.leave_room(LeaveRoomRequest { room_id: "r".into() }).await.unwrap();
    assert_eq!(send(&mut ben, &request).await.unwrap(), repeated(&first));
    assert_eq!(error_of(&send(&mut ben, &message("r", "more")).await.unwrap_err()).1, "NOT_A_MEMBER");
}

#[tokio::test]
async fn a_failed_send_does_not_use_its_id_up() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Public, &[]).await;
    let request = message("r", "too early");
    assert_eq!(error_of(&send(&mut ben, &request).await.unwrap_err()).1, "NOT_A_MEMBER");
    ben.join("r").await;
    assert!(!send(&mut ben, &request).await.unwrap().duplicate);
}
