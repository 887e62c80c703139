//! The end of a run: a last message in every room, everybody reports once more, some visitors stay. What all nodes and all
//! streams must say then follows.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use futures_util::future::join_all;
use relay_proto::chat::v1::{
    GetPresenceRequest, GetPresenceResponse, PresenceState, Receipt, SendMessageRequest, SendMessageResponse,
    UserPresence,
};
use tokio::time::{Instant, sleep};

use uuid::Uuid;

use super::{
    Stage,
    archive::sample,
    brief::Brief,
    caller::{self, Caller, Refusal},
    cast::User,
    judge::Log,
    ledger::{Moment, Sent},
    reader::Reader,
    receipt::Cursor,
    subscriber::RoomEnd,
    violation::{Promise, Violations},
    visitor::Settled,
    words::{Due, LastWords},
};
use crate::error::Error;

const LOOK: Duration = Duration::from_millis(200);
/// How many numbers of lanes are sent again as other messages.
const REUSED: usize = 10;

/// The receipts of each room.
pub(super) type Lists = BTreeMap<String, Vec<Receipt>>;

/// The end of a run.
pub(super) struct Closing<'a> {
    pub(super) stage: &'a Arc<Stage>,
    pub(super) owner: &'a Caller,
    pub(super) ends: &'a BTreeMap<String, RoomEnd>,
    /// The seqs of all messages that are there, by their senders' ids.
    pub(super) written: HashMap<String, u64>,
    /// A node was killed: it may have forgotten what members had read, by sending too, and they report it again.
    pub(super) killed: bool,
}

