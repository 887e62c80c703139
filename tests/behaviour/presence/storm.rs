//! Very many who come and go at once: when it settles, everybody is known as they are.

use futures_util::future::join_all;

use super::{Offline, Online, Watcher, fill, get};
use crate::support::{Clients, Server, Stream, eventually};

const USERS: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_streams_that_open_and_close_settles_exactly() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let users: Vec<String> = (0..USERS).map(|n| format!("user-{n:03}")).collect();
    fill(&mut ana, "crowd", &users).await;
    let mut watcher = Watcher::open(&ana, &["crowd"]).await;
    let begun = tokio::time::Instant::now();
    let storm = users.iter().enumerate().map(|(n, user)| {
        let server = &server;
        async move {
            let mut random = fastrand::Rng::with_seed(seed.wrapping_add(n as u64));
            let clients: [Clients; 2] = [server.user(user).await, server.user(user).await];
            let mut open: Vec<Stream> = Vec::new();
            for _ in 0..8 {
                match random.u8(..3) {
                    0 if !open.is_empty() => drop(open.swap_remove(random.usize(..open.len()))),
                    _ => open.push(Stream::open(&clients[random.usize(..2)], &[]).await),
                }
            }
            if random.bool() {
                open.clear();
            }
            open
        }
    });
    let open: Vec<Vec<Stream>> = join_all(storm).await;
    println!("stormed in {:?}", begun.elapsed());
    let there: Vec<bool> = open.iter().map(|streams| !streams.is_empty()).collect();
    let expected = |n: usize| if there[n] { Online } else { Offline };
    watcher
        .until("everybody to be known as they are", |w| {
            users.iter().enumerate().all(|(n, user)| w.state(user) == expected(n))
        })
        .await;
    println!("settled after {:?}", begun.elapsed());
    for (chunk, some) in users.chunks(100).enumerate() {
        let names: Vec<&str> = some.iter().map(String::as_str).collect();
        eventually("the database to say the same", async || {
            let states = get(&ana, &names).await;
            states.iter().enumerate().all(|(n, presence)| presence.state() == expected(chunk * 100 + n))
        })
        .await;
    }
    // A client that comes now is told the same at once.
    let fresh = Watcher::open(&ana, &["crowd"]).await;
    for (n, user) in users.iter().enumerate() {
        assert_eq!(fresh.state(user), expected(n), "{user}");
    }
}
