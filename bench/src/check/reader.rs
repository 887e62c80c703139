//! What a member does who reads: reports over any node what their devices were delivered, and looks how far others are.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use relay_proto::chat::v1::{
    GetRoomRequest, GetRoomResponse, ListReceiptsRequest, ListReceiptsResponse, MembershipState, Receipt,
    UpdateReceiptsRequest, UpdateReceiptsResponse,
};
use tokio::time::{Instant, sleep};

use super::{
    Stage,
    caller::{self, Answer, Caller, Refusal},
    ledger::now,
    receipt::{Cursor, judge_state},
    violation::Promise,
};

/// A member who reads.
pub(super) struct Reader {
    stage: Arc<Stage>,
    caller: Caller,
    random: Rng,
}

impl Reader {
    pub(super) fn new(stage: Arc<Stage>, caller: Caller, random: Rng) -> Self {
        Self { stage, caller, random }
    }

    /// Reads until the load is over.
    pub(super) async fn work(mut self) {
        while Instant::now() < self.stage.until {
            sleep(Duration::from_millis(self.random.u64(60..400))).await;
            let rooms = self.stage.cast.rooms.len();
            let room = self.stage.cast.rooms[self.random.usize(0..rooms)].id.clone();
            match self.random.u8(0..10) {
                0..5 => self.report_some(&room).await,
                5..9 => {
                    self.list(&room).await;
                }
                _ => self.look(&room).await,
            }
        }
    }

    async fn report_some(&mut self, room: &str) {
        let newest = self.stage.receipts.newest(self.name(), room);
        if newest == 0 {
            return;
        }
        // Readers lag behind, and come back to what they read before.
        let read = if self.random.bool() { newest } else { self.random.u64(0..=newest) };
        let delivered = if read == 0 || self.random.bool() { newest } else { 0 };
        self.report(room, Cursor { delivered, read }).await;
    }

    /// Reports until it is answered.
    pub(super) async fn report(&mut self, room: &str, cursor: Cursor) {
        let request =
            UpdateReceiptsRequest { room_id: room.into(), delivered_seq: cursor.delivered, read_seq: cursor.read };
        let place = self.stage.receipts.reporting(self.name(), room, cursor, false);
        let asked = now();
        let answer: Option<Answer<UpdateReceiptsResponse>> =
            self.caller.call(&mut self.random, caller::UPDATE_RECEIPTS, &request).await;
        let what = format!("UpdateReceipts of {cursor:?} in {room} by {}", self.name());
        match answer {
            Some(Answer { result: Ok(UpdateReceiptsResponse { state: Some(state) }), node, .. }) => {
                self.stage.receipts.reported(place);
                self.take_state(&what, room, &state, asked, node);
                if !(Cursor { delivered: state.delivered_seq, read: state.read_seq }).reaches(cursor) {
                    self.accuse(Promise::Lost, format!("{what} at node {node} was answered with {state:?}"));
                }
            }
            Some(Answer { result: Ok(answer), .. }) => {
                self.accuse(Promise::Contract, format!("{what} was answered with {answer:?}"));
            }
            Some(Answer { result: Err(refusal), node, .. }) => {
                self.accuse(Promise::Contract, format!("{what} at node {node} was refused: {}", refusal.text));
            }
            None => self.accuse(Promise::Progress, format!("{what} was not answered")),
        }
    }

    async fn list(&mut self, room: &str) {
        let node = self.caller.any(&mut self.random);
        let min_read = if self.random.u8(0..4) == 0 { self.stage.receipts.newest(self.name(), room) / 2 } else { 0 };
        let page = self.random.i32(2..=100);
        self.list_at(node, room, page, min_read).await;
    }

    /// All receipts of a room, as a node lists them. None: it did not.
    pub(super) async fn list_at(&mut self, node: usize, room: &str, page: i32, min_read: u64) -> Option<Vec<Receipt>> {
        let mut request =
            ListReceiptsRequest { room_id: room.into(), page_size: page, min_read_seq: min_read, ..Default::default() };
        let what = format!("ListReceipts of {room} from node {node}, read up to {min_read},");
        let mut all: Vec<Receipt> = Vec::new();
        loop {
            let asked = now();
            let answer: Option<Result<ListReceiptsResponse, Refusal>> =
                self.caller.call_at(node, caller::LIST_RECEIPTS, &request).await;
            let answer = match answer {
                Some(Ok(answer)) => answer,
                Some(Err(refusal)) => {
                    self.accuse(Promise::Contract, format!("{what} was refused: {}", refusal.text));
                    return None;
                }
                None => {
                    self.accuse(Promise::Progress, format!("{what} was not answered"));
                    return None;
                }
            };
            self.stage.receipts.listed(room, &answer.receipts, asked, node);
            all.extend(answer.receipts);
            if answer.next_page_token.is_empty() {
                break;
            }
            request.page_token = answer.next_page_token;
        }
        let ascending = all.windows(2).all(|pair| pair[0].user_id < pair[1].user_id);
        let fitting = all.iter().all(|one| one.read_seq >= min_read && one.read_seq <= one.delivered_seq);
        if !ascending || !fitting {
            self.accuse(Promise::Contract, format!("{what} is not what was asked for: {all:?}"));
        }
        let missing = self.stage.cast.members.iter().find(|user| all.iter().all(|one| one.user_id != user.name));
        if let Some(missing) = missing.filter(|_| min_read == 0) {
            self.accuse(Promise::Lost, format!("{what} lacks {}", missing.name));
        }
        Some(all)
    }

    async fn look(&mut self, room: &str) {
        let node = self.caller.any(&mut self.random);
        self.look_at(node, room).await;
    }

    /// How a node says that the member stands in a room.
    pub(super) async fn look_at(&self, node: usize, room: &str) -> Option<MembershipState> {
        let request = GetRoomRequest { room_id: room.into() };
        let asked = now();
        let answer: Option<Result<GetRoomResponse, Refusal>> =
            self.caller.call_at(node, caller::GET_ROOM, &request).await;
        let what = format!("GetRoom of {room} from node {node} by {}", self.name());
        let state = answer?.ok()?.room.and_then(|room| room.state);
        match &state {
            Some(state) => self.take_state(&what, room, state, asked, node),
            None => self.accuse(Promise::Contract, format!("{what} has no state")),
        }
        state
    }

    fn take_state(&self, what: &str, room: &str, state: &MembershipState, asked: u64, node: usize) {
        judge_state(what, state, &self.stage.violations);
        if state.room_id == room {
            self.stage.receipts.own(self.name(), state, asked, node);
        } else {
            self.accuse(Promise::Contract, format!("{what}: the state is of another room: {state:?}"));
        }
    }

    fn name(&self) -> &str {
        &self.caller.user.name
    }

    fn accuse(&self, promise: Promise, what: String) {
        self.stage.violations.add(promise, what);
    }
}
