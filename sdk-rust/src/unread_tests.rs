//! The counts as `proto/fixtures/unread.json` has them.

use relay_proto::chat::v1::{Member, Mention, MentionRoom};
use serde::Deserialize;

use super::*;
use crate::fixtures;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    scenarios: Vec<Scenario>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    name: String,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    In(In),
    Is(Option<Counts>),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum In {
    Membership(State),
    Created(Sent),
    Edited(Sent),
    Deleted(u64),
    Left(String),
    Joined(String),
    MarkRead(u64),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    read_seq: u64,
    last_seq: u64,
    mentions: Vec<u64>,
    #[serde(default)]
    settings_version: u64,
    #[serde(default)]
    favourite: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    seq: u64,
    by: String,
    /// User ids, or `@room`.
    #[serde(default)]
    mentions: Vec<String>,
    #[serde(default)]
    keeps_unread: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counts {
    unread: u64,
    mentions: Vec<u64>,
    favourite: Option<bool>,
}

#[test]
fn rooms_are_counted_as_the_scenarios_say() {
    let fixture: Fixture = fixtures::read("unread.json");
    assert!(!fixture.scenarios.is_empty());
    for scenario in fixture.scenarios {
        let mut unread = Unread { user_id: "ana".into(), ..Unread::default() };
        for (number, step) in scenario.steps.into_iter().enumerate() {
            let at = format!("{}, step {number}", scenario.name);
            match step {
                Step::In(input) => feed(&mut unread, input),
                Step::Is(expected) => check(unread.room("r"), expected, &at),
            }
        }
    }
}

fn check(room: Option<&UnreadRoom>, expected: Option<Counts>, at: &str) {
    let seen = room.map(|room| (room.unread_count(), room.unread_mentions().collect::<Vec<_>>()));
    assert_eq!(seen, expected.as_ref().map(|counts| (counts.unread, counts.mentions.clone())), "{at}");
    if let (Some(room), Some(favourite)) = (room, expected.and_then(|counts| counts.favourite)) {
        assert_eq!(room.settings().favourite, favourite, "{at}");
    }
}

fn feed(unread: &mut Unread, input: In) {
    let kind = match input {
        In::Membership(State { read_seq, last_seq, mentions, settings_version, favourite }) => {
            return unread.apply(&Event::Memberships(MembershipState {
                room_id: "r".into(),
                read_seq,
                last_seq,
                unread_mention_seqs: mentions,
                settings: Some(RoomSettings { favourite, ..RoomSettings::default() }),
                settings_version,
                ..MembershipState::default()
            }));
        }
        In::MarkRead(seq) => return unread.mark_read("r", seq),
        In::Created(sent) => RoomEventKind::MessageCreated(message(sent)),
        In::Edited(sent) => RoomEventKind::MessageEdited(message(sent)),
        In::Deleted(seq) => RoomEventKind::MessageDeleted { seq, reason: String::new() },
        In::Joined(user_id) => RoomEventKind::MemberJoined(Member { user_id, ..Member::default() }),
        In::Left(user_id) => RoomEventKind::MemberLeft { user_id, banned: false },
    };
    let (room_id, actor_id) = ("r".into(), "ben".into());
    unread.apply(&Event::Room(RoomEvent { room_id, position: 1, occurred_at: None, actor_id, kind }));
}

fn message(Sent { seq, by, mentions, keeps_unread }: Sent) -> Message {
    let target = |name: String| match name.as_str() {
        "@room" => Target::Room(MentionRoom {}),
        _ => Target::UserId(name),
    };
    let mention = |name| Mention { target: Some(target(name)), ..Mention::default() };
    let mentions = mentions.into_iter().map(mention).collect();
    Message { room_id: "r".into(), seq, sender_id: by, mentions, keeps_unread, ..Message::default() }
}
