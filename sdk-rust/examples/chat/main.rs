//! A chat in the terminal: `cargo run -p relay-sdk --example chat -- --user ana --room general`.
//!
//! It shows the last messages of a room and then what happens in it, and sends what is typed. Servers may come and go
//! meanwhile: what was sent arrives once, and nothing that happened is missed.

mod command;
mod entry;
mod screen;

use std::{process::ExitCode, time::Duration};

use futures_util::TryStreamExt as _;
use relay_sdk::{Client, Event, Events, History, Positions, ResumeVerdict};
use tokio::sync::mpsc;

use crate::{
    command::{Command, Done, Line},
    entry::{Args, Failure},
    screen::{Screen, note},
};

/// How many messages are shown at the start.
const LAST: i32 = 20;

/// How long the server may be silent before the user is told.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many lines may wait for the server before no more are read.
const WAITING: usize = 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let args = Args::read("chat")?;
    let (client, room) = (args.client()?, &args.room);
    let mut entering = std::pin::pin!(entry::enter(&client, room));
    match tokio::time::timeout(PATIENCE, &mut entering).await {
        Ok(entered) => entered?,
        Err(_) => {
            note(&format!("* no answer from {} yet, trying on; is the server running?", args.url));
            entering.await?;
        }
    }

    let mut screen = Screen::new(room);
    let page = client.history(History::older(room).page_size(LAST)).await?;
    page.messages.iter().rev().for_each(|message| screen.message(message));
    let mut events = client.events_from(Positions::from([(room.clone(), page.position)]));

    let (commands, waiting) = mpsc::channel(WAITING);
    let worker = command::carry_out(client.clone(), room.clone(), waiting, |line| note(&line));
    let worker = tokio::spawn(worker);
    let mut lines = read_lines();
    let mut commands = Some(commands);
    while let Some(open) = &commands {
        tokio::select! {
            line = lines.recv() => if !take(line, open).await { commands = None },
            event = events.next() => show(&client, room, &mut screen, event).await?,
        }
    }
    finish(worker, &client, room, &mut screen, &mut events).await
}

/// Hands a line of input on. Answers whether there may be more.
async fn take(line: Option<String>, commands: &mpsc::Sender<Command>) -> bool {
    let (command, more) = match line.as_deref().map(Line::read) {
        Some(Line::Do(command)) => (command, true),
        Some(Line::Last(command)) => (command, false),
        Some(Line::Empty) => return true,
        Some(Line::Unclear) => {
            note(command::HELP);
            return true;
        }
        Some(Line::Quit) | None => return false,
    };
    commands.send(command).await.is_ok() && more
}

async fn show(
    client: &Client,
    room: &str,
    screen: &mut Screen,
    event: Option<Result<Event, relay_sdk::Error>>,
) -> Result<(), Failure> {
    let event = event.ok_or("the stream of events is over")??;
    screen.event(&event);
    if let Event::Resumed(at) = &event
        && at.room_id == room
        && at.verdict() == ResumeVerdict::Gap
    {
        // The server does not replay that far back: what was missed is listed.
        if let Err(error) = show_missed(client, room, screen).await {
            note(&format!("* could not list what was missed: {error}"));
        }
    }
    Ok(())
}

async fn show_missed(client: &Client, room: &str, screen: &mut Screen) -> Result<(), relay_sdk::Error> {
    let mut missed = client.history_all(History::newer(room).start(screen.newest + 1));
    while let Some(message) = missed.try_next().await? {
        screen.message(&message);
    }
    Ok(())
}

/// Waits for what is not yet carried out, and for the user's own last message to be shown.
async fn finish(
    mut worker: tokio::task::JoinHandle<Done>,
    client: &Client,
    room: &str,
    screen: &mut Screen,
    events: &mut Events,
) -> Result<(), Failure> {
    let done = loop {
        tokio::select! {
            done = &mut worker => break done?,
            event = events.next() => show(client, room, screen, event).await?,
        }
    };
    let shown = async {
        while screen.newest < done.last {
            show(client, room, screen, events.next().await).await?;
        }
        Ok::<_, Failure>(())
    };
    tokio::time::timeout(Duration::from_secs(2), shown).await.unwrap_or(Ok(()))?;
    match done.failures {
        0 => Ok(()),
        failures => Err(format!("{failures} failed").into()),
    }
}

/// Reads the input on a thread of its own, as a terminal cannot be waited for otherwise.
fn read_lines() -> mpsc::Receiver<String> {
    let (lines, incoming) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let Ok(line) = line else { return };
            if lines.blocking_send(line).is_err() {
                return;
            }
        }
    });
    incoming
}
