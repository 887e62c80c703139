//! Pages of a room with many messages and of one with few, and the plans by which the databases find them.

use std::sync::Arc;

use super::{
    load::Load,
    rooms::{Names, SENDER, add},
    turns::in_turns,
};
use crate::{
    args::Args,
    error::Error,
    report::Report,
    services::Database,
    subject::{FanOut as _, Launch, Signal, relay::list_messages},
};

/// Messages of the small room.
const FEW: u64 = 1000;
/// Messages of a page.
const PAGE: usize = 50;

/// A room that is listed.
#[derive(Clone, Copy)]
struct Listed {
    messages: u64,
}

impl Listed {
    fn both(args: &Args) -> [Self; 2] {
        [Self { messages: FEW }, Self { messages: args.messages }]
    }

    fn room(self) -> String {
        format!("messages-{}", self.messages)
    }

    /// Where a page starts in the middle.
    fn middle(self) -> u64 {
        self.messages / 2
    }

    /// Fills the room by statements that both databases understand: sending a million messages would take minutes.
    /// `numbers` makes a table `n` with the column `i` from 1 on, `id` makes a message's id, `now` is a time.
    fn fill(self, numbers: &str, id: &str, fingerprint: &str, now: &str) -> String {
        let (room, messages, text) = (self.room(), self.messages, "m".repeat(64));
        format!(
            "{numbers}
             INSERT INTO messages (project_id, room_id, seq, position, sender_id, client_message_id, fingerprint, text, created_at)
             SELECT 'default', '{room}', i, last_position + i, '{SENDER}', {id}, {fingerprint}, '{text}', {now}
             FROM n, rooms WHERE project_id = 'default' AND room_id = '{room}' ORDER BY i;
             UPDATE rooms SET last_seq = {messages}, last_position = last_position + {messages}
             WHERE project_id = 'default' AND room_id = '{room}';"
        )
    }

    /// The statement of `list` in src/chat/store/messages.rs, with the columns that decide nothing left out of the text.
    fn page(self, start: u64) -> String {
        format!(
            "SELECT m.seq, m.position, m.sender_id, m.client_message_id, m.text, m.content_type, m.metadata, \
             m.attachments, m.reply_to_seq, m.created_at, m.edited_at, m.deleted_at, m.deleted_by FROM messages m \
             WHERE project_id = 'default' AND room_id = '{}' AND seq <= {start} ORDER BY seq DESC LIMIT {}",
            self.room(),
            PAGE + 1
        )
    }

    /// The two pages: what they are, and where they start.
    fn pages(self) -> [(&'static str, u64); 2] {
        [("newest page", self.messages), ("middle page", self.middle())]
    }
}

/// Fills SQLite's file while the server is away, then measures.
pub(super) async fn on_sqlite(
    launch: &Arc<Launch>,
    names: &Names,
    args: &Args,
    report: &mut Report,
) -> Result<(), Error> {
    make_rooms(launch, args).await?;
    {
        let database = rusqlite::Connection::open(launch.data().join("relay.db"))?;
        for listed in Listed::both(args) {
            let numbers = format!(
                "CREATE TEMP TABLE n AS WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < {}) \
                 SELECT i FROM c;",
                listed.messages
            );
            let now = "(SELECT last_activity_at FROM rooms LIMIT 1)";
            let fill = listed.fill(&numbers, "randomblob(16)", "randomblob(16)", now);
            database.execute_batch(&format!("BEGIN; {fill} DROP TABLE n; COMMIT;"))?;
            for (page, start) in listed.pages() {
                let mut plan = database.prepare(&format!("EXPLAIN QUERY PLAN {}", listed.page(start)))?;
                let lines = plan.query_map([], |row| row.get::<_, String>("detail"))?;
                let lines = lines.collect::<Result<Vec<_>, _>>()?.join("\n");
                report.note(names.plans, &format!("{} messages, {page}", listed.messages), &lines)?;
            }
        }
    }
    measure(launch, names, args, report).await
}

/// Fills PostgreSQL's tables while the server is away, then measures.
pub(super) async fn on_postgres(
    launch: &Arc<Launch>,
    database: &Database,
    names: &Names,
    args: &Args,
    report: &mut Report,
) -> Result<(), Error> {
    make_rooms(launch, args).await?;
    for listed in Listed::both(args) {
        let numbers = format!("CREATE TEMP TABLE n AS SELECT i FROM generate_series(1, {}) AS i;", listed.messages);
        let fingerprint = "uuid_send(gen_random_uuid())";
        database.run(&listed.fill(&numbers, "gen_random_uuid()", fingerprint, "now()")).await?;
    }
    database.run("VACUUM ANALYZE").await?;
    for listed in Listed::both(args) {
        for (page, start) in listed.pages() {
            // The second time is with the pages in memory, as they are when they are measured.
            database.run(&listed.page(start)).await?;
            let plan = database.run(&format!("EXPLAIN (ANALYZE, BUFFERS) {}", listed.page(start))).await?;
            report.note(names.plans, &format!("{} messages, {page}", listed.messages), &plan)?;
        }
    }
    measure(launch, names, args, report).await
}

async fn make_rooms(launch: &Arc<Launch>, args: &Args) -> Result<(), Error> {
    let relay = launch.start().await?;
    for listed in Listed::both(args) {
        relay.create_room(SENDER, &listed.room(), Vec::new()).await?;
    }
    relay.end(Signal::Terminate).await
}

/// One client lists the pages of both rooms in turns.
async fn measure(launch: &Arc<Launch>, names: &Names, args: &Args, report: &mut Report) -> Result<(), Error> {
    let relay = launch.start().await?;
    let (mut link, token, listed) = (relay.link().await?, relay.token(SENDER)?, Listed::both(args));
    for (scenario, starts) in [(names.newest, [0, 0]), (names.middle, listed.map(Listed::middle))] {
        let loads = in_turns(listed.len(), &relay.processes(), args, async |kind| {
            let (room, start) = (listed.get(kind).map(|listed| listed.room()), starts.get(kind).copied());
            let got = list_messages(&mut link, &token, &room.unwrap_or_default(), start.unwrap_or(0), PAGE).await?;
            if got == PAGE { Ok(()) } else { Err(Error::unexpected(format!("a page had {got} messages"))) }
        })
        .await?;
        for (listed, load) in listed.iter().zip::<&[Load]>(&loads) {
            add(scenario, &format!("{} messages", listed.messages), load, report);
        }
        report.print_beside(scenario, &format!("{FEW} messages"))?;
    }
    relay.end(Signal::Terminate).await
}