impl Closing<'_> {
    /// Everybody who is in all rooms reports once more: half of them what is there, the others again the highest that they
    /// have reported. Answers with what streams must be told.
    pub(super) async fn report(&self, settled: &[Settled], random: &mut Rng) -> Result<LastWords, Error> {
        let users = self.stage.cast.members.iter().chain([&self.stage.cast.owner]);
        let mut reporters = Vec::new();
        for user in users {
            let caller = self.stage.caller(user)?;
            let reader = Reader::new(self.stage.clone(), caller, random.fork());
            reporters.push(self.report_all(user, reader, random.fork()));
        }
        let mut last = LastWords { presence: self.presence(settled), ..LastWords::default() };
        for (user, dues) in join_all(reporters).await {
            for (room, due) in dues {
                last.cursors.entry(room).or_default().insert(user.clone(), due);
            }
        }
        Ok(last)
    }

    async fn report_all(&self, user: &User, mut reader: Reader, mut random: Rng) -> (String, Vec<(String, Due)>) {
        let mut dues = Vec::new();
        for (room, end) in self.ends {
            let mut before = self.stage.receipts.highest_report(&user.name, room);
            if self.killed {
                before = before.or(self.sent_up_to(&user.name, room));
            }
            let newest = Cursor { delivered: end.seq, read: end.seq };
            let cursor = if random.bool() { newest } else { before };
            if cursor.delivered > 0 {
                reader.report(room, cursor).await;
            }
            dues.push((room.clone(), Due { cursor, moved: self.first_moved(&user.name, room, cursor) }));
        }
        (user.name.clone(), dues)
    }

    /// How far a member knows to have read by sending.
    fn sent_up_to(&self, user: &str, room: &str) -> Cursor {
        let records = self.stage.ledger.records();
        let own = records.sent.iter().filter(|sent| sent.user == user && sent.room == room);
        let newest = own.filter_map(|sent| Some(sent.acks.first()?.seq)).max().unwrap_or(0);
        Cursor { delivered: newest, read: newest }
    }

    /// A moment before which a member's cursor was not at `cursor`: neither reports nor messages of theirs had moved it there.
    fn first_moved(&self, user: &str, room: &str, cursor: Cursor) -> Moment {
        let (records, cursors) = (self.stage.ledger.records(), self.stage.receipts.cursors());
        let own = |one_user: &str, one_room: &str| one_user == user && one_room == room;
        let sent = records.sent.iter().filter(|sent| own(&sent.user, &sent.room));
        let sent = sent.filter_map(|sent| {
            let seq = *self.written.get(&sent.id)?;
            Some((sent.began, Cursor { delivered: seq, read: seq }))
        });
        let reported = cursors.reports.iter().filter(|report| own(&report.user, &report.room));
        let moves: Vec<_> = reported.map(|report| (report.began, report.cursor)).chain(sent).collect();
        let first = |reaches: &dyn Fn(Cursor) -> bool| {
            moves.iter().filter(|(_, to)| reaches(*to)).map(|(began, _)| *began).min().unwrap_or(0)
        };
        first(&|to| to.delivered >= cursor.delivered).max(first(&|to| to.read >= cursor.read))
    }

    /// Who is there: everybody who has a subscriber, and the visitors who stayed.
    fn presence(&self, settled: &[Settled]) -> BTreeMap<String, i32> {
        let cast = &self.stage.cast;
        let there = cast.members.iter().chain(&cast.guests).chain([&cast.owner]);
        let mut presence: BTreeMap<String, i32> =
            there.map(|user| (user.name.clone(), PresenceState::Online.into())).collect();
        presence.extend(settled.iter().map(|one| (one.user.clone(), one.state.into())));
        presence
    }

    /// Asks every node until it says what must be said, or the time is over. Answers with the receipts that each lists, by
    /// room.
    pub(super) async fn everywhere(&self, last: &LastWords, deadline: Instant) -> Result<Vec<Lists>, Error> {
        let mut lists = Vec::new();
        for node in 0..self.stage.urls.len() {
            self.presence_at(node, last, deadline).await?;
            let mut rooms = Lists::new();
            for room in self.ends.keys() {
                rooms.insert(room.clone(), self.receipts_at(node, room, last, deadline).await);
            }
            lists.push(rooms);
        }
        for user in &self.stage.cast.members {
            self.states_of(user, last, deadline).await?;
        }
        Ok(lists)
    }

    async fn presence_at(&self, node: usize, last: &LastWords, deadline: Instant) -> Result<(), Error> {
        let mates: BTreeSet<&String> = self.ends.values().flat_map(|end| &end.members).collect();
        let expected: Vec<(&String, i32)> =
            last.presence.iter().filter(|(user, _)| mates.contains(user)).map(|(user, state)| (user, *state)).collect();
        let mut user_ids: Vec<String> = expected.iter().map(|(user, _)| (*user).clone()).collect();
        user_ids.push(self.stage.cast.outsider.name.clone());
        let request = GetPresenceRequest { user_ids };
        loop {
            let answer: Option<Result<GetPresenceResponse, Refusal>> =
                self.owner.call_at(node, caller::GET_PRESENCE, &request).await;
            let told = answered(caller::GET_PRESENCE, node, answer)?.presences;
            let same = told.iter().map(|one| (&one.user_id, one.state)).eq(expected.iter().copied());
            if same {
                self.seen_where_they_are_gone(node, &told);
                return Ok(());
            }
            if Instant::now() > deadline {
                let wrong: Vec<String> = differing(&expected, &told);
                let what = format!("GetPresence from node {node}: {wrong:?}");
                self.stage.violations.add(Promise::Agreement, what);
                return Ok(());
            }
            sleep(LOOK).await;
        }
    }

    fn seen_where_they_are_gone(&self, node: usize, told: &[UserPresence]) {
        for one in told {
            let gone = one.state() == PresenceState::Offline;
            if one.last_seen_at.is_some() && !gone {
                self.stage.violations.add(Promise::Contract, format!("GetPresence from node {node}: {one:?}"));
            }
        }
    }

    async fn receipts_at(&self, node: usize, room: &str, last: &LastWords, deadline: Instant) -> Vec<Receipt> {
        let mut reader = Reader::new(self.stage.clone(), self.owner.clone(), Rng::with_seed(0));
        loop {
            let listed = reader.list_at(node, room, 100, 0).await.unwrap_or_default();
            let behind = last.cursors.get(room).into_iter().flatten().find(|(user, due)| {
                let told = listed.iter().find(|one| one.user_id == **user).map(Cursor::from);
                !told.is_some_and(|told| told.reaches(due.cursor))
            });
            // What is still behind then, the judge says.
            if behind.is_none() || Instant::now() > deadline {
                return listed;
            }
            sleep(LOOK).await;
        }
    }

    /// How a member is told to stand in each room, by any node.
    async fn states_of(&self, user: &Arc<User>, last: &LastWords, deadline: Instant) -> Result<(), Error> {
        let caller = self.stage.caller(user)?;
        let reader = Reader::new(self.stage.clone(), caller.clone(), Rng::with_seed(0));
        for (number, (room, end)) in self.ends.iter().enumerate() {
            let due = last.cursors.get(room).and_then(|dues| dues.get(&user.name));
            let Some(due) = due.map(|due| due.cursor) else { continue };
            loop {
                let state = reader.look_at(number % caller.nodes(), room).await;
                let right = state.as_ref().is_some_and(|state| {
                    let cursor = Cursor { delivered: state.delivered_seq, read: state.read_seq };
                    cursor.reaches(due) && state.last_seq == end.seq
                });
                if right {
                    break;
                }
                if Instant::now() > deadline {
                    let what = format!("{} is told of {room}: {state:?}; reported is {due:?}", user.name);
                    self.stage.violations.add(Promise::Lost, what);
                    break;
                }
                sleep(LOOK).await;
            }
        }
        Ok(())
    }
}

