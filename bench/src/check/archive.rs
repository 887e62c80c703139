//! What the deployment itself says in the end, node by node: lists, members, counters.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use fastrand::Rng;
use relay_proto::chat::v1::{
    GetRoomRequest, GetRoomResponse, ListDirection, ListMembersRequest, ListMembersResponse, ListMessagesRequest,
    ListMessagesResponse, Message, Room,
};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    caller::{self, Caller, Path, Refusal},
    subscriber::RoomEnd,
    view::{Shown, State},
};
use crate::error::Error;

/// How long nothing may be written any more before the end counts as the end.
const QUIET: Duration = Duration::from_millis(700);
const LOOK: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(40);

/// A room as a node tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) messages: Vec<Message>,
    pub(super) members: BTreeMap<String, i32>,
}

impl Told {
    /// Its state, to be compared with what follows from events.
    pub(super) fn state(&self) -> State {
        let shown = |message: &Message| {
            let reactions =
                message.reactions.iter().map(|r| (r.emoji.clone(), r.user_ids.iter().cloned().collect())).collect();
            (message.seq, Shown { text: message.text.clone(), deleted: message.deleted_at.is_some(), reactions })
        };
        State { messages: self.messages.iter().map(shown).collect(), members: self.members.clone() }
    }
}

/// A line of the history: a message in the end.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    seq: u64,
    position: u64,
    id: &'a str,
    text: &'a str,
    deleted: bool,
}

/// The lines of a room.
pub(super) fn lines(told: &Told) -> Vec<Line<'_>> {
    fn line(message: &Message) -> Line<'_> {
        let Message { seq, position, client_message_id: id, text, deleted_at, .. } = message;
        Line { seq: *seq, position: *position, id, text, deleted: deleted_at.is_some() }
    }
    told.messages.iter().map(line).collect()
}

/// Reads as the owner of all rooms.
pub(super) struct Archive<'a> {
    pub(super) owner: &'a Caller,
    pub(super) rooms: Vec<String>,
}

impl Archive<'_> {
    /// How each room ends, once nothing is written any more.
    pub(super) async fn ends(&self) -> Result<BTreeMap<String, RoomEnd>, Error> {
        let deadline = Instant::now() + LONGEST;
        let mut last = self.ends_now().await?;
        let mut since = Instant::now();
        while since.elapsed() < QUIET {
            sleep(LOOK).await;
            let now = self.ends_now().await?;
            if now != last {
                (last, since) = (now, Instant::now());
            }
            if Instant::now() > deadline {
                return Err(Error::Late { what: "the end of all writing".into(), within: LONGEST });
            }
        }
        Ok(last)
    }

    async fn ends_now(&self) -> Result<BTreeMap<String, RoomEnd>, Error> {
        let mut ends = BTreeMap::new();
        for room in &self.rooms {
            let Room { last_position: position, last_seq: seq, .. } = self.room(0, room).await?;
            let members = self.members(0, room).await?.into_keys().collect();
            ends.insert(room.clone(), RoomEnd { position, seq, members });
        }
        Ok(ends)
    }

    /// A room as a node tells it.
    pub(super) async fn told(&self, node: usize, room: &str) -> Result<Told, Error> {
        Ok(Told { messages: self.messages(node, room).await?, members: self.members(node, room).await? })
    }

    /// The seqs of all messages, by the ids that their senders chose.
    pub(super) async fn written(&self) -> Result<HashMap<String, u64>, Error> {
        let mut written = HashMap::new();
        for room in &self.rooms {
            let messages = self.messages(0, room).await?;
            written.extend(messages.into_iter().map(|message| (message.client_message_id, message.seq)));
        }
        Ok(written)
    }

    /// The room itself.
    pub(super) async fn room(&self, node: usize, room: &str) -> Result<Room, Error> {
        let request = GetRoomRequest { room_id: room.into() };
        let answer: GetRoomResponse = self.ask(node, caller::GET_ROOM, &request).await?;
        answer.room.and_then(|summary| summary.room).ok_or_else(|| Error::unexpected("GetRoom answered without a room"))
    }

    async fn messages(&self, node: usize, room: &str) -> Result<Vec<Message>, Error> {
        let direction = ListDirection::Newer.into();
        let mut request = ListMessagesRequest { room_id: room.into(), direction, page_size: 200, ..Default::default() };
        let mut messages = Vec::new();
        loop {
            let page: ListMessagesResponse = self.ask(node, caller::LIST, &request).await?;
            messages.extend(page.messages);
            if page.next_page_token.is_empty() {
                return Ok(messages);
            }
            request.page_token = page.next_page_token;
        }
    }

    async fn members(&self, node: usize, room: &str) -> Result<BTreeMap<String, i32>, Error> {
        let request = ListMembersRequest { room_id: room.into(), page_size: 500, ..Default::default() };
        let answer: ListMembersResponse = self.ask(node, caller::LIST_MEMBERS, &request).await?;
        Ok(answer.members.into_iter().map(|member| (member.user_id, member.role)).collect())
    }

    async fn ask<Q, A>(&self, node: usize, path: Path, request: &Q) -> Result<A, Error>
    where
        Q: prost::Message + Clone + 'static,
        A: prost::Message + Default + 'static,
    {
        let answer: Option<Result<A, Refusal>> = self.owner.call_at(node, path, request).await;
        match answer {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(refusal)) => Err(Error::Status { path, status: refusal.reason, message: refusal.text }),
            None => Err(Error::Late { what: format!("an answer of node {node} to {path}"), within: caller::PATIENCE }),
        }
    }
}

/// A number that differs between runs of one process; draws nothing from the seed's row.
pub(super) fn sample(random: &mut Rng, length: usize, at_most: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..length).collect();
    random.shuffle(&mut places);
    places.truncate(at_most);
    places
}
