//! One run: everybody takes their place, the load and the faults run, everything comes to rest, and the judge reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use relay_proto::chat::v1::{
    CreateRoomRequest, CreateRoomResponse, NewMember, RoomKind, SendMessageRequest, SendMessageResponse,
};
use relay_sdk::Client;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{
    Stage,
    archive::{Archive, Told, sample},
    caller::{self, Answer, Caller, Refusal},
    cast::User,
    closing::{self, Closing},
    fault::{Fault, FaultKind},
    guest::Guest,
    judge::{Judge, Log},
    lane::LaneSender,
    lane_judge::LaneJudge,
    ledger::{Ack, LaneNumber, Moment, Sent, now},
    member::Member,
    reader::Reader,
    receipt_judge::ReceiptJudge,
    subscriber::{Goal, RoomEnd, Subscriber},
    view::View,
    violation::Promise,
    visitor::Visitor,
    world::World,
};
use crate::error::Error;

/// How long everything may take to arrive everywhere, once the load and the faults are over.
const CONVERGENCE: Duration = Duration::from_secs(30);
/// How long subscribers who have not arrived by then are still listened to.
const LEAVE: Duration = Duration::from_secs(3);
/// How many messages are sent again in the end, with the same ids.
const REPEATS: usize = 60;

/// A fault with the time that it took.
pub(super) struct Befallen {
    pub(super) fault: Fault,
    pub(super) began: Moment,
    pub(super) ended: Moment,
}

/// What a run left behind.
pub(super) struct Outcome {
    pub(super) faults: Vec<Befallen>,
    pub(super) views: Vec<View>,
    pub(super) logs: BTreeMap<String, Log>,
    pub(super) told: Vec<BTreeMap<String, Told>>,
    /// From the end of the load until everything was everywhere.
    pub(super) convergence: Duration,
    /// Messages in lanes, and how many gaps were passed over.
    pub(super) lanes: (usize, usize),
    /// How often visitors came.
    pub(super) visits: usize,
}

/// Plays it.
pub(super) async fn run(
    stage: &Arc<Stage>,
    world: Option<&Arc<World>>,
    faults: Vec<Fault>,
    random: &mut Rng,
) -> Result<Outcome, Error> {
    let owner = stage.caller(&stage.cast.owner)?;
    make_rooms(stage, &owner, random).await?;
    let mut subscribers = JoinSet::new();
    for subscriber in subscribers_of(stage, random)? {
        subscribers.spawn(subscriber.follow(stage.goal.subscribe()));
    }
    let mut visitors = JoinSet::new();
    for user in &stage.cast.visitors {
        visitors.spawn(Visitor::new(stage.clone(), stage.caller(user)?, random.fork()).work());
    }
    let workers = workers_of(stage, &owner, random)?;
    let harm = world.map(|world| tokio::spawn(befall(stage.clone(), world.clone(), faults)));
    workers.join_all().await;
    let befallen = match harm {
        Some(harm) => harm.await.map_err(|error| Error::unexpected(error.to_string()))?,
        None => Vec::new(),
    };
    sleep_until(stage.until).await;
    let calm = Instant::now();
    if let Some(world) = world {
        for ended in world.ended().await {
            stage.violations.add(Promise::Progress, ended);
        }
    }
    let settled = visitors.join_all().await;
    let archive = Archive { owner: &owner, rooms: stage.cast.rooms.iter().map(|room| room.id.clone()).collect() };
    archive.ends().await?;
    let mut last_words = Member::new(stage.clone(), owner.clone(), Vec::new(), random.fork());
    for room in &stage.cast.rooms {
        last_words.send(&room.id).await;
    }
    let ends = archive.ends().await?;
    let killed = befallen.iter().any(|one| one.fault.kind == FaultKind::Kill);
    let closing = Closing { stage, owner: &owner, ends: &ends, written: archive.written().await?, killed };
    let last = closing.report(&settled, random).await?;
    let deadline = Instant::now() + CONVERGENCE;
    let late = deadline + CONVERGENCE;
    stage.goal.send_replace(Some(Goal { rooms: ends.clone(), last: last.clone(), deadline: late, over: false }));
    let all = subscribers.len();
    let _ = timeout_at(deadline, stage.arrived.subscribe().wait_for(|arrived| *arrived == all)).await;
    let lists = closing.everywhere(&last, deadline).await?;
    let convergence = calm.elapsed();
    stage.goal.send_replace(Some(Goal::of_rooms(ends.clone(), Instant::now() + LEAVE)));
    let views = subscribers.join_all().await;
    let visits = settled.iter().map(|one| one.visits).sum();
    drop(settled);
    repeat_sends(stage, random).await?;
    closing::reuse_numbers(stage, random).await?;
    let (readers, told) = read_anew(stage, &archive, &ends).await?;
    let records = stage.ledger.records();
    let judge = Judge { records: &records, ends: &ends, readers: &readers, told: &told, violations: &stage.violations };
    let logs = judge.run(&views);
    closing::judge_lists(&lists, &last, &logs, (&by_sdk(stage), killed), &stage.violations);
    let lane_judge = LaneJudge { records: &records, violations: &stage.violations, wait: stage.lane_wait };
    let lanes = logs.iter().map(|(room, log)| lane_judge.room(room, log));
    let lanes = lanes.fold((0, 0), |(messages, gaps), room| (messages + room.0, gaps + room.1));
    lane_judge.expectations();
    let receipt_judge = ReceiptJudge { faults: &befallen, violations: &stage.violations };
    receipt_judge.run(&stage.receipts.cursors());
    for view in &views {
        view.words.setbacks.iter().for_each(|setback| receipt_judge.setback(&view.at(), setback));
    }
    Ok(Outcome { faults: befallen, views, logs, told, convergence, lanes, visits })
}

