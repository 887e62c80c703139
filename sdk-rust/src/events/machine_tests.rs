//! The rules of resuming, frame by frame.

use relay_proto::chat::v1::{CaughtUp, Drain, RoomResume, TokenExpiring};
use tonic::{Code, Status};

use super::*;
use crate::ErrorKind;

fn machine(held: &[(&str, u64)]) -> Machine {
    let held = held.iter().map(|(room, position)| ((*room).to_owned(), *position)).collect();
    Machine::new(held, Duration::from_secs(10), || 0.0)
}

fn frame(kind: Kind) -> Frame {
    Frame { kind: Some(kind) }
}

fn hello() -> Frame {
    let heartbeat_interval = Some(prost_types::Duration { seconds: 15, nanos: 0 });
    frame(Kind::Hello(Hello { heartbeat_interval, ..Hello::default() }))
}

fn event(room: &str, position: u64, previous_position: u64) -> Frame {
    frame(Kind::Event(WireEvent { room_id: room.into(), position, previous_position, ..WireEvent::default() }))
}

fn verdict(room: &str, verdict: ResumeVerdict, position: u64) -> Frame {
    let room = RoomResume { room_id: room.into(), verdict: verdict.into(), position, last_position: position };
    frame(Kind::Resumed(Resumed { rooms: vec![room] }))
}

fn heartbeat(room: &str, position: u64) -> Frame {
    let positions = vec![RoomPosition { room_id: room.into(), position }];
    frame(Kind::Heartbeat(Heartbeat { positions, ..Heartbeat::default() }))
}

fn failure(code: Code) -> Result<(), Error> {
    Err(Status::new(code, "").into())
}

/// Feeds frames that must all read on; gives the positions of the events given out.
fn feed(machine: &mut Machine, frames: impl IntoIterator<Item = Frame>) -> Vec<u64> {
    let mut out = Vec::new();
    for frame in frames {
        assert!(matches!(machine.frame(frame, &mut out), Next::Read));
    }
    let position = |event| match event {
        Event::Room(event) => Some(event.position),
        _ => None,
    };
    out.into_iter().filter_map(position).collect()
}

/// How long a leave waits.
fn wait(leave: Leave) -> Duration {
    match leave {
        Leave::Reopen { after, .. } => after,
        Leave::Stop(error) => panic!("stopped: {error}"),
    }
}

fn held(machine: &Machine) -> Vec<(String, u64)> {
    machine.positions().into_iter().map(|at| (at.room_id, at.position)).collect()
}

#[test]
fn events_in_order_are_given_out_and_held() {
    let mut machine = machine(&[("r", 4)]);
    let given =
        feed(&mut machine, [hello(), verdict("r", ResumeVerdict::Complete, 4), event("r", 5, 4), event("r", 6, 5)]);
    assert_eq!(given, [5, 6]);
    assert_eq!(held(&machine), [("r".to_owned(), 6)]);
}

#[test]
fn an_event_that_was_given_out_before_is_dropped() {
    let mut machine = machine(&[("r", 4)]);
    assert_eq!(
        feed(&mut machine, [hello(), event("r", 3, 2), event("r", 4, 3), event("r", 5, 4), event("r", 5, 4)]),
        [5]
    );
}

#[test]
fn a_skipped_event_reopens_the_stream_from_what_is_held() {
    let mut machine = machine(&[("r", 4)]);
    feed(&mut machine, [hello(), event("r", 5, 4)]);
    let mut out = Vec::new();
    let next = machine.frame(event("r", 7, 6), &mut out);
    assert!(matches!(next, Next::Leave(Leave::Reopen { after: Duration::ZERO, .. })));
    assert!(matches!(out[..], [Event::Disconnected { reason: DisconnectReason::OutOfOrder, .. }]));
    assert_eq!(held(&machine), [("r".to_owned(), 5)]);
}

#[test]
fn a_heartbeat_ahead_of_what_is_held_reopens_the_stream() {
    let mut machine = machine(&[("r", 4)]);
    feed(&mut machine, [hello(), heartbeat("r", 4), heartbeat("elsewhere", 9)]);
    assert!(matches!(machine.frame(heartbeat("r", 5), &mut Vec::new()), Next::Leave(Leave::Reopen { .. })));
}

