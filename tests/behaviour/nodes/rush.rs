//! Many clients that come back at once share what is read for them.

use futures_util::future::join_all;
use relay_proto::chat::v1::{AddMembersRequest, MemberRole, NewMember, RoomKind, frame::Kind};

use super::{Group, Reads};
use crate::support::{Clients, Stream};

const CLIENTS: usize = 300;
const MESSAGES: usize = 20;

/// A restarted node at which all come back, each with a position of `held`: how often the database was read by it, and
/// from where it had what was missed.
async fn reads(group: &mut Group, last: u64, held: impl Fn(usize) -> u64) -> (f64, [f64; 3]) {
    group.renew(1);
    let mut users: Vec<Clients> = Vec::new();
    for n in 0..CLIENTS {
        users.push(group.node(1).user(&format!("user-{n}")).await);
    }
    group.quiet(1).await;
    let before = group.node(1).metric("relay_database_reads_total").await;
    let nothing = Reads::of(group.node(1)).await;
    let opened = users.iter().enumerate().map(|(n, user)| {
        let held = held(n);
        async move {
            let (stream, frames) = Stream::caught_up(user, &[("r", held)]).await;
            let position = |kind: &Kind| if let Kind::Event(event) = kind { Some(event.position) } else { None };
            let positions: Vec<u64> = frames.iter().filter_map(position).collect();
            assert_eq!(positions, (held + 1..=last).collect::<Vec<_>>());
            stream
        }
    });
    let streams = join_all(opened).await;
    let reads = group.node(1).metric("relay_database_reads_total").await - before;
    drop(streams);
    (reads, Reads::since(nothing, group.node(1)).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_come_back_to_a_restarted_node_are_served_by_few_reads() {
    let mut group = Group::start(2, &[]);
    let mut ana = group.node(0).user("ana").await;
    ana.create_room("r", RoomKind::Private, &[]).await;
    for some in (0..CLIENTS).collect::<Vec<_>>().chunks(50) {
        let role = MemberRole::Member.into();
        let members = some.iter().map(|n| NewMember { user_id: format!("user-{n}"), role }).collect();
        ana.rooms.add_members(AddMembersRequest { room_id: "r".into(), members }).await.unwrap();
    }
    for n in 0..MESSAGES {
        ana.say("r", &n.to_string()).await;
    }
    let last = (1 + CLIENTS + MESSAGES) as u64;
    let (nothing, _) = reads(&mut group, last, |_| last).await;
    let (some, from) = reads(&mut group, last, |n| last - (n % (MESSAGES + 1)) as u64).await;
    // So far away that Redis has not all of it: the log is read.
    let (much, _) = reads(&mut group, last, |n| (n % 3) as u64).await;
    println!("{CLIENTS} clients: {nothing} reads with nothing missed, {some} with some, {much} with much");
    // A machine that is busy opens the streams one after the other; as many reads as clients it would be without sharing,
    // and with much missed six times as many.
    assert!(nothing <= CLIENTS as f64 / 4.0, "{nothing} reads with nothing missed");
    assert!(some <= CLIENTS as f64 / 4.0, "{some} reads with some missed");
    let [_, redis, primary] = from;
    assert!(redis <= 5.0 && primary == 0.0, "{redis} reads of Redis, {primary} of the log");
    assert!(much <= CLIENTS as f64, "{much} reads with much missed");
}