async fn make_rooms(stage: &Stage, owner: &Caller, random: &mut Rng) -> Result<(), Error> {
    for room in &stage.cast.rooms {
        let kind = if room.public { RoomKind::Public } else { RoomKind::Private };
        let member = |user: &Arc<User>| NewMember { user_id: user.name.clone(), ..Default::default() };
        let members = stage.cast.members.iter().chain(&stage.cast.visitors).map(member).collect();
        let request = CreateRoomRequest { room_id: room.id.clone(), kind: kind.into(), members, ..Default::default() };
        let answer: Option<Answer<CreateRoomResponse>> = owner.call(random, caller::CREATE_ROOM, &request).await;
        match answer.map(|answer| answer.result) {
            Some(Ok(_)) => {}
            // The owner hung up, and the room was made.
            Some(Err(refusal)) if refusal.reason == "ROOM_EXISTS" => {}
            Some(Err(Refusal { reason: status, text: message })) => {
                return Err(Error::Status { path: caller::CREATE_ROOM, status, message });
            }
            None => return Err(Error::Late { what: "a room".into(), within: caller::PATIENCE }),
        }
    }
    Ok(())
}

/// Two subscribers a member, one for everybody else. Of those who do not use the SDK, every second can send frames on its
/// streams, and every second watches who is there.
fn subscribers_of(stage: &Arc<Stage>, random: &mut Rng) -> Result<Vec<Subscriber>, Error> {
    let mut subscribers = Vec::new();
    let cast = &stage.cast;
    let mut add = |user: &Arc<User>, device: &str, steady: bool, by_sdk: bool, restless: bool| {
        let name = format!("{}/{device}", user.name);
        let mut view = View::new(stage.clone(), name, user.name.clone(), steady, !restless && steady);
        let sdk = if by_sdk { sdk_clients(stage, user)? } else { Vec::new() };
        view.words.watches = steady && !by_sdk && subscribers.len() % 4 < 2;
        let both_ways = !by_sdk && subscribers.len() % 2 == 0;
        subscribers.push(Subscriber {
            sdk,
            restless,
            both_ways,
            random: random.fork(),
            ..Subscriber::new(stage.clone(), user.clone(), view)
        });
        Ok::<(), Error>(())
    };
    for (number, member) in cast.members.iter().enumerate() {
        add(member, "calm", true, number % 3 == 2, false)?;
        add(member, "restless", true, number % 3 == 1, true)?;
    }
    for (number, guest) in cast.guests.iter().enumerate() {
        add(guest, "guest", false, number % 3 == 2, number % 2 == 0)?;
    }
    add(&cast.owner, "owner", true, false, true)?;
    add(&cast.outsider, "outsider", false, false, false)?;
    Ok(subscribers)
}

