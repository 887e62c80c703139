//! What a member does while the load lasts: sends, now and then the same on two nodes at once, edits, deletes, reacts, reads.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use relay_proto::chat::v1::{
    AddReactionRequest, AddReactionResponse, DeleteMessageRequest, DeleteMessageResponse, EditMessageRequest,
    EditMessageResponse, ListMessagesRequest, ListMessagesResponse, RemoveReactionRequest, RemoveReactionResponse,
    SendMessageRequest, SendMessageResponse, SendMessagesRequest, SendMessagesResponse, UpdateRoomRequest,
    UpdateRoomResponse, send_result,
};
use relay_sdk::{Client, ErrorKind, OutgoingMessage};
use tokio::time::{Instant, sleep};

use super::{
    Stage,
    caller::{self, Answer, Caller, Refusal},
    ledger::{Ack, What, now},
    violation::Promise,
};

const EMOJI: [&str; 3] = ["+1", "heart", "\u{1f389}"];

/// A member at work.
pub(super) struct Member {
    stage: Arc<Stage>,
    caller: Caller,
    random: Rng,
    /// Clients of the SDK for each node, if it sends through them.
    sdk: Vec<Client>,
    /// Messages of its own: room, seq.
    own: Vec<(String, u64)>,
}

impl Member {
    pub(super) fn new(stage: Arc<Stage>, caller: Caller, sdk: Vec<Client>, random: Rng) -> Self {
        Self { stage, caller, random, sdk, own: Vec::new() }
    }

    /// Works until the load is over.
    pub(super) async fn work(mut self) {
        while Instant::now() < self.stage.until {
            sleep(Duration::from_millis(self.random.u64(2..70))).await;
            let rooms = self.stage.cast.rooms.len();
            let room = self.stage.cast.rooms[self.random.usize(0..rooms)].id.clone();
            match self.random.u8(0..100) {
                0..50 => self.send(&room).await,
                50..58 => self.send_on_two_nodes(&room).await,
                58..63 => self.send_batch(&room).await,
                63..72 => self.edit().await,
                72..76 => self.delete().await,
                76..86 => self.react(&room).await,
                86..90 => self.unreact(&room).await,
                90..91 if self.caller.user.name == self.stage.cast.owner.name => self.rename(&room).await,
                _ => self.list(&room).await,
            }
        }
    }

    /// Sends until it is acknowledged; never with another id.
    pub(super) async fn send(&mut self, room: &str) {
        let (request, place) = self.compose(room);
        if !self.sdk.is_empty() {
            let client = self.sdk[self.random.usize(0..self.sdk.len())].clone();
            return self.send_by_sdk(client, request, place).await;
        }
        let answer = self.caller.call(&mut self.random, caller::SEND, &request).await;
        self.note_sent(place, &request, answer);
    }

    async fn send_by_sdk(&mut self, client: Client, request: SendMessageRequest, place: usize) {
        let message = OutgoingMessage::text(&request.room_id, &request.text);
        match client.send(message.with_client_message_id(&request.client_message_id)).await {
            Ok(receipt) => {
                self.own.push((request.room_id, receipt.seq));
                self.stage.ledger.acknowledged(place, Ack::new(usize::MAX, &receipt));
            }
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => {
                self.stage.violations.add(Promise::Progress, format!("the SDK's send had no answer: {error}"));
            }
            Err(error) => self.refused(place, &format!("{error:?}")),
        }
    }

    async fn send_on_two_nodes(&mut self, room: &str) {
        let (request, place) = self.compose(room);
        let (mut one, mut other) = (self.random.fork(), self.random.fork());
        let (first, second) = tokio::join!(
            self.caller.call(&mut one, caller::SEND, &request),
            self.caller.call(&mut other, caller::SEND, &request),
        );
        self.note_sent(place, &request, first);
        self.note_sent(place, &request, second);
    }