/// A number that was used is free for no other message, on no node.
pub(super) async fn reuse_numbers(stage: &Stage, random: &mut Rng) -> Result<(), Error> {
    let used: Vec<Sent> = {
        let records = stage.ledger.records();
        records.sent.iter().filter(|sent| sent.lane.is_some() && !sent.acks.is_empty()).cloned().collect()
    };
    for place in sample(random, used.len(), REUSED) {
        let sent = &used[place];
        let users = stage.cast.members.iter().chain([&stage.cast.owner]);
        let Some(user) = users.into_iter().find(|user| user.name == sent.user) else { continue };
        let caller = stage.caller(user)?;
        let Some(lane) = &sent.lane else { continue };
        let request = SendMessageRequest {
            room_id: sent.room.clone(),
            client_message_id: Uuid::from_u128(random.u128(..)).to_string(),
            text: "message of another kind".into(),
            lane_id: lane.lane.clone(),
            client_seq: lane.number,
            ..Default::default()
        };
        let node = caller.any(random);
        let answer: Option<Result<SendMessageResponse, Refusal>> = caller.call_at(node, caller::SEND, &request).await;
        if !matches!(&answer, Some(Err(refusal)) if refusal.reason == "LANE_NUMBER_USED") {
            let answer = answer.map(|answer| answer.map_err(|refusal| refusal.text));
            let what =
                format!("another message with {lane:?} of {} in {} was answered with {answer:?}", sent.user, sent.room);
            stage.violations.add(Promise::Double, what);
        }
    }
    Ok(())
}

/// Holds the receipts that nodes list in the end against what was reported and sent.
pub(super) fn judge_lists(
    lists: &[Lists],
    last: &LastWords,
    logs: &BTreeMap<String, Log>,
    (by_sdk, killed): (&BTreeSet<String>, bool),
    violations: &Violations,
) {
    for (node, lists) in lists.iter().enumerate() {
        for (room, dues) in &last.cursors {
            let log = logs.get(room).map_or(&[][..], Vec::as_slice);
            for (user, due) in dues {
                let told = lists.get(room).and_then(|list| list.iter().find(|one| one.user_id == *user));
                // Who sends has read up to there.
                let own = log.iter().rev().find_map(|event| match event {
                    Brief::Created { seq, sender, .. } if sender == user => Some(*seq),
                    _ => None,
                });
                let read = due.cursor.read.max(own.unwrap_or(0));
                let delivered = due.cursor.delivered.max(read);
                // That a message was written which they gave up, they do not know, and a killed node may have forgotten.
                let least = if killed { due.cursor } else { Cursor { delivered, read } };
                let right = told.map(Cursor::from).is_some_and(|told| {
                    // The SDK reports by itself what it was delivered.
                    told.reaches(least) && told.read <= read && (told.delivered <= delivered || by_sdk.contains(user))
                });
                if !right {
                    let what = format!(
                        "ListReceipts of {room} from node {node}: {user} is {told:?}; read are {read}, delivered {delivered}"
                    );
                    violations.add(Promise::Lost, what);
                }
            }
        }
    }
}

/// The users whose presence is not what it should be: what is expected, what is told.
fn differing(expected: &[(&String, i32)], told: &[UserPresence]) -> Vec<String> {
    let known = expected.iter().filter_map(|(user, state)| {
        let one = told.iter().find(|one| one.user_id == **user);
        (one.map(|one| one.state) != Some(*state)).then(|| format!("{user} is in state {state}, told is {one:?}"))
    });
    let strange = told.iter().filter(|one| expected.iter().all(|(user, _)| **user != one.user_id));
    known.chain(strange.map(|one| format!("nobody may know of {one:?}"))).collect()
}

fn answered<A>(path: caller::Path, node: usize, answer: Option<Result<A, Refusal>>) -> Result<A, Error> {
    match answer {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(refusal)) => Err(Error::Status { path, status: refusal.reason, message: refusal.text }),
        None => Err(Error::Late { what: format!("an answer of node {node} to {path}"), within: caller::PATIENCE }),
    }
}
