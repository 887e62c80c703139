//! The outbox as `proto/fixtures/outbox.json` has it.

use std::collections::BTreeMap;

use relay_proto::chat::v1::{MembershipState, Message};
use serde::Deserialize;

use super::*;
use crate::{
    Event, RoomEvent, RoomEventKind, Unread,
    fixtures::{self, Failure},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    answers_to_sends: Vec<Verdict>,
    answers_to_skips: Vec<Verdict>,
    scenarios: Vec<Scenario>,
}

#[derive(Debug, Deserialize)]
struct Verdict {
    #[serde(flatten)]
    failure: Failure,
    then: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    name: String,
    steps: Vec<Play>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Play {
    Do {
        r#do: String,
        #[serde(default)]
        id: String,
        #[serde(default)]
        refused: bool,
    },
    Answer {
        answer: Answer,
    },
    Parked {
        parked: Vec<String>,
    },
    Has {
        has: u64,
    },
    Read {
        read: u64,
    },
    /// The last, as it fits everything.
    Next {
        next: Option<Expected>,
    },
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Expected {
    Send { send: String, number: u64, lane: u64, written_after: Option<u64> },
    Skip { skip: u64, lane: u64 },
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Answer {
    Sent {
        #[expect(dead_code, reason = "that it is there says all: `true`")]
        sent: bool,
        /// What the lane expects next. Absent: the number after that of the message.
        next_client_seq: Option<u64>,
        #[serde(default)]
        seq: u64,
    },
    Failed(Failure),
}

#[test]
fn every_answer_has_its_fate() {
    let fixture: Fixture = fixtures::read("outbox.json");
    for row in &fixture.answers_to_sends {
        let seen = match fate::of_send(&row.failure.error()) {
            Fate::Retry => "retry",
            Fate::Park => "park",
            Fate::NewLane => "new_lane",
        };
        assert_eq!(seen, row.then, "{:?}", row.failure);
    }
    for row in &fixture.answers_to_skips {
        let seen = if fate::skip_again(&row.failure.error()) { "retry" } else { "forget" };
        assert_eq!(seen, row.then, "{:?}", row.failure);
    }
    for rows in [&fixture.answers_to_sends, &fixture.answers_to_skips] {
        fixtures::has_every_reason(rows.iter().map(|row| &row.failure));
    }
    fixtures::has_every_code(fixture.answers_to_sends.iter().map(|row| &row.failure));
}

#[tokio::test]
async fn the_queue_does_what_the_scenarios_say() {
    let fixture: Fixture = fixtures::read("outbox.json");
    assert!(!fixture.scenarios.is_empty());
    for scenario in fixture.scenarios {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outbox.db");
        let mut game = Game { store: Store::open(&path).await.unwrap(), step: None, lanes: BTreeMap::new() };
        for (number, play) in scenario.steps.into_iter().enumerate() {
            let at = format!("{}, step {number}: {play:?}", scenario.name);
            if matches!(&play, Play::Do { r#do, .. } if r#do == "reopen") {
                drop(game.store);
                game.store = Store::open(&path).await.unwrap();
                continue;
            }
            game.play(play, &at).await;
        }
    }
}

struct Game {
    store: Store,
    /// What is asked of the server.
    step: Option<Step>,
    /// The lanes that were seen, numbered as they came.
    lanes: BTreeMap<String, u64>,
}

impl Game {
    async fn play(&mut self, play: Play, at: &str) {
        match play {
            Play::Do { r#do, id, refused } => assert_eq!(self.act(&r#do, &id).await.is_err(), refused, "{at}"),
            Play::Next { next } => {
                self.step = self.store.next("r").await.unwrap();
                let seen = self.step.clone().map(|step| self.seen(step));
                assert_eq!(seen, next, "{at}");
            }
            Play::Answer { answer } => {
                let step = self.step.take().unwrap();
                let answer = match answer {
                    Answer::Sent { next_client_seq, seq, .. } => Ok(receipt(&step, next_client_seq, seq)),
                    Answer::Failed(failure) => Err(failure.error()),
                };
                self.store.answered(&step, answer.as_ref().map(Option::as_ref)).await.unwrap();
            }
            Play::Has { has } => {
                let message = Message { room_id: "r".into(), seq: has, sender_id: "ben".into(), ..Message::default() };
                let kind = RoomEventKind::MessageCreated(message);
                let (room_id, actor_id) = ("r".into(), "ben".into());
                let event = RoomEvent { room_id, position: has, occurred_at: None, actor_id, kind };
                self.store.apply(&[Event::Room(event)], &mut Unread::new(), 100).await.unwrap();
            }
            Play::Read { read } => {
                let state = MembershipState { room_id: "r".into(), read_seq: read, last_seq: 99, ..Default::default() };
                self.store.apply(&[Event::Memberships(state)], &mut Unread::new(), 100).await.unwrap();
            }
            Play::Parked { parked } => {
                let pending = self.store.pending(Some("r")).await.unwrap();
                let ids = pending.iter().filter(|message| message.parked).map(|message| name(&message.message));
                assert_eq!(ids.collect::<Vec<_>>(), parked, "{at}");
            }
        }
    }

    async fn act(&self, action: &str, id: &str) -> Result<(), Error> {
        match action {
            "write" => self.store.write(OutgoingMessage::text("r", id).with_client_message_id(id)).await.map(drop),
            "edit" => self.store.edit(id, "edited".into()).await.map(drop),
            "retry" => self.store.retry(id).await.map(drop),
            "drop" => self.store.give_up(id).await.map(drop),
            other => panic!("{other}"),
        }
    }

    fn seen(&mut self, step: Step) -> Expected {
        match step {
            Step::Send { request, .. } => Expected::Send {
                lane: self.lane(&request.lane_id),
                send: request.client_message_id,
                number: request.client_seq,
                written_after: request.written_after_seq,
            },
            Step::Skip { generation, number, .. } => {
                Expected::Skip { skip: number, lane: self.lane(&self.store.lane_id(generation)) }
            }
        }
    }

    fn lane(&mut self, lane_id: &str) -> u64 {
        let count = self.lanes.len() as u64;
        *self.lanes.entry(lane_id.to_owned()).or_insert(count + 1)
    }
}

/// The receipt for a send; a skip has none.
fn receipt(step: &Step, next_client_seq: Option<u64>, seq: u64) -> Option<SendReceipt> {
    let Step::Send { request, .. } = step else { return None };
    let next_client_seq = next_client_seq.unwrap_or(request.client_seq + 1);
    Some(SendReceipt { next_client_seq, seq, ..SendReceipt::default() })
}

fn name(message: &OutgoingMessage) -> String {
    message.client_message_id().to_owned()
}
