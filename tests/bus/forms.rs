//! The forms of `redis.url`: TLS, Sentinels, a cluster.

use std::{fs, process::Command, time::Duration};

use relay::bus::{Bus as _, Channel, Health, Heard};

use crate::support::{Node, Redis, command, config, eventually, free_port, within};

/// Set in the process that trusts the server with TLS: the server's port.
const TLS_PORT: &str = "RELAY_TEST_TLS_PORT";

#[tokio::test]
async fn rediss_trusts_the_certificates_of_the_system() {
    if let Ok(port) = std::env::var(TLS_PORT) {
        return talk_in_private(&port).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (ca_key, ca, key, certificate) = (path("ca.key"), path("ca.pem"), path("key.pem"), path("certificate.pem"));
    let request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
    command("openssl", &[&request[..], &["-keyout", &ca_key, "-out", &ca, "-subj", "/CN=Test CA"]].concat());
    let leaf =
        ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
    let signed = ["-subj", "/CN=localhost", "-CA", &ca, "-CAkey", &ca_key, "-keyout", &key, "-out", &certificate];
    command("openssl", &[&request[..], &leaf, &signed].concat());
    let port = free_port().to_string();
    let tls =
        ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key, "--tls-auth-clients", "no"];
    let redis = Redis::start_with(&tls).await;
    let refusal = Node::try_start(&config(&format!("rediss://localhost:{port}")), crate::support::KEEP).await;
    let refusal = refusal.err().expect("nobody vouches for it").to_string();
    assert!(refusal.contains("SSL_CERT_FILE"), "{refusal}");
    // The environment is a process's: another one trusts the certificate.
    let again = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "forms::rediss_trusts_the_certificates_of_the_system"])
        .env("SSL_CERT_FILE", &ca)
        .env(TLS_PORT, &port)
        .output()
        .unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stdout));
    assert!(String::from_utf8_lossy(&again.stdout).contains("1 passed"));
    drop(redis);
}

async fn talk_in_private(port: &str) {
    let mut a = Node::watching(&format!("rediss://localhost:{port}"), &["room"]).await;
    let b = Node::start(&format!("rediss://127.0.0.1:{port}")).await;
    b.publish("room", "in private");
    assert_eq!(a.next_message().await, "room in private");
}

async fn sentinel(master: u16) -> Redis {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sentinel.conf");
    let settings = format!(
        "sentinel monitor main 127.0.0.1 {master} 1\n\
         sentinel down-after-milliseconds main 500\n\
         sentinel failover-timeout main 3000\n"
    );
    fs::write(&file, settings).unwrap();
    let arguments = vec![file.to_str().unwrap().to_owned(), "--sentinel".to_owned()];
    Redis::start_in(folder, free_port(), arguments).await
}

#[tokio::test]
async fn a_node_follows_the_master_that_sentinels_name() {
    let mut master = Redis::start().await;
    let replica = Redis::start_with(&["--replicaof", &format!("127.0.0.1 {}", master.port)]).await;
    let sentinel = sentinel(master.port).await;
    eventually("the Sentinel knows the replica", || {
        sentinel.cli(&["SENTINEL", "REPLICAS", "main"]).contains(&replica.port.to_string())
            && sentinel.cli(&["SENTINEL", "REPLICAS", "main"]).contains("master-link-status\nok")
    })
    .await;
    // One that is gone is no hindrance.
    let gone = free_port();
    let url = format!("redis+sentinel://127.0.0.1:{gone},127.0.0.1:{}/main", sentinel.port);
    let (mut a, b) = (Node::watching(&url, &["room"]).await, Node::start(&url).await);
    b.publish("room", "before");
    assert_eq!(a.next_message().await, "room before");
    master.kill();
    a.hears_down().await;
    a.is_told_of(&["room"]).await;
    b.is(Health::Up).await;
    b.publish("room", "after");
    assert_eq!(a.next_message().await, "room after");
    assert!(replica.cli(&["ROLE"]).starts_with("master"));

    let unknown = format!("redis+sentinel://127.0.0.1:{}/other", sentinel.port);
    let refusal = Node::try_start(&config(&unknown), crate::support::KEEP).await.err().unwrap().to_string();
    assert!(refusal.contains("no master named other"), "{refusal}");
    let single = Node::try_start(&config(&sentinel.url()), crate::support::KEEP).await.err().unwrap().to_string();
    assert!(single.contains("redis+sentinel://"), "{single}");
}

