//! What a client that was away is told of what moderators did.

use relay_proto::chat::v1::{self as wire, RoomKind, frame::Kind, room_event::Event};

use super::{ban_of, delete_of, in_millis, mute_of};
use crate::support::{Clients, Server, Stream};

/// The events that a stream which holds nothing of the room is replayed.
async fn replay(clients: &Clients) -> Vec<(String, Event)> {
    let (_, frames) = Stream::caught_up(clients, &[("r", 0)]).await;
    let events = frames.into_iter().filter_map(|kind| match kind {
        Kind::Event(event) => Some((event.actor_id, event.event.unwrap())),
        _ => None,
    });
    events.collect()
}

#[tokio::test]
async fn a_client_that_was_away_gets_reasons_bans_mutes_and_pins_as_those_that_were_there() {
    let mut server = Server::start();
    let (mut ana, cy) = (server.user("ana").await, server.user("cy").await);
    ana.create_room("r", RoomKind::Public, &["ben", "cy", "dan"]).await;
    let (mut live, _) = Stream::caught_up(&cy, &[]).await;
    for text in ["1", "2", "3"] {
        ana.say("r", text).await;
    }
    for seq in [1, 2] {
        ana.chat.pin_message(wire::PinMessageRequest { room_id: "r".into(), seq }).await.unwrap();
    }
    ana.chat.unpin_message(wire::UnpinMessageRequest { room_id: "r".into(), seq: 2 }).await.unwrap();
    ana.moderation.mute_member(mute_of("r", "dan", Some(in_millis(60_000)))).await.unwrap();
    ana.moderation.ban_member(ban_of("r", "ben")).await.unwrap();
    let request = wire::RemoveMemberRequest { room_id: "r".into(), user_id: "dan".into() };
    ana.rooms.remove_member(request).await.unwrap();
    ana.chat.delete_message(delete_of("r", 1, "off topic")).await.unwrap();
    ana.chat.delete_message(delete_of("r", 3, "")).await.unwrap();

    let seen: Vec<_> = live.events(12).await.into_iter().map(|e| (e.actor_id, e.event.unwrap())).collect();
    let deleted = |seq, reason: &str| Event::MessageDeleted(wire::MessageDeleted { seq, reason: reason.into() });
    let left = |user: &str, banned| Event::MemberLeft(wire::MemberLeft { user_id: user.into(), banned });
    let after_the_mute: Vec<_> = seen[7..].iter().map(|(_, event)| event.clone()).collect();
    let unpinned = |seq| Event::MessageUnpinned(wire::MessageUnpinned { seq });
    let expected = [left("ben", true), left("dan", false), unpinned(1), deleted(1, "off topic"), deleted(3, "")];
    assert_eq!(after_the_mute, expected);
    let pinned = |seq| Event::MessagePinned(wire::MessagePinned { seq });
    assert_eq!(seen[3..6].iter().map(|(_, e)| e.clone()).collect::<Vec<_>>(), [pinned(1), pinned(2), unpinned(2)]);
    assert!(matches!(&seen[6].1, Event::MemberUpdated(m) if m.member.as_ref().unwrap().muted_until.is_some()));

    // From memory, and from the database.
    let of_cy = replay(&server.user("cy").await).await;
    assert_eq!(of_cy[7..], seen[3..]);
    server.kill();
    server.restart();
    let cy = server.user("cy").await;
    assert_eq!(replay(&cy).await, of_cy);
    let first = cy.clone().history("r").await.remove(0);
    assert_eq!(
        (first.deletion_reason.as_str(), first.deleted_by.as_str(), first.text.as_str()),
        ("off topic", "ana", "")
    );
}
