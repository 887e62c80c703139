//! A chat in the terminal: `cargo run -p relay-sdk --example chat -- --user ana --room general`.
//!
//! It shows the last messages of a room and then what happens in it, and sends what is typed. Servers may come and go
//! meanwhile: what was sent arrives once, and nothing that happened is missed. With `--features sqlite` and
//! `--store FILE` it works without a server too, and what was typed then is sent by the next start.

mod command;
mod entry;
mod keyboard;
mod room;
mod screen;
#[cfg(feature = "sqlite")]
mod store;
#[cfg(not(feature = "sqlite"))]
#[path = "no_store.rs"]
mod store;
mod worker;

use std::{process::ExitCode, time::Duration};

use futures_util::TryStreamExt as _;
use relay_sdk::{Event, Message, Receipt, ResumeVerdict};
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    command::{Command, HELP, Line},
    entry::{Args, Failure},
    keyboard::Typed,
    room::Room,
    screen::{Screen, print_line, unread},
    store::{Feed, Link, Progress},
    worker::Done,
};

/// How many messages are shown at the start.
const LAST: u16 = 20;

/// How long the server may be silent before the user is told.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many lines may wait for the server before no more are read.
const WAITING: usize = 1024;

/// Something that was read from the server meanwhile.
enum Fact {
    Cursors(Vec<Receipt>),
    Missed(Vec<Message>),
    Note(String),
}

/// The program while it runs.
struct App {
    link: Link,
    room: Room,
    screen: Screen,
    feed: Feed,
    progress: Progress,
    facts: mpsc::Sender<Fact>,
    incoming: mpsc::Receiver<Fact>,
    notes: mpsc::Receiver<String>,
    /// The line that is being typed.
    typed: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_line(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let args = Args::read("chat")?;
    let link = Link::open(args.client()?, args.store.as_deref()).await?;
    let (facts, incoming) = mpsc::channel(WAITING);
    match link.has_file() {
        // The file has what was seen, and takes what is typed.
        true => drop(tokio::spawn(enter_meanwhile(link.clone(), args.room.clone(), facts.clone()))),
        false => enter(&link, &args).await?,
    }
    let (messages, feed) = link.begin(&args.room, LAST).await?;
    let mut room = Room::new(&args.room, &args.user);
    messages.into_iter().for_each(|message| room.message(message));
    room.waiting = link.waiting(&args.room).await;
    link.client.watch_presence([args.room.as_str()]).await;

    let (commands, waiting) = mpsc::channel(WAITING);
    let (say, notes) = mpsc::channel(WAITING);
    let worker = tokio::spawn(worker::carry_out(link.clone(), args.room.clone(), waiting, say));
    let (screen, progress) = (Screen::open(), link.progress());
    let mut input = keyboard::listen(screen.is_full());
    let mut app = App { link, room, screen, feed, progress, facts, incoming, notes, typed: String::new() };
    loop {
        app.show();
        tokio::select! {
            typed = input.recv() => if !app.take(typed, &commands).await { break },
            more = app.happens() => more?,
        }
    }
    drop(commands);
    app.finish(worker).await
}

/// Makes or joins the room, and says so when that takes long.
async fn enter(link: &Link, args: &Args) -> Result<(), Failure> {
    let mut entering = std::pin::pin!(entry::enter(&link.client, &args.room));
    match tokio::time::timeout(PATIENCE, &mut entering).await {
        Ok(entered) => entered,
        Err(_) => {
            print_line(&format!("* no answer from {} yet, trying on; is the server running?", args.url));
            entering.await
        }
    }
}

/// Makes or joins the room as soon as the server is there.
async fn enter_meanwhile(link: Link, room: String, facts: mpsc::Sender<Fact>) {
    loop {
        match entry::enter(&link.client, &room).await {
            Ok(()) => return link.entered(&room).await,
            Err(error) => match error.downcast_ref::<relay_sdk::Error>().map(relay_sdk::Error::reason) {
                // Nobody has answered yet.
                Some(None) => tokio::time::sleep(PATIENCE).await,
                _ => return drop(facts.send(Fact::Note(format!("* cannot enter: {error}"))).await),
            },
        }
    }
}

impl App {
    fn show(&mut self) {
        self.screen.show(&self.room, &self.typed);
        // What is on the screen counts as read.
        self.link.client.mark_read(&self.room.id, self.room.newest());
    }