/// A cluster of three masters, and as many replicas of the first.
async fn cluster(replicas: usize) -> Vec<Redis> {
    let mut nodes = Vec::new();
    for _ in 0..3 + replicas {
        let arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
        nodes.push(Redis::start_with(&arguments).await);
    }
    let places: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
    let mut create = vec!["--cluster", "create"];
    create.extend(places.iter().take(3).map(String::as_str));
    create.push("--cluster-yes");
    command("redis-cli", &create);
    eventually("the cluster is one", || {
        nodes.iter().take(3).all(|node| node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
    })
    .await;
    let first = nodes[0].cli(&["CLUSTER", "MYID"]);
    for replica in nodes.iter().skip(3) {
        replica.cli(&["CLUSTER", "MEET", "127.0.0.1", &nodes[0].port.to_string()]);
        eventually("the replica knows the first", || replica.cli(&["CLUSTER", "NODES"]).contains(&first)).await;
        replica.cli(&["CLUSTER", "REPLICATE", &first]);
        eventually("it follows", || replica.cli(&["INFO", "replication"]).contains("master_link_status:up")).await;
        eventually("all know it", || {
            nodes.iter().take(3).all(|node| node.cli(&["CLUSTER", "NODES"]).matches("slave").count() == replicas)
        })
        .await;
    }
    nodes
}

fn url_of(nodes: &[Redis]) -> String {
    let places: Vec<_> = nodes.iter().take(2).map(|node| format!("127.0.0.1:{}", node.port)).collect();
    format!("redis+cluster://{}", places.join(","))
}

/// The first channel whose slot this server has.
fn channel_on(server: &Redis) -> String {
    let has = |name: &String| {
        let slot: u32 = server.cli(&["CLUSTER", "KEYSLOT", &format!("relay-test:{name}")]).parse().unwrap();
        let id = server.cli(&["CLUSTER", "MYID"]);
        let nodes = server.cli(&["CLUSTER", "NODES"]);
        let line = nodes.lines().find(|line| line.starts_with(&id)).unwrap();
        line.split(' ')
            .skip(8)
            .filter_map(|range| range.split_once('-'))
            .any(|(first, last)| (first.parse::<u32>().unwrap()..=last.parse().unwrap()).contains(&slot))
    };
    (0..).map(|n| format!("room-{n}")).find(has).unwrap()
}

#[tokio::test]
async fn a_cluster_carries_messages_and_keeps_them_on_all_its_servers() {
    let nodes = cluster(0).await;
    let url = url_of(&nodes);
    let rooms: Vec<_> = (0..1_000).map(|n| format!("room-{n}")).collect();
    let rooms: Vec<_> = rooms.iter().map(String::as_str).collect();
    let (mut a, b) = (Node::watching(&url, &rooms).await, Node::start(&url).await);
    for room in &rooms {
        b.keep(room, "1");
        b.keep(room, "2");
    }
    let mut arrived: Vec<String> = Vec::new();
    for _ in 0..2 * rooms.len() {
        arrived.push(a.next_message().await);
    }
    for room in &rooms {
        let of_room: Vec<_> = arrived.iter().filter(|message| message.starts_with(&format!("{room} "))).collect();
        assert_eq!(of_room, [&format!("{room} 1"), &format!("{room} 2")]);
    }
    for room in rooms.iter().step_by(100) {
        a.keeps(room, &["1", "2"]).await;
    }
    assert!(
        nodes
            .iter()
            .all(|node| node.cli(&["DBSIZE"]) != "0" && node.cli(&["PUBSUB", "SHARDCHANNELS"]).contains("room"))
    );
    // Giving up is not taken for a slot that moved.
    for room in &rooms {
        a.bus.unwatch(&Channel::from(*room));
    }
    eventually("nobody is there", || nodes.iter().all(|node| !node.cli(&["PUBSUB", "SHARDCHANNELS"]).contains("room")))
        .await;
    assert!(!std::iter::from_fn(|| a.ear.try_next()).any(|heard| matches!(heard, Heard::Down)));
}

#[tokio::test]
async fn a_slot_that_moves_to_another_server_is_followed() {
    let nodes = cluster(0).await;
    let room = channel_on(&nodes[0]);
    let (mut a, b) = (Node::watching(&url_of(&nodes), &[&room]).await, Node::start(&url_of(&nodes)).await);
    let slot = nodes[0].cli(&["CLUSTER", "KEYSLOT", &format!("relay-test:{room}")]);
    let taker = nodes[1].cli(&["CLUSTER", "MYID"]);
    for node in [&nodes[1], &nodes[0], &nodes[2]] {
        node.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &taker]);
    }
    a.hears_down().await;
    a.is_told_of(&[&room]).await;
    // The other node has nothing there: it learns of it when it publishes.
    within("a message arrives over the new server", async {
        let mut again = tokio::time::interval(Duration::from_millis(100));
        loop {
            b.publish(&room, "moved");
            tokio::select! {
                message = a.next_message() => break assert_eq!(message, format!("{room} moved")),
                _ = async { again.tick().await; again.tick().await } => {}
            }
        }
    })
    .await;
    assert!(nodes[1].cli(&["PUBSUB", "SHARDCHANNELS"]).contains(&room));
}

#[tokio::test]
async fn a_server_of_a_cluster_that_dies_is_replaced_by_its_replica() {
    let mut nodes = cluster(1).await;
    let room = channel_on(&nodes[0]);
    let (mut a, mut b) =
        (Node::watching(&url_of(&nodes), &[&room]).await, Node::watching(&url_of(&nodes), &[&room]).await);
    nodes[0].kill();
    a.hears_down().await;
    a.is_told_of(&[&room]).await;
    b.hears_down().await;
    b.is_told_of(&[&room]).await;
    b.publish(&room, "after");
    assert_eq!(a.next_message().await, format!("{room} after"));
    assert!(nodes[3].cli(&["ROLE"]).starts_with("master"));
}
