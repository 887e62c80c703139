//! What a member does in a lane: numbers messages, hands several out at once in any order, to any nodes, and answers for each
//! number: it is sent again until it is answered, or declared skipped.

use std::{collections::HashMap, sync::Arc, time::Duration};

use fastrand::Rng;
use futures_util::future::join_all;
use relay_proto::chat::v1::{SendMessageRequest, SendMessageResponse, SendReceipt, SkipLaneRequest, SkipLaneResponse};
use tokio::time::{Instant, sleep};

use super::{
    Stage,
    caller::{self, Answer, Caller},
    ledger::{Ack, LaneNumber, Moment, now},
    violation::Promise,
    world::LANE_WAIT,
};

/// The reason of a number that is not free.
const USED: &str = "LANE_NUMBER_USED";

/// A member who sends in a lane of each room.
pub(super) struct LaneSender {
    stage: Arc<Stage>,
    caller: Caller,
    random: Rng,
    lane: String,
    /// The next number that was not handed out, by room.
    next: HashMap<String, u64>,
}

/// What becomes of a number.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is sent until it is answered.
    Sent,
    /// The same, but it is held back until those after it do not wait any more.
    HeldBack,
    /// It is declared skipped, and then perhaps sent all the same.
    Skipped,
    /// It is sent once, the caller hangs up, and it is declared skipped.
    GivenUp,
}

impl LaneSender {
    pub(super) fn new(stage: Arc<Stage>, caller: Caller, mut random: Rng) -> Self {
        let lane = format!("device-{}", random.u16(..));
        Self { stage, caller, random, lane, next: HashMap::new() }
    }

    /// Sends until the load is over.
    pub(super) async fn work(mut self) {
        while Instant::now() < self.stage.until {
            sleep(Duration::from_millis(self.random.u64(30..300))).await;
            let rooms = self.stage.cast.rooms.len();
            let room = self.stage.cast.rooms[self.random.usize(0..rooms)].id.clone();
            let count = self.random.u64(2..=8);
            let next = self.next.entry(room.clone()).or_insert(1);
            let first = *next;
            *next += count;
            let mut handed: Vec<(u64, Fate, Rng)> =
                (first..first + count).map(|number| (number, fate(&mut self.random), self.random.fork())).collect();
            self.random.shuffle(&mut handed);
            let this = &self;
            join_all(handed.into_iter().map(|(number, fate, random)| this.hand_out(&room, number, fate, random))).await;
        }
    }

    async fn hand_out(&self, room: &str, number: u64, fate: Fate, mut random: Rng) {
        let lane = LaneNumber { lane: self.lane.clone(), number };
        let pause = match fate {
            Fate::HeldBack => self.stage.lane_wait.unwrap_or(LANE_WAIT).mul_f64(1.1 + random.f64()),
            _ => Duration::from_millis(random.u64(0..25)),
        };
        sleep(pause).await;
        match fate {
            Fate::Sent | Fate::HeldBack => self.send(room, &lane, &mut random, false).await,
            Fate::Skipped => {
                self.skip(room, &lane, &mut random).await;
                if random.u8(0..3) == 0 {
                    self.send(room, &lane, &mut random, true).await;
                }
            }
            Fate::GivenUp => {
                let (request, _) = self.compose(room, &lane, &mut random);
                let within = Duration::from_millis(random.u64(1..200));
                let _: Option<SendMessageResponse> =
                    self.caller.give_up(&mut random, caller::SEND, &request, within).await;
                self.skip(room, &lane, &mut random).await;
            }
        }
    }

    fn compose(&self, room: &str, lane: &LaneNumber, random: &mut Rng) -> (SendMessageRequest, usize) {
        let id = uuid::Builder::from_random_bytes(random.u128(..).to_be_bytes()).into_uuid().to_string();
        let text = format!("message {:016x} number {}", random.u64(..), lane.number);
        let place = self.stage.ledger.sending(&self.caller.user.name, room, &id, &text, Some(lane.clone()));
        let request = SendMessageRequest {
            room_id: room.into(),
            client_message_id: id,
            text,
            lane_id: lane.lane.clone(),
            client_seq: lane.number,
            ..Default::default()
        };
        (request, place)
    }

    async fn send(&self, room: &str, lane: &LaneNumber, random: &mut Rng, after_skip: bool) {
        let (request, place) = self.compose(room, lane, random);
        let began = now();
        let answer: Option<Answer<SendMessageResponse>> = self.caller.call(random, caller::SEND, &request).await;
        let what = format!("number {} of {} of {} in {room}", lane.number, lane.lane, self.caller.user.name);
        let Some(Answer { result, node, .. }) = answer else {
            return self.stage.violations.add(Promise::Progress, format!("{what} was not answered"));
        };
        match result {
            Ok(SendMessageResponse { receipt: Some(receipt) }) if !after_skip => {
                self.expects(room, lane, began, receipt.next_client_seq);
                self.judge_receipt(&request, &receipt);
                self.stage.ledger.acknowledged(place, Ack::new(node, &receipt));
            }
            Err(refusal) if after_skip && refusal.reason == USED => self.stage.ledger.refused(place, refusal.text),
            answer => {
                let answer = answer.map_err(|refusal| refusal.text);
                if let Err(text) = &answer {
                    self.stage.ledger.refused(place, text.clone());
                }
                let skipped = if after_skip { ", which was declared skipped," } else { "" };
                let what = format!("{what}{skipped} was answered with {answer:?}");
                self.stage.violations.add(Promise::Contract, what);
            }
        }
    }

    fn judge_receipt(&self, request: &SendMessageRequest, receipt: &SendReceipt) {
        let same = (&receipt.room_id, &receipt.client_message_id) == (&request.room_id, &request.client_message_id);
        if !same || receipt.next_client_seq <= request.client_seq {
            let what = format!("number {} of a lane, {request:?}, was answered with {receipt:?}", request.client_seq);
            self.stage.violations.add(Promise::Contract, what);
        }
    }

    async fn skip(&self, room: &str, lane: &LaneNumber, random: &mut Rng) {
        let request = SkipLaneRequest {
            room_id: room.into(),
            lane_id: lane.lane.clone(),
            first_client_seq: lane.number,
            last_client_seq: 0,
        };
        let place = self.stage.ledger.skipping(&self.caller.user.name, room, lane.clone());
        let began = now();
        let answer: Option<Answer<SkipLaneResponse>> = self.caller.call(random, caller::SKIP_LANE, &request).await;
        let what = format!("skipping number {} of {} of {} in {room}", lane.number, lane.lane, self.caller.user.name);
        let Some(Answer { result, ambiguous, .. }) = answer else {
            return self.stage.violations.add(Promise::Progress, format!("{what} was not answered"));
        };
        match result {
            Ok(skipped) => {
                self.expects(room, lane, began, skipped.next_client_seq);
                self.stage.ledger.skipped(place, ambiguous, None);
            }
            Err(refusal) => {
                self.stage.violations.add(Promise::Contract, format!("{what} was refused: {}", refusal.text));
                self.stage.ledger.skipped(place, ambiguous, Some(refusal.text));
            }
        }
    }

    fn expects(&self, room: &str, lane: &LaneNumber, began: Moment, next: u64) {
        self.stage.ledger.expects(&self.caller.user.name, room, lane.clone(), began, next);
    }
}

fn fate(random: &mut Rng) -> Fate {
    match random.u8(0..100) {
        0..4 => Fate::HeldBack,
        4..12 => Fate::Skipped,
        12..18 => Fate::GivenUp,
        _ => Fate::Sent,
    }
}