    async fn send_batch(&mut self, room: &str) {
        let count = self.random.usize(2..8);
        let (requests, places): (Vec<_>, Vec<_>) = (0..count).map(|_| self.compose(room)).unzip();
        let mut left: Vec<(SendMessageRequest, usize)> = requests.into_iter().zip(places).collect();
        // A single result that failed in passing is sent again, with the others that did.
        let deadline = Instant::now() + caller::PATIENCE;
        while !left.is_empty() && Instant::now() < deadline {
            let batch = SendMessagesRequest { requests: left.iter().map(|(request, _)| request.clone()).collect() };
            let answer: Option<Answer<SendMessagesResponse>> =
                self.caller.call(&mut self.random, caller::SEND_BATCH, &batch).await;
            let Some(Answer { result: Ok(answer), node, .. }) = answer else { break };
            let mut again = Vec::new();
            for ((request, place), result) in left.into_iter().zip(answer.results) {
                match result.result {
                    Some(send_result::Result::Receipt(receipt)) => {
                        self.own.push((request.room_id, receipt.seq));
                        self.stage.ledger.acknowledged(place, Ack::new(node, &receipt));
                    }
                    Some(send_result::Result::Error(error)) if error.retry_after.is_some() => {
                        again.push((request, place));
                    }
                    other => self.refused(place, &format!("{other:?}")),
                }
            }
            left = again;
        }
        if !left.is_empty() {
            self.stage.violations.add(Promise::Progress, format!("a batch for {room} was not answered"));
        }
    }

    fn compose(&mut self, room: &str) -> (SendMessageRequest, usize) {
        let id = uuid::Builder::from_random_bytes(self.random.u128(..).to_be_bytes()).into_uuid().to_string();
        let text = self.text("message");
        let place = self.stage.ledger.sending(&self.caller.user.name, room, &id, &text, None);
        (SendMessageRequest { room_id: room.into(), client_message_id: id, text, ..Default::default() }, place)
    }

    /// A text that nobody else writes.
    fn text(&mut self, what: &str) -> String {
        let mut text = format!("{what} {:016x} ", self.random.u64(..));
        let length = if self.random.u8(0..20) == 0 { 3_000 } else { self.random.usize(0..120) };
        text.extend((0..length).map(|_| self.random.alphanumeric()));
        text
    }

    fn note_sent(&mut self, place: usize, request: &SendMessageRequest, answer: Option<Answer<SendMessageResponse>>) {
        let room = &request.room_id;
        match answer {
            Some(Answer { result: Ok(SendMessageResponse { receipt: Some(receipt) }), node, .. }) => {
                if (&receipt.room_id, &receipt.client_message_id) != (room, &request.client_message_id) {
                    self.stage.violations.add(Promise::Contract, format!("{request:?} was answered with {receipt:?}"));
                }
                self.own.push((room.clone(), receipt.seq));
                self.stage.ledger.acknowledged(place, Ack::new(node, &receipt));
            }
            Some(Answer { result: Ok(_), .. }) => {
                self.stage
                    .violations
                    .add(Promise::Contract, format!("a send to {room} was answered without a receipt"));
            }
            Some(Answer { result: Err(refusal), .. }) => self.refused(place, &refusal.text),
            None => {
                let what = format!("{} of {} to {room} was not answered", request.client_message_id, self.name());
                self.stage.violations.add(Promise::Progress, what);
            }
        }
    }

    /// A member may send, so a refusal is wrong; a guest may have been removed meanwhile.
    fn refused(&self, place: usize, why: &str) {
        self.stage.ledger.refused(place, why.to_owned());
        if !self.is_guest() {
            self.stage.violations.add(Promise::Contract, format!("a send of {} was refused: {why}", self.name()));
        }
    }

    async fn edit(&mut self) {
        let Some((room_id, seq)) = self.one_of_own() else { return };
        let text = self.text("edit");
        let request = EditMessageRequest { room_id: room_id.clone(), seq, text: text.clone(), ..Default::default() };
        let place = self.stage.ledger.changing(&self.caller.user.name, &room_id, seq, What::Edit(text));
        let answer: Option<Answer<EditMessageResponse>> =
            self.caller.call(&mut self.random, caller::EDIT, &request).await;
        self.note_changed(place, &room_id, seq, answer);
    }

    async fn delete(&mut self) {
        let Some((room_id, seq)) = self.one_of_own() else { return };
        let request = DeleteMessageRequest { room_id: room_id.clone(), seq, reason: String::new() };
        let place = self.stage.ledger.changing(&self.caller.user.name, &room_id, seq, What::Delete);
        let answer: Option<Answer<DeleteMessageResponse>> =
            self.caller.call(&mut self.random, caller::DELETE, &request).await;
        self.note_changed(place, &room_id, seq, answer);
    }