/// The members who have a subscriber that uses the SDK.
fn by_sdk(stage: &Stage) -> BTreeSet<String> {
    let members = stage.cast.members.iter().enumerate().filter(|(number, _)| number % 3 > 0);
    members.map(|(_, member)| member.name.clone()).collect()
}

fn sdk_clients(stage: &Stage, user: &User) -> Result<Vec<Client>, Error> {
    let client = |url: &String| {
        let client = Client::builder(url).token(&user.token).request_timeout(Duration::from_secs(4)).build();
        client.map_err(|error| Error::unexpected(error.to_string()))
    };
    stage.urls.iter().map(client).collect()
}

fn workers_of(stage: &Arc<Stage>, owner: &Caller, random: &mut Rng) -> Result<JoinSet<()>, Error> {
    let mut workers = JoinSet::new();
    for (number, user) in stage.cast.members.iter().enumerate() {
        let sdk = if number % 3 == 1 { sdk_clients(stage, user)? } else { Vec::new() };
        workers.spawn(Member::new(stage.clone(), stage.caller(user)?, sdk, random.fork()).work());
        workers.spawn(LaneSender::new(stage.clone(), stage.caller(user)?, random.fork()).work());
    }
    for user in stage.cast.members.iter().chain([&stage.cast.owner]) {
        workers.spawn(Reader::new(stage.clone(), stage.caller(user)?, random.fork()).work());
    }
    workers.spawn(Member::new(stage.clone(), owner.clone(), Vec::new(), random.fork()).work());
    for user in &stage.cast.guests {
        workers.spawn(Guest::new(stage.clone(), stage.caller(user)?, owner.clone(), random.fork()).work());
    }
    Ok(workers)
}

/// Lets the faults happen: two rows beside each other, each in turn.
async fn befall(stage: Arc<Stage>, world: Arc<World>, faults: Vec<Fault>) -> Vec<Befallen> {
    let (redis, others): (Vec<Fault>, Vec<Fault>) = faults.into_iter().partition(|fault| fault.kind.is_of_redis());
    let (mut befallen, more) =
        tokio::join!(befall_in_turn(&stage, &world, others), befall_in_turn(&stage, &world, redis));
    befallen.extend(more);
    befallen.sort_by_key(|one| one.began);
    befallen
}

async fn befall_in_turn(stage: &Stage, world: &World, faults: Vec<Fault>) -> Vec<Befallen> {
    let mut befallen = Vec::new();
    for fault in faults {
        sleep_until(stage.began + fault.begin).await;
        let began = now();
        let begun = world.begin(&fault).await;
        sleep(fault.length).await;
        let ended = world.end(&fault).await;
        for error in [begun.err(), ended.err()].into_iter().flatten() {
            stage.violations.add(Promise::Progress, format!("{}: {error}", fault.label()));
        }
        befallen.push(Befallen { fault, began, ended: now() });
    }
    befallen
}

