//! Two-word searches among many messages, in one room and over all rooms of a user; and how fast messages are indexed.

use std::{path::Path, sync::Arc, time::Duration};

use relay_proto::chat::v1::{SearchMessagesRequest, SearchMessagesResponse, SearchOrder};
use tokio::time::{Instant, sleep};

use super::{
    rooms::{SENDER, add},
    turns::in_turns,
};
use crate::{
    args::Args,
    error::Error,
    grpc::Link,
    report::Report,
    services::{Database, Postgres},
    subject::{FanOut as _, Launch, Relay, Signal},
};

const NAME: &str = "search_postgres";
/// The room with half of all messages.
const LARGE: &str = "large";
/// The rooms that share the other half.
const SMALL: u64 = 50;
/// Different words.
const WORDS: u32 = 20_000;
/// Results of a page.
const PAGE: i32 = 20;
/// How often to look how far the index is.
const LOOK: Duration = Duration::from_millis(200);
/// How long it may stand still before it counts as stuck.
const STUCK: Duration = Duration::from_secs(60);

/// A kind of search: its name, whether it is in the large room only, its order.
const KINDS: [(&str, bool, SearchOrder); 4] = [
    ("one room, newest", true, SearchOrder::Newest),
    ("all rooms, newest", false, SearchOrder::Newest),
    ("one room, rank", true, SearchOrder::Rank),
    ("all rooms, rank", false, SearchOrder::Rank),
];

/// Fills PostgreSQL's tables while the server is away, lets it index them, and searches.
pub(super) async fn run(program: &Path, postgres: &Postgres, args: &Args, report: &mut Report) -> Result<(), Error> {
    let database = postgres.database("search").await?;
    let launch = Arc::new(Launch::new(program, args)?.with("RELAY_DATABASE_URL", database.url()));
    let rooms: Vec<(String, u64)> = std::iter::once((LARGE.to_owned(), args.messages / 2))
        .chain((0..SMALL).map(|n| (format!("small-{n}"), args.messages / 2 / SMALL)))
        .collect();
    let relay = launch.start().await?;
    for (room, _) in &rooms {
        relay.create_room(SENDER, room, Vec::new()).await?;
    }
    relay.end(Signal::Terminate).await?;
    for (room, messages) in &rooms {
        database.run(&fill(room, *messages)).await?;
    }
    database.run("VACUUM ANALYZE; CHECKPOINT").await?;
    let relay = launch.start().await?;
    index(&relay, rooms.iter().map(|(_, messages)| messages).sum(), report).await?;
    database.run("VACUUM ANALYZE; CHECKPOINT").await?;
    sizes(&database, report).await?;
    searches(&relay, args, report).await?;
    relay.end(Signal::Terminate).await
}

/// Messages of 4 to 20 words over the last 100 days. Of `WORDS` words the n-th is drawn as often as 1/n says.
fn fill(room: &str, messages: u64) -> String {
    format!(
        "SELECT setseed(0.{messages});
         INSERT INTO messages (project_id, room_id, seq, position, sender_id, client_message_id, fingerprint, text, created_at)
         SELECT 'default', '{room}', i, last_position + i, '{SENDER}', gen_random_uuid(), '\\x00',
                (SELECT string_agg('w' || floor(exp(random() * ln({WORDS} + 1)))::int, ' ')
                 FROM generate_series(1, 4 + (i % 17)::int)),
                now() - (({messages} - i) * (interval '100 days' / {messages}))
         FROM generate_series(1, {messages}) AS i, rooms WHERE project_id = 'default' AND room_id = '{room}';
         UPDATE rooms SET last_seq = {messages}, last_position = last_position + {messages}, last_activity_at = now()
         WHERE project_id = 'default' AND room_id = '{room}';"
    )
}

/// A word, drawn as those of the messages were.
fn word(random: &mut fastrand::Rng) -> String {
    format!("w{}", (random.f64() * f64::from(WORDS + 1).ln()).exp().floor())
}

/// Waits until the server has indexed what it found at its start.
async fn index(relay: &Relay, messages: u64, report: &mut Report) -> Result<(), Error> {
    let (begin, mut indexed, mut moved) = (Instant::now(), 0.0, Instant::now());
    while indexed < messages as f64 {
        sleep(LOOK).await;
        let now = relay.metric("relay_search_indexed_total").await?.unwrap_or(0.0);
        if now > indexed {
            (indexed, moved) = (now, Instant::now());
        } else if moved.elapsed() > STUCK {
            return Err(Error::unexpected(format!("the index stands at {indexed} of {messages} messages")));
        }
    }
    let rate = messages as f64 / begin.elapsed().as_secs_f64();
    report.add(NAME, "indexing", [("operations", Some(rate), "1/s")]);
    Ok(())
}

async fn sizes(database: &Database, report: &mut Report) -> Result<(), Error> {
    let tables = "SELECT relname, pg_size_pretty(pg_relation_size(oid)) FROM pg_class \
         WHERE relname IN ('messages', 'search_messages', 'search_messages_pkey', 'search_messages_by_term') ORDER BY 1";
    report.note(NAME, "sizes", &database.run(tables).await?)
}

/// One client searches in turns.
async fn searches(relay: &Relay, args: &Args, report: &mut Report) -> Result<(), Error> {
    let (mut link, token) = (relay.link().await?, relay.token(SENDER)?);
    let mut random = fastrand::Rng::with_seed(1);
    let mut found = [0_u64; KINDS.len()];
    let loads = in_turns(KINDS.len(), &relay.processes(), args, async |kind| {
        let Some((_, one, order)) = KINDS.get(kind) else { return Ok(()) };
        let request = SearchMessagesRequest {
            query: format!("{} {}", word(&mut random), word(&mut random)),
            room_ids: one.then(|| LARGE.to_owned()).into_iter().collect(),
            order: (*order).into(),
            page_size: PAGE,
            ..SearchMessagesRequest::default()
        };
        let results = search(&mut link, &token, &request).await?;
        if let Some(found) = found.get_mut(kind) {
            *found += u64::from(results > 0);
        }
        Ok(())
    })
    .await?;
    for ((name, ..), load) in KINDS.iter().zip(&loads) {
        add(NAME, name, load, report);
    }
    report.print_beside(NAME, "one room, newest")?;
    if found.contains(&0) {
        return Err(Error::unexpected("no search of some kind found anything"));
    }
    Ok(())
}

async fn search(link: &mut Link, token: &str, request: &SearchMessagesRequest) -> Result<usize, Error> {
    let path = "/relay.chat.v1.ChatService/SearchMessages";
    let response: SearchMessagesResponse = link.unary(path, token, request).await?;
    Ok(response.results.len())
}
