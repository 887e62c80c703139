//! The driver over scripted streams, in paused time.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use relay_proto::chat::v1::{
    CaughtUp, Drain, Hello, ResumeVerdict, Resumed, RoomEvent, RoomResume, TokenExpiring, frame::Kind,
};
use tonic::{Code, Status};

use super::*;
use crate::{
    ErrorKind,
    events::event::{DisconnectReason, Positions},
    token::tests::expiring,
};

/// What a scripted stream does next.
#[expect(clippy::large_enum_variant, reason = "a script is short")]
enum Act {
    Frame(Kind),
    Fail(Code),
    /// Nothing comes for a second.
    Pause,
    /// Nothing comes any more.
    Hang,
}

#[derive(Default)]
struct Script {
    streams: VecDeque<Result<Vec<Act>, Code>>,
    /// When each stream was opened, with which token and positions.
    opened: Vec<(Instant, String, Vec<RoomPosition>)>,
    /// How long opening takes.
    slow: Duration,
    renewed: Vec<String>,
    /// Where what is sent up goes.
    up: Option<mpsc::Sender<ConnectRequest>>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Script>>);

struct FakeLink {
    acts: VecDeque<Act>,
    fake: Fake,
}

impl Dial for Fake {
    type Link = FakeLink;

    async fn open(&self, token: &Token, positions: Vec<RoomPosition>) -> Result<FakeLink, Error> {
        let slow = self.0.lock().unwrap().slow;
        tokio::time::sleep(slow).await;
        let mut script = self.0.lock().unwrap();
        script.opened.push((Instant::now(), token.text().to_owned(), positions));
        match script.streams.pop_front() {
            Some(Ok(acts)) => Ok(FakeLink { acts: acts.into(), fake: self.clone() }),
            Some(Err(code)) => Err(Status::new(code, "").into()),
            None => Ok(FakeLink { acts: [Act::Hang].into(), fake: self.clone() }),
        }
    }
}

impl Link for FakeLink {
    async fn next(&mut self) -> Result<Option<Frame>, Error> {
        loop {
            match self.acts.front() {
                Some(Act::Hang) => std::future::pending().await,
                Some(Act::Pause) => tokio::time::sleep(Duration::from_secs(1)).await,
                _ => {}
            }
            return match self.acts.pop_front() {
                Some(Act::Frame(kind)) => Ok(Some(Frame { kind: Some(kind) })),
                Some(Act::Fail(code)) => Err(Status::new(code, "").into()),
                Some(Act::Pause) => continue,
                Some(Act::Hang) | None => Ok(None),
            };
        }
    }

    fn way_up(&self) -> mpsc::Sender<ConnectRequest> {
        self.fake.0.lock().unwrap().up.clone().unwrap_or_else(|| mpsc::channel(1).0)
    }

    fn renew(&mut self, token: &Token) {
        self.fake.0.lock().unwrap().renewed.push(token.text().to_owned());
    }
}

fn hello() -> Act {
    let heartbeat_interval = Some(prost_types::Duration { seconds: 15, nanos: 0 });
    Act::Frame(Kind::Hello(Hello { heartbeat_interval, ..Hello::default() }))
}

fn joined(position: u64) -> Act {
    let verdict = ResumeVerdict::Joined.into();
    let room = RoomResume { room_id: "r".into(), verdict, position, last_position: position };
    Act::Frame(Kind::Resumed(Resumed { rooms: vec![room] }))
}

fn event(position: u64) -> Act {
    let previous_position = position - 1;
    Act::Frame(Kind::Event(RoomEvent { room_id: "r".into(), position, previous_position, ..RoomEvent::default() }))
}

fn caught_up() -> Act {
    Act::Frame(Kind::CaughtUp(CaughtUp {}))
}

type Incoming = mpsc::Receiver<Result<Event, Error>>;

/// Runs a driver over the streams, with the tokens `t1`, `t2`, … in turn.
fn start(buffer: usize, streams: Vec<Result<Vec<Act>, Code>>) -> (Fake, Incoming) {
    start_with(buffer, streams, |number| format!("t{number}"))
}

