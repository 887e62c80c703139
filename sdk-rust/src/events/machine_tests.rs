//! The rules of resuming, as `proto/fixtures/stream_machine.json` has them.

use std::collections::BTreeMap;

use relay_proto::chat::v1::{
    BlockChanged, CaughtUp, Drain, MembershipState, MembershipsChanged, PresenceChanged, ReceiptsChanged, RoomPresence,
    RoomResume, TokenExpiring, TypingChanged, UserPresence,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::*;
use crate::fixtures::{self, Failure};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    scenarios: Vec<Scenario>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    name: String,
    held: BTreeMap<String, u64>,
    steps: Vec<Step>,
}

/// What comes in and what follows, or a look at what the machine holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    r#in: Option<In>,
    yields: Option<Vec<Value>>,
    then: Option<Value>,
    held: Option<BTreeMap<String, u64>>,
    patience_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "that it is there says all: `true`")]
enum In {
    Opening(bool),
    LastedMs(u64),
    Hello { heartbeat_ms: Option<u64> },
    Event { room: String, position: u64, previous: u64 },
    Resumed(Vec<Verdicts>),
    Heartbeat(Vec<At>),
    CaughtUp(bool),
    TokenExpiring(bool),
    DrainMs(u64),
    Drained(bool),
    Silence(bool),
    End(End),
    Unknown(bool),
    Reply(String),
    Memberships(Vec<Membership>),
    Receipts { room: String },
    Presence { user: String },
    RoomPresence { room: String },
    Typing { room: String },
    Block { user: String, blocked: bool },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Verdicts {
    room: String,
    verdict: String,
    position: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct At {
    room: String,
    position: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Membership {
    room: String,
    read_seq: u64,
}

/// The end of a stream: well, or with an error.
#[derive(Debug, Deserialize)]
struct End {
    #[serde(flatten)]
    failure: Option<Failure>,
    drain_left_ms: Option<u64>,
}

#[test]
fn the_machine_does_what_the_scenarios_say() {
    let fixture: Fixture = fixtures::read("stream_machine.json");
    assert!(!fixture.scenarios.is_empty());
    for scenario in fixture.scenarios {
        // The random value of the fixtures is 0, and an opening may take 10 s.
        let mut machine = Machine::new(scenario.held, Duration::from_secs(10), || 0.0);
        for (number, step) in scenario.steps.into_iter().enumerate() {
            check(&mut machine, step, &format!("{}, step {number}", scenario.name));
        }
    }
}

fn check(machine: &mut Machine, step: Step, at: &str) {
    if let Some(input) = step.r#in {
        let mut out = Vec::new();
        let then = feed(machine, input, &mut out);
        let yields: Vec<_> = out.iter().map(yielded).collect();
        assert_eq!(yields, step.yields.unwrap_or_default(), "{at}: yields");
        assert_eq!(then, step.then.unwrap_or(Value::Null), "{at}: then");
    }
    if let Some(expected) = step.held {
        let held: BTreeMap<_, _> = machine.positions().into_iter().map(|at| (at.room_id, at.position)).collect();
        assert_eq!(held, expected, "{at}: held");
    }
    if let Some(expected) = step.patience_ms {
        assert_eq!(machine.patience(), Duration::from_millis(expected), "{at}: patience");
    }
}

/// Hands an input over; gives what follows.
fn feed(machine: &mut Machine, input: In, out: &mut Vec<Event>) -> Value {
    let millis = Duration::from_millis;
    match input {
        In::Opening(_) => machine.opening(),
        In::LastedMs(life) => machine.lasted(millis(life)),
        In::Silence(_) => return left(machine.silent(out)),
        In::Drained(_) => return left(machine.drained(out)),
        In::End(End { failure, drain_left_ms }) => {
            let end = failure.map_or(Ok(()), |failure| Err(failure.error()));
            return left(machine.ended(end, drain_left_ms.map(millis), out));
        }
        frame => return next(machine.frame(Frame { kind: kind(frame) }, out)),
    }
    Value::Null
}

fn kind(input: In) -> Option<Kind> {
    let wire = |millis| Duration::from_millis(millis).try_into().unwrap();
    Some(match input {
        In::Hello { heartbeat_ms } => {
            Kind::Hello(Hello { heartbeat_interval: heartbeat_ms.map(wire), ..Hello::default() })
        }
        In::Event { room, position, previous } => {
            Kind::Event(WireEvent { room_id: room, position, previous_position: previous, ..WireEvent::default() })
        }
        In::Resumed(rooms) => Kind::Resumed(Resumed { rooms: rooms.into_iter().map(verdict).collect() }),
        In::Heartbeat(positions) => {
            let position = |At { room, position }| RoomPosition { room_id: room, position };
            Kind::Heartbeat(Heartbeat {
                positions: positions.into_iter().map(position).collect(),
                ..Heartbeat::default()
            })
        }
        In::CaughtUp(_) => Kind::CaughtUp(CaughtUp {}),
        In::TokenExpiring(_) => Kind::TokenExpiring(TokenExpiring::default()),
        In::DrainMs(after) => Kind::Drain(Drain { reconnect_after: Some(wire(after)) }),
        In::Reply(request_id) => Kind::Reply(Reply { request_id, result: None }),
        In::Memberships(memberships) => {
            let state = |Membership { room, read_seq }| MembershipState {
                room_id: room,
                read_seq,
                ..MembershipState::default()
            };
            Kind::Memberships(MembershipsChanged { memberships: memberships.into_iter().map(state).collect() })
        }
        In::Receipts { room } => Kind::Receipts(ReceiptsChanged { room_id: room, ..ReceiptsChanged::default() }),
        In::Presence { user } => Kind::Presence(PresenceChanged {
            presence: Some(UserPresence { user_id: user, ..UserPresence::default() }),
        }),
        In::RoomPresence { room } => Kind::RoomPresence(RoomPresence { room_id: room, ..RoomPresence::default() }),
        In::Typing { room } => Kind::Typing(TypingChanged { room_id: room, ..TypingChanged::default() }),
        In::Block { user, blocked } => Kind::Block(BlockChanged { user_id: user, blocked }),
        In::Unknown(_) => return None,
        other => panic!("{other:?} is no frame"),
    })
}

fn verdict(Verdicts { room, verdict, position }: Verdicts) -> RoomResume {
    let name = format!("RESUME_VERDICT_{}", verdict.to_uppercase());
    let verdict = ResumeVerdict::from_str_name(&name).unwrap().into();
    RoomResume { room_id: room, verdict, position, last_position: position }
}

fn next(next: Next) -> Value {
    match next {
        Next::Read => json!("read"),
        Next::RenewToken => json!("renew_token"),
        Next::Answered(reply) => json!({ "answered": reply.request_id }),
        Next::Drain(after) => json!({ "drain_ms": after.as_millis() as u64 }),
        Next::Leave(leave) => left(leave),
    }
}

fn left(leave: Leave) -> Value {
    match leave {
        Leave::Reopen { after, forget_token } => {
            json!({ "reopen_after_ms": after.as_millis() as u64, "forget_token": forget_token })
        }
        Leave::Stop(error) => json!({ "stop": fixtures::kind_name(error.kind()) }),
    }
}

fn yielded(event: &Event) -> Value {
    match event {
        Event::Connected(_) => json!({ "connected": true }),
        Event::CaughtUp => json!({ "caught_up": true }),
        Event::Room(event) => json!({ "event": { "room": event.room_id, "position": event.position } }),
        Event::Resumed(room) => {
            let verdict = room.verdict().as_str_name().trim_start_matches("RESUME_VERDICT_").to_lowercase();
            json!({ "resumed": { "room": room.room_id, "verdict": verdict, "position": room.position } })
        }
        Event::Disconnected { reason, retry_in } => {
            let reason = match reason {
                DisconnectReason::Draining => "draining",
                DisconnectReason::Silent => "silent",
                DisconnectReason::OutOfOrder => "out_of_order",
                DisconnectReason::Closed => "closed",
                DisconnectReason::Failed(_) => "failed",
            };
            json!({ "disconnected": reason, "retry_in_ms": retry_in.as_millis() as u64 })
        }
        Event::Memberships(state) => json!({ "memberships": { "room": state.room_id, "read_seq": state.read_seq } }),
        Event::Receipts(changed) => json!({ "receipts": { "room": changed.room_id } }),
        Event::Presence(presence) => json!({ "presence": { "user": presence.user_id } }),
        Event::RoomPresence(room) => json!({ "room_presence": { "room": room.room_id } }),
        Event::Typing(changed) => json!({ "typing": { "room": changed.room_id } }),
        Event::Block { user_id, blocked } => json!({ "block": { "user": user_id, "blocked": blocked } }),
    }
}