    async fn react(&mut self, room: &str) {
        let Some(seq) = self.stage.ledger.recent(room, &mut self.random) else { return };
        let emoji = EMOJI[self.random.usize(0..EMOJI.len())].to_owned();
        let request = AddReactionRequest { room_id: room.into(), seq, emoji: emoji.clone() };
        let place = self.stage.ledger.changing(&self.caller.user.name, room, seq, What::React(emoji));
        let answer: Option<Answer<AddReactionResponse>> =
            self.caller.call(&mut self.random, caller::REACT, &request).await;
        self.note_changed(place, room, seq, answer);
    }

    async fn unreact(&mut self, room: &str) {
        let Some(seq) = self.stage.ledger.recent(room, &mut self.random) else { return };
        let emoji = EMOJI[self.random.usize(0..EMOJI.len())].to_owned();
        let request = RemoveReactionRequest { room_id: room.into(), seq, emoji: emoji.clone() };
        let place = self.stage.ledger.changing(&self.caller.user.name, room, seq, What::Unreact(emoji));
        let answer: Option<Answer<RemoveReactionResponse>> =
            self.caller.call(&mut self.random, caller::UNREACT, &request).await;
        self.note_changed(place, room, seq, answer);
    }

    fn one_of_own(&mut self) -> Option<(String, u64)> {
        // Mostly recent ones, which are under way to somebody.
        let from = if self.random.bool() { 0 } else { self.own.len().saturating_sub(5) };
        (!self.own.is_empty()).then(|| self.own[self.random.usize(from..self.own.len())].clone())
    }

    fn note_changed<A>(&self, place: usize, room: &str, seq: u64, answer: Option<Answer<A>>) {
        let Some(answer) = answer else {
            let what = format!("a change of message {seq} of {room} by {} was not answered", self.name());
            return self.stage.violations.add(Promise::Progress, what);
        };
        let refusal = answer.result.err();
        if let Some(Refusal { reason, text }) = &refusal {
            let deleted = reason == "MESSAGE_DELETED" && self.stage.ledger.deletion_began(room, seq);
            if !deleted {
                let what = format!("a change of message {seq} of {room} by {} was refused: {text}", self.name());
                self.stage.violations.add(Promise::Contract, what);
            }
        }
        self.stage.ledger.changed(place, answer.ambiguous, refusal.map(|refusal| refusal.text));
    }

    async fn rename(&mut self, room: &str) {
        let paths = vec!["title".to_owned()];
        let title = self.text("title").chars().take(40).collect();
        let update_mask = Some(prost_types::FieldMask { paths });
        let request = UpdateRoomRequest { room_id: room.into(), title, update_mask, ..Default::default() };
        let answer: Option<Answer<UpdateRoomResponse>> =
            self.caller.call(&mut self.random, caller::UPDATE_ROOM, &request).await;
        if answer.is_none_or(|answer| answer.result.is_err()) {
            self.stage.violations.add(Promise::Contract, format!("{room} cannot be renamed by its owner"));
        }
    }

    async fn list(&mut self, room: &str) {
        let request = ListMessagesRequest { room_id: room.into(), page_size: 40, ..Default::default() };
        let node = self.caller.any(&mut self.random);
        let asked = now();
        let answer: Option<Result<ListMessagesResponse, Refusal>> =
            self.caller.call_at(node, caller::LIST, &request).await;
        let stage = &self.stage;
        match answer {
            Some(Ok(page)) => stage.ledger.judge_page(asked, node, room, &page.messages, &stage.violations),
            Some(Err(refusal)) => {
                let what = format!("ListMessages of {room} by {} was refused: {}", self.name(), refusal.text);
                stage.violations.add(Promise::Contract, what);
            }
            None => stage.violations.add(Promise::Progress, format!("ListMessages of {room} was not answered")),
        }
    }

    fn name(&self) -> &str {
        &self.caller.user.name
    }

    fn is_guest(&self) -> bool {
        self.stage.cast.guests.iter().any(|guest| guest.name == self.caller.user.name)
    }
}