/// Sends messages again, on every node: the answer is the first one, and nothing is written.
async fn repeat_sends(stage: &Stage, random: &mut Rng) -> Result<(), Error> {
    let sent: Vec<Sent> = stage.ledger.records().sent.iter().filter(|sent| !sent.acks.is_empty()).cloned().collect();
    let users = stage.cast.members.iter().chain([&stage.cast.owner]);
    let callers: BTreeMap<&str, Caller> =
        users.map(|user| Ok((user.name.as_str(), stage.caller(user)?))).collect::<Result<_, Error>>()?;
    for place in sample(random, sent.len(), REPEATS) {
        let sent = &sent[place];
        // A guest may not be in the room any more.
        let Some(caller) = callers.get(sent.user.as_str()) else { continue };
        let mut request = SendMessageRequest {
            room_id: sent.room.clone(),
            client_message_id: sent.id.clone(),
            text: sent.text.clone(),
            ..Default::default()
        };
        // The number is not part of what the message is: it may come again with any.
        if let Some(LaneNumber { lane, number }) = &sent.lane {
            (request.lane_id, request.client_seq) = (lane.clone(), number + random.u64(0..2));
        }
        for node in 0..caller.nodes() {
            let answer: Option<Result<SendMessageResponse, Refusal>> =
                caller.call_at(node, caller::SEND, &request).await;
            let again = match &answer {
                Some(Ok(SendMessageResponse { receipt: Some(receipt) })) => Some(Ack::new(node, receipt)),
                _ => None,
            };
            if !again.is_some_and(|again| again.duplicate && again.agrees_with(&sent.acks[0])) {
                let answer = answer.map(|answer| answer.map_err(|refusal| refusal.text));
                let what =
                    format!("{} sent again to node {node}: {answer:?}, first it was {:?}", sent.id, sent.acks[0]);
                stage.violations.add(Promise::Double, what);
            }
        }
        request.text.push_str(" and more");
        (request.lane_id, request.client_seq) = (String::new(), 0);
        let answer: Option<Result<SendMessageResponse, Refusal>> =
            caller.call_at(caller.any(random), caller::SEND, &request).await;
        if !matches!(&answer, Some(Err(refusal)) if refusal.reason == "CLIENT_MESSAGE_ID_REUSED") {
            let answer = answer.map(|answer| answer.map_err(|refusal| refusal.text));
            let what = format!("{} with another text was answered with {answer:?}", sent.id);
            stage.violations.add(Promise::Contract, what);
        }
    }
    Ok(())
}

/// Reads every log on every node from its beginning, and everything that is listed.
async fn read_anew(
    stage: &Arc<Stage>,
    archive: &Archive<'_>,
    ends: &BTreeMap<String, RoomEnd>,
) -> Result<(Vec<View>, Vec<BTreeMap<String, Told>>), Error> {
    stage.goal.send_replace(Some(Goal::of_rooms(ends.clone(), Instant::now() + CONVERGENCE)));
    let (mut readers, mut all_told) = (Vec::new(), Vec::new());
    for node in 0..stage.urls.len() {
        let user = stage.cast.owner.clone();
        let view = View::new(stage.clone(), "a fresh reader".into(), user.name.clone(), true, false);
        let reader = Subscriber { node: Some(node), ..Subscriber::new(stage.clone(), user, view) };
        readers.push(reader.follow(stage.goal.subscribe()).await);
        let mut told = BTreeMap::new();
        for (room, end) in ends {
            told.insert(room.clone(), archive.told(node, room).await?);
            let counted = archive.room(node, room).await?;
            let (position, seq) = (counted.last_position, counted.last_seq);
            if (position, seq) != (end.position, end.seq) || counted.member_count as usize != end.members.len() {
                let what = format!(
                    "GetRoom of {room} from node {node}: position {position}, seq {seq}, {} members; it ended as {end:?}",
                    counted.member_count
                );
                stage.violations.add(Promise::Agreement, what);
            }
        }
        all_told.push(told);
    }
    Ok((readers, all_told))
}

/// Nothing to arrive at yet.
pub(super) fn no_goal() -> watch::Sender<Option<Goal>> {
    watch::channel(None).0
}
