//! The counts, event by event.

use relay_proto::chat::v1::{Mention, MentionRoom};

use super::*;

fn counting() -> Unread {
    Unread { user_id: "ana".into(), ..Unread::default() }
}

fn event(kind: RoomEventKind) -> Event {
    Event::Room(RoomEvent { room_id: "r".into(), position: 1, occurred_at: None, actor_id: "ben".into(), kind })
}

fn message(seq: u64, sender: &str, target: Option<Target>) -> Message {
    let mentions = target.map(|target| Mention { offset: 0, length: 1, target: Some(target) });
    let mentions = mentions.into_iter().collect();
    Message { room_id: "r".into(), seq, sender_id: sender.into(), mentions, ..Message::default() }
}

fn created(seq: u64, sender: &str, target: Option<Target>) -> Event {
    event(RoomEventKind::MessageCreated(message(seq, sender, target)))
}

fn to(user: &str) -> Option<Target> {
    Some(Target::UserId(user.into()))
}

fn state(read_seq: u64, last_seq: u64, mentions: &[u64]) -> Event {
    Event::Memberships(MembershipState {
        room_id: "r".into(),
        read_seq,
        last_seq,
        unread_mention_seqs: mentions.to_vec(),
        ..MembershipState::default()
    })
}

/// Unread messages, and unread mentions.
fn counts(unread: &Unread) -> (u64, Vec<u64>) {
    let room = unread.room("r").unwrap();
    (room.unread_count(), room.unread_mentions().collect())
}

#[test]
fn messages_count_until_they_are_read_and_ones_own_reads_the_room() {
    let mut unread = counting();
    unread.apply(&state(2, 3, &[3]));
    assert_eq!(counts(&unread), (1, vec![3]));
    unread.apply(&created(4, "ben", to("ana")));
    unread.apply(&created(5, "ben", Some(Target::Room(MentionRoom {}))));
    unread.apply(&created(6, "ben", to("eve")));
    assert_eq!(counts(&unread), (4, vec![3, 4, 5]));
    unread.mark_read("r", 4);
    assert_eq!(counts(&unread), (2, vec![5]));
    unread.apply(&created(7, "ana", None));
    assert_eq!(counts(&unread), (0, vec![]));
}

#[test]
fn states_and_events_may_come_in_any_order() {
    let mut unread = counting();
    unread.apply(&created(4, "ben", to("ana")));
    assert!(unread.room("r").is_none(), "the server has not told where the user is");
    unread.apply(&state(2, 3, &[3]));
    assert_eq!(counts(&unread), (2, vec![3, 4]));
    unread.apply(&state(3, 3, &[]));
    unread.apply(&state(1, 3, &[2, 3]));
    assert_eq!(counts(&unread), (1, vec![4]));
    unread.apply(&created(3, "ben", to("ana")));
    assert_eq!(counts(&unread), (1, vec![4]), "a replay of what is read counts nothing");
}

#[test]
fn edits_and_deletions_change_mentions_and_not_the_count() {
    let mut unread = counting();
    unread.apply(&state(0, 2, &[1]));
    unread.apply(&event(RoomEventKind::MessageEdited(message(2, "ben", to("ana")))));
    assert_eq!(counts(&unread), (2, vec![1, 2]));
    unread.apply(&event(RoomEventKind::MessageEdited(message(1, "ben", None))));
    unread.apply(&event(RoomEventKind::MessageDeleted { seq: 2, reason: String::new() }));
    assert_eq!(counts(&unread), (2, vec![]));
}

#[test]
fn the_newest_hundred_mentions_are_kept() {
    let mut unread = counting();
    unread.apply(&state(0, 0, &[]));
    (1..=120).for_each(|seq| unread.apply(&created(seq, "ben", to("ana"))));
    assert_eq!(counts(&unread), (120, (21..=120).collect()));
}

#[test]
fn settings_go_by_their_version() {
    let with = |version, favourite| {
        Event::Memberships(MembershipState {
            room_id: "r".into(),
            settings: Some(RoomSettings { favourite, ..RoomSettings::default() }),
            settings_version: version,
            ..MembershipState::default()
        })
    };
    let mut unread = counting();
    unread.apply(&with(2, true));
    unread.apply(&with(1, false));
    assert!(unread.room("r").unwrap().settings().favourite);
    unread.apply(&with(3, false));
    assert!(!unread.room("r").unwrap().settings().favourite);
}

#[test]
fn a_room_that_the_user_left_counts_no_more() {
    let mut unread = counting();
    unread.apply(&state(0, 5, &[]));
    unread.apply(&event(RoomEventKind::MemberLeft { user_id: "ben".into(), banned: false }));
    assert!(unread.room("r").is_some());
    unread.apply(&event(RoomEventKind::MemberLeft { user_id: "ana".into(), banned: true }));
    assert!(unread.room("r").is_none());
}
