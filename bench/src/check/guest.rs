//! What a guest does while the load lasts: comes into a room by itself or with the owner's help, sends, and goes.

use std::{collections::HashSet, sync::Arc, time::Duration};

use fastrand::Rng;
use prost::Message;
use relay_proto::chat::v1::{
    AddMembersRequest, AddMembersResponse, JoinRoomRequest, JoinRoomResponse, LeaveRoomRequest, LeaveRoomResponse,
    NewMember, RemoveMemberRequest, RemoveMemberResponse,
};
use tokio::time::{Instant, sleep};

use super::{
    Stage,
    caller::{self, Answer, Caller, Path},
    cast::Place,
    member::Member,
    violation::Promise,
};

/// A guest, one room at a time.
pub(super) struct Guest {
    stage: Arc<Stage>,
    own: Caller,
    owner: Caller,
    random: Rng,
    /// Rooms where a call of before may still take effect.
    unsure: HashSet<String>,
}

impl Guest {
    pub(super) fn new(stage: Arc<Stage>, own: Caller, owner: Caller, random: Rng) -> Self {
        Self { stage, own, owner, random, unsure: HashSet::new() }
    }

    /// Comes and goes until the load is over; may stay in the last room.
    pub(super) async fn work(mut self) {
        let mut sender = Member::new(self.stage.clone(), self.own.clone(), Vec::new(), self.random.fork());
        while Instant::now() < self.stage.until {
            let rooms = self.stage.cast.rooms.len();
            let place = self.stage.cast.rooms[self.random.usize(0..rooms)].clone();
            self.enter(&place).await;
            for _ in 0..self.random.u8(0..8) {
                sleep(Duration::from_millis(self.random.u64(5..120))).await;
                sender.send(&place.id).await;
            }
            // Whoever stays in one room goes on to the next all the same.
            if self.random.u8(0..5) > 0 {
                self.exit(&place).await;
                sleep(Duration::from_millis(self.random.u64(0..150))).await;
            }
        }
    }

    async fn enter(&mut self, place: &Place) {
        let room_id = place.id.clone();
        if place.public {
            self.pass::<_, JoinRoomResponse>(place, true, caller::JOIN, &JoinRoomRequest { room_id }, true).await;
        } else {
            let members = vec![NewMember { user_id: self.own.user.name.clone(), ..Default::default() }];
            let request = AddMembersRequest { room_id, members };
            self.pass::<_, AddMembersResponse>(place, true, caller::ADD_MEMBERS, &request, false).await;
        }
    }

    async fn exit(&mut self, place: &Place) {
        let room_id = place.id.clone();
        if self.random.bool() {
            self.pass::<_, LeaveRoomResponse>(place, false, caller::LEAVE, &LeaveRoomRequest { room_id }, true).await;
        } else {
            let request = RemoveMemberRequest { room_id, user_id: self.own.user.name.clone() };
            self.pass::<_, RemoveMemberResponse>(place, false, caller::REMOVE_MEMBER, &request, false).await;
        }
    }

    async fn pass<Q: Message + Clone + 'static, A: Message + Default + 'static>(
        &mut self,
        place: &Place,
        joins: bool,
        path: Path,
        request: &Q,
        by_itself: bool,
    ) {
        let name = self.own.user.name.clone();
        let number = self.stage.ledger.passing(&name, &place.id, joins);
        let caller = if by_itself { &self.own } else { &self.owner };
        let answer: Option<Answer<A>> = caller.call(&mut self.random, path, request).await;
        let Some(answer) = answer else {
            return self.stage.violations.add(Promise::Progress, format!("{path} of {} was not answered", place.id));
        };
        let refusal = answer.result.err();
        if answer.ambiguous {
            self.unsure.insert(place.id.clone());
        }
        // Leaving a private room again, because the first answer was lost, finds no room.
        let again = !joins && self.unsure.contains(&place.id);
        if let Some(refusal) = refusal.as_ref().filter(|refusal| !(again && refusal.reason == "ROOM_NOT_FOUND")) {
            let what = format!("{path} of {} for {name} was refused: {}", place.id, refusal.text);
            self.stage.violations.add(Promise::Contract, what);
        }
        let refusal = refusal.filter(|_| !again).map(|refusal| refusal.text);
        self.stage.ledger.passed(number, answer.ambiguous, refusal);
    }
}