fn start_with(
    buffer: usize,
    streams: Vec<Result<Vec<Act>, Code>>,
    token: impl Fn(u32) -> String + Send + Sync + 'static,
) -> (Fake, Incoming) {
    let fake = Fake::default();
    fake.0.lock().unwrap().streams = streams.into();
    let given = Arc::new(Mutex::new(0));
    let provider = move || {
        let mut given = given.lock().unwrap();
        *given += 1;
        std::future::ready(Ok(token(*given)))
    };
    let tokens = Arc::new(Tokens::new(Box::new(provider), Duration::from_secs(1)));
    let machine = Machine::new(Positions::new(), Duration::from_secs(10), || 0.0);
    let (events, incoming) = mpsc::channel(buffer);
    tokio::spawn(Driver { dial: fake.clone(), tokens, machine, events, live: Arc::default(), token: None }.run());
    (fake, incoming)
}

/// Reads on until this many room events have come; gives their positions. Fails when they do not come within an hour.
async fn room_events(incoming: &mut Incoming, count: usize) -> Vec<u64> {
    let mut positions = Vec::new();
    let read = async {
        while positions.len() < count {
            if let Event::Room(event) = incoming.recv().await.unwrap().unwrap() {
                positions.push(event.position);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(3600), read).await.unwrap();
    positions
}

async fn disconnection(incoming: &mut Incoming) -> (DisconnectReason, Duration) {
    loop {
        if let Event::Disconnected { reason, retry_in } = incoming.recv().await.unwrap().unwrap() {
            return (reason, retry_in);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_stream_is_resumed_without_gap_or_double() {
    let (fake, mut incoming) = start(
        16,
        vec![
            Ok(vec![hello(), joined(0), event(1), event(2), Act::Fail(Code::Unknown)]),
            Err(Code::Unavailable),
            Ok(vec![hello(), event(2), event(3), Act::Hang]),
        ],
    );
    assert_eq!(room_events(&mut incoming, 3).await, [1, 2, 3]);
    let script = fake.0.lock().unwrap();
    let at: Vec<_> = script.opened.iter().map(|(_, _, held)| held.first().map(|at| at.position)).collect();
    assert_eq!(at, [None, Some(2), Some(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_out_of_order_is_left_before_anything_wrong_is_given_out() {
    let (_fake, mut incoming) = start(
        16,
        vec![
            Ok(vec![hello(), joined(0), event(1), event(3), Act::Hang]),
            Ok(vec![hello(), event(2), event(3), Act::Hang]),
        ],
    );
    assert_eq!(room_events(&mut incoming, 3).await, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_link_is_left_after_three_heartbeats() {
    let (_fake, mut incoming) = start(16, vec![Ok(vec![hello(), caught_up(), Act::Hang])]);
    let begun = Instant::now();
    assert!(matches!(disconnection(&mut incoming).await.0, DisconnectReason::Silent));
    assert_eq!(begun.elapsed().as_secs(), 45);
}

#[tokio::test(start_paused = true)]
async fn streams_cut_right_after_catching_up_are_opened_at_a_growing_distance() {
    let cut = || Ok(vec![hello(), joined(0), caught_up()]);
    let (_fake, mut incoming) = start(16, vec![cut(), cut(), cut()]);
    let mut waits = Vec::new();
    for _ in 0..3 {
        waits.push(disconnection(&mut incoming).await.1.as_millis());
    }
    assert_eq!(waits, [0, 500, 500]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_lasted_is_opened_anew_at_once() {
    let lasting = [hello(), caught_up()].into_iter().chain((0..16).map(|_| Act::Pause)).collect();
    let (_fake, mut incoming) = start(16, vec![Err(Code::Unavailable), Err(Code::Unavailable), Ok(lasting)]);
    let mut waits = Vec::new();
    for _ in 0..3 {
        waits.push(disconnection(&mut incoming).await.1.as_millis());
    }
    assert_eq!(waits, [0, 500, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_opening_and_its_hello_share_one_limit() {
    let (fake, mut incoming) = start(16, vec![Ok(vec![Act::Hang])]);
    fake.0.lock().unwrap().slow = Duration::from_secs(8);
    let begun = Instant::now();
    assert!(matches!(disconnection(&mut incoming).await.0, DisconnectReason::Silent));
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_busy_listener_is_no_silent_link_and_loses_nothing() {
    // The pauses are time in which a link that was taken for silent too early would be left.
    let events = (1..=40).flat_map(|position| [event(position), Act::Pause]);
    let acts = [hello(), joined(0)].into_iter().chain(events).chain([Act::Hang]).collect();
    let (fake, mut incoming) = start(1, vec![Ok(acts)]);
    assert_eq!(room_events(&mut incoming, 1).await, [1]);
    // Until the driver waits for its listener, and for long then.
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(room_events(&mut incoming, 39).await, (2..=40).collect::<Vec<_>>());
    assert_eq!(fake.0.lock().unwrap().opened.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_draining_stream_delivers_until_its_time_and_is_opened_anew_then() {
    let drain =
        || Act::Frame(Kind::Drain(Drain { reconnect_after: Some(prost_types::Duration { seconds: 3, nanos: 0 }) }));
    for last in [Act::Hang, Act::Fail(Code::Unavailable)] {
        let begun = Instant::now();
        let (fake, mut incoming) = start(16, vec![Ok(vec![hello(), joined(0), drain(), event(1), last])]);
        assert_eq!(room_events(&mut incoming, 1).await, [1]);
        assert!(matches!(disconnection(&mut incoming).await.0, DisconnectReason::Draining));
        // The second stream says nothing, so that this ends when its opening is given up.
        disconnection(&mut incoming).await;
        let opened = fake.0.lock().unwrap().opened[1].0;
        assert_eq!((opened - begun).as_secs(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn an_expiring_token_is_renewed_in_the_stream() {
    let expiring = Act::Frame(Kind::TokenExpiring(TokenExpiring::default()));
    let (fake, mut incoming) = start(16, vec![Ok(vec![hello(), caught_up(), expiring, Act::Hang])]);
    disconnection(&mut incoming).await;
    assert_eq!(fake.0.lock().unwrap().renewed, ["t2"]);
}

#[tokio::test(start_paused = true)]
async fn tokens_shorter_than_the_servers_warning_are_renewed_once_in_a_quarter_of_their_life() {
    let warning = || Act::Frame(Kind::TokenExpiring(TokenExpiring::default()));
    let warned_each_second = (0..25).flat_map(|_| [warning(), Act::Pause]);
    let acts = [hello(), caught_up()].into_iter().chain(warned_each_second).collect();
    let life = Duration::from_secs(40);
    let (fake, mut incoming) = start_with(16, vec![Ok(acts)], move |number| expiring(number, life));
    disconnection(&mut incoming).await;
    // 25 s, and one each 10 s.
    assert_eq!(fake.0.lock().unwrap().renewed.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_renewed_token_that_expires_is_replaced_by_another() {
    let expiring = Act::Frame(Kind::TokenExpiring(TokenExpiring::default()));
    let end = Act::Fail(Code::Unauthenticated);
    let (fake, mut incoming) = start(16, vec![Ok(vec![hello(), caught_up(), expiring, Act::Pause, end])]);
    disconnection(&mut incoming).await;
    disconnection(&mut incoming).await;
    let tokens: Vec<_> = fake.0.lock().unwrap().opened.iter().map(|(_, token, _)| token.clone()).collect();
    assert_eq!(tokens, ["t1", "t3"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_refused_twice_is_the_last_item() {
    let (fake, mut incoming) = start(16, vec![Err(Code::Unauthenticated), Err(Code::Unauthenticated)]);
    disconnection(&mut incoming).await;
    assert_eq!(incoming.recv().await.unwrap().unwrap_err().kind(), ErrorKind::Unauthenticated);
    assert!(incoming.recv().await.is_none());
    let tokens: Vec<_> = fake.0.lock().unwrap().opened.iter().map(|(_, token, _)| token.clone()).collect();
    assert_eq!(tokens, ["t1", "t2"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_listener_ends() {
    let (fake, incoming) = start(1, vec![Ok(vec![hello(), joined(0), event(1), event(2), Act::Hang])]);
    drop(incoming);
    // Once the driver is gone, the test alone holds the script.
    let gone = async {
        while Arc::strong_count(&fake.0) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), gone).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn times_without_end_that_a_server_says_are_no_fault() {
    let ever = Some(prost_types::Duration { seconds: i64::MAX, nanos: 0 });
    let hello = Act::Frame(Kind::Hello(Hello { heartbeat_interval: ever, ..Hello::default() }));
    let drain = Act::Frame(Kind::Drain(Drain { reconnect_after: ever }));
    let (_fake, mut incoming) = start(16, vec![Ok(vec![hello, drain, joined(0), event(1), Act::Hang])]);
    assert_eq!(room_events(&mut incoming, 1).await, [1]);
}