    /// Waits for something to happen, and takes it in.
    async fn happens(&mut self) -> Result<(), Failure> {
        tokio::select! {
            event = self.feed.next() => {
                let event = event.ok_or("the stream of events is over")??;
                self.event(event);
            }
            note = self.progress.next() => {
                note.into_iter().for_each(|note| self.room.note(note));
                self.room.waiting = self.link.waiting(&self.room.id).await;
            }
            Some(fact) = self.incoming.recv() => match fact {
                Fact::Cursors(receipts) => self.room.cursors(receipts),
                Fact::Missed(messages) => messages.into_iter().for_each(|message| self.room.message(message)),
                Fact::Note(line) => self.room.note(line),
            },
            Some(note) = self.notes.recv() => self.room.note(note),
        }
        Ok(())
    }

    fn event(&mut self, event: Event) {
        if self.room.event(&event) {
            self.read(|link, room, _| async move {
                Ok(Fact::Cursors(link.client.list_receipts_all(room, 0).try_collect().await?))
            });
        }
        match &event {
            // The server does not replay that far back: what was missed is listed.
            Event::Resumed(at) if at.room_id == self.room.id && at.verdict() == ResumeVerdict::Gap => {
                self.read(|link, room, from| async move { Ok(Fact::Missed(link.missed(&room, from).await?)) });
            }
            // Only what is new comes by itself.
            Event::Resumed(at) if at.room_id == self.room.id && at.verdict() == ResumeVerdict::Joined => {
                self.read(|link, room, _| async move { Ok(Fact::Missed(link.latest(&room, LAST).await?)) });
            }
            _ => {}
        }
    }

    /// Reads something from the server, and goes on meanwhile.
    fn read<F, R>(&self, fetch: F)
    where
        F: FnOnce(Link, String, u64) -> R,
        R: Future<Output = Result<Fact, relay_sdk::Error>> + Send + 'static,
    {
        let facts = self.facts.clone();
        let fetch = fetch(self.link.clone(), self.room.id.clone(), self.room.newest() + 1);
        tokio::spawn(async move {
            if let Ok(fact) = fetch.await {
                let _ = facts.send(fact).await;
            }
        });
    }

    /// Takes what was typed. Answers whether there may be more.
    async fn take(&mut self, typed: Option<Typed>, commands: &mpsc::Sender<Command>) -> bool {
        let line = match typed {
            None => return false,
            Some(Typed::Resized) => return true,
            Some(Typed::SoFar(typed)) => {
                let (client, room) = (self.link.client.clone(), self.room.id.clone());
                if !typed.is_empty() && !typed.starts_with('/') {
                    tokio::spawn(async move { client.typing(room).await });
                }
                self.typed = typed;
                return true;
            }
            Some(Typed::Line(line)) => line,
        };
        self.typed.clear();
        let (command, more) = match Line::read(&line) {
            Line::Do(command) => (command, true),
            Line::Last(command) => (command, false),
            Line::Empty => return true,
            Line::Rooms => {
                let rooms: Vec<_> = self.room.unread.rooms().filter_map(|(id, room)| unread(id, room)).collect();
                self.room
                    .note(format!("* unread: {}", if rooms.is_empty() { "nothing".into() } else { rooms.join(", ") }));
                return true;
            }
            Line::Unclear => {
                HELP.iter().for_each(|line| self.room.note(*line));
                return true;
            }
            Line::Quit => return false,
        };
        commands.send(command).await.is_ok() && more
    }

    /// Waits for what is not yet carried out, for the user's own last message to be shown, and for the outbox, a little.
    async fn finish(mut self, mut worker: JoinHandle<Done>) -> Result<(), Failure> {
        let done = loop {
            self.show();
            tokio::select! {
                done = &mut worker => break done?,
                more = self.happens() => more?,
            }
        };
        let rest = async {
            while self.room.newest() < done.last || !self.room.waiting.is_empty() {
                self.happens().await?;
                self.show();
            }
            self.link.client.flush_receipts().await;
            Ok::<_, Failure>(())
        };
        tokio::time::timeout(Duration::from_secs(2), rest).await.unwrap_or(Ok(()))?;
        while let Ok(note) = self.notes.try_recv() {
            self.room.note(note);
        }
        self.show();
        match done.failures {
            0 => Ok(()),
            failures => Err(format!("{failures} failed").into()),
        }
    }
}