#[test]
fn verdicts_move_what_is_held() {
    let mut machine = machine(&[("behind", 4), ("ahead", 90), ("gone", 7)]);
    feed(
        &mut machine,
        [
            hello(),
            verdict("behind", ResumeVerdict::Gap, 50),
            verdict("ahead", ResumeVerdict::Gap, 60),
            verdict("gone", ResumeVerdict::Left, 0),
            verdict("new", ResumeVerdict::Joined, 3),
        ],
    );
    let expected = [("ahead", 60), ("behind", 50), ("new", 3)].map(|(room, at)| (room.to_owned(), at));
    assert_eq!(held(&machine), expected);
    assert_eq!(feed(&mut machine, [event("behind", 51, 50), event("ahead", 61, 60), event("new", 4, 3)]), [51, 61, 4]);
}

#[test]
fn retries_wait_longer_until_a_stream_lasts() {
    let mut machine = machine(&[]);
    let mut out = Vec::new();
    let waits: Vec<_> = (0..3).map(|_| wait(machine.ended(failure(Code::Unavailable), None, &mut out))).collect();
    assert_eq!(waits, [Duration::ZERO, Duration::from_millis(500), Duration::from_millis(500)]);
    // A server that ends each stream once all is sent would be asked without any wait.
    feed(&mut machine, [hello(), event("r", 5, 4), frame(Kind::CaughtUp(CaughtUp {}))]);
    machine.lasted(Duration::from_secs(14));
    assert!(!wait(machine.ended(Ok(()), None, &mut out)).is_zero());
    machine.opening();
    machine.lasted(Duration::from_secs(60));
    assert!(!wait(machine.ended(Ok(()), None, &mut out)).is_zero(), "without a hello there was no stream");
    feed(&mut machine, [hello()]);
    machine.lasted(Duration::from_secs(15));
    assert!(wait(machine.ended(Ok(()), None, &mut out)).is_zero());
}

#[test]
fn a_refused_token_is_forgotten_once_and_then_final() {
    let mut machine = machine(&[]);
    let mut out = Vec::new();
    let first = machine.ended(failure(Code::Unauthenticated), None, &mut out);
    assert!(matches!(first, Leave::Reopen { forget_token: true, .. }));
    let second = machine.ended(failure(Code::Unauthenticated), None, &mut out);
    assert!(matches!(second, Leave::Stop(error) if error.kind() == ErrorKind::Unauthenticated));
}

#[test]
fn a_token_that_expires_after_each_hello_is_renewed_each_time() {
    let mut machine = machine(&[]);
    for _ in 0..3 {
        feed(&mut machine, [hello()]);
        let leave = machine.ended(failure(Code::Unauthenticated), None, &mut Vec::new());
        assert!(matches!(leave, Leave::Reopen { forget_token: true, .. }));
    }
}

#[test]
fn what_would_fail_again_stops_the_stream() {
    for code in [Code::PermissionDenied, Code::InvalidArgument, Code::FailedPrecondition, Code::Unimplemented] {
        let mut out = Vec::new();
        assert!(matches!(machine(&[]).ended(failure(code), None, &mut out), Leave::Stop(_)), "{code:?}");
        assert!(out.is_empty());
    }
}

#[test]
fn a_drain_is_waited_for_and_no_failure() {
    let mut machine = machine(&[]);
    let mut out = Vec::new();
    let reconnect_after = Some(prost_types::Duration { seconds: 3, nanos: 0 });
    let next = machine.frame(frame(Kind::Drain(Drain { reconnect_after })), &mut out);
    assert!(matches!(next, Next::Drain(after) if after == Duration::from_secs(3)));
    let left = Duration::from_secs(1);
    assert_eq!(wait(machine.ended(failure(Code::Unavailable), Some(left), &mut out)), left);
    assert!(wait(machine.drained(&mut out)).is_zero());
    assert!(wait(machine.ended(Ok(()), None, &mut out)).is_zero(), "a first failure is retried at once");
}

#[test]
fn an_expiring_token_is_renewed_and_unknown_frames_are_ignored() {
    let mut machine = machine(&[]);
    let mut out = Vec::new();
    let expiring = frame(Kind::TokenExpiring(TokenExpiring::default()));
    assert!(matches!(machine.frame(expiring, &mut out), Next::RenewToken));
    assert!(matches!(machine.frame(Frame::default(), &mut out), Next::Read));
    assert!(out.is_empty());
}

#[test]
fn a_link_is_dead_after_three_heartbeats_and_an_opening_after_its_limit() {
    let mut machine = machine(&[]);
    assert_eq!(machine.patience(), Duration::from_secs(10));
    feed(&mut machine, [hello()]);
    assert_eq!(machine.patience(), Duration::from_secs(45));
    machine.opening();
    assert_eq!(machine.patience(), Duration::from_secs(10));
}
