//! Mentions: who may be mentioned, by whom, and what remains of it.

use relay_proto::chat::v1::{
    self as wire, MemberRole, RemoveMemberRequest, RoomKind, UpdateMemberRequest, room_event::Event,
};
use tonic::Code;

use super::{mentioning, send, state};
use crate::support::{Server, Stream, error_of};

#[tokio::test]
async fn mentions_are_kept_and_told_as_they_were_sent_and_go_with_the_message() {
    let server = Server::start();
    let (mut ana, mut ben) = (server.user("ana").await, server.user("ben").await);
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    let (mut stream, _) = Stream::caught_up(&ben, &[]).await;
    let message = mentioning("r", &["ben", ""]);
    let sent = send(&mut ana, message.clone()).await;
    let Some(Event::MessageCreated(created)) = stream.event().await.event else { panic!("it was not told") };
    assert_eq!(created.message.unwrap().mentions, message.mentions);
    assert_eq!(ana.history("r").await[0].mentions, message.mentions);
    assert_eq!(state(&mut ben, "r").await.unread_mention_seqs, [sent]);
    let delete = wire::DeleteMessageRequest { room_id: "r".into(), seq: sent, reason: String::new() };
    ana.chat.delete_message(delete).await.unwrap();
    assert!(ana.history("r").await[0].mentions.is_empty());
    let now = state(&mut ben, "r").await;
    assert_eq!((now.unread_count, now.unread_mention_seqs.len()), (1, 0));
}

#[tokio::test]
async fn everyone_is_mentioned_by_owners_and_admins_and_by_both_of_a_direct_room() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    let mut ben = server.user("ben").await;
    let refused = ben.chat.send_message(mentioning("r", &[""])).await.unwrap_err();
    assert_eq!(error_of(&refused), (Code::PermissionDenied, "ROLE_INSUFFICIENT".into(), vec![]));
    let own = ben.say("r", "x ").await.seq;
    let wire::SendMessageRequest { text, mentions, .. } = mentioning("r", &[""]);
    let edit = wire::EditMessageRequest { room_id: "r".into(), seq: own, text, mentions, ..Default::default() };
    let refused = ben.chat.edit_message(edit.clone()).await.unwrap_err();
    assert_eq!(error_of(&refused), (Code::PermissionDenied, "ROLE_INSUFFICIENT".into(), vec![]));
    let promote = UpdateMemberRequest { room_id: "r".into(), user_id: "ben".into(), role: MemberRole::Admin.into() };
    ana.rooms.update_member(promote).await.unwrap();
    ben.chat.edit_message(edit).await.unwrap();
    let second = send(&mut ben, mentioning("r", &[""])).await;
    assert_eq!(state(&mut ana, "r").await.unread_mention_seqs, [own, second]);

    let request = wire::GetDirectRoomRequest { user_id: "ben".into() };
    let direct = ana.rooms.get_direct_room(request).await.unwrap().into_inner().room.unwrap().room.unwrap().room_id;
    for clients in [&mut ana, &mut ben] {
        send(clients, mentioning(&direct, &[""])).await;
    }
    assert_eq!(state(&mut ana, &direct).await.unread_mention_seqs, [2]);
}

#[tokio::test]
async fn a_send_is_answered_again_though_the_mentioned_have_left_since() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    ana.create_room("r", RoomKind::Private, &["ben"]).await;
    let message = mentioning("r", &["ben"]);
    let sent = send(&mut ana, message.clone()).await;
    let remove = RemoveMemberRequest { room_id: "r".into(), user_id: "ben".into() };
    ana.rooms.remove_member(remove).await.unwrap();
    let again = ana.chat.send_message(message).await.unwrap().into_inner().receipt.unwrap();
    assert_eq!((again.seq, again.duplicate), (sent, true));
    let refused = ana.chat.send_message(mentioning("r", &["ben"])).await.unwrap_err();
    let expected = (Code::InvalidArgument, "MENTION_INVALID".to_owned(), vec!["mentions[0].user_id".to_owned()]);
    assert_eq!(error_of(&refused), expected);
    let other = wire::SendMessageRequest { mentions: Vec::new(), ..mentioning("r", &["ben"]) };
    assert_eq!(send(&mut ana, other).await, 2, "a refused message takes no number");
}
