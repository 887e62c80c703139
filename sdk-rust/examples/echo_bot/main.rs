//! A bot that answers each message of a room: `cargo run -p relay-sdk --example echo_bot -- --user echo --room general`.

#[path = "../chat/entry.rs"]
mod entry;

use std::process::ExitCode;

use relay_sdk::{Client, Error, Event, OutgoingMessage, RoomEvent, RoomEventKind};

use crate::entry::{Args, Failure};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let args = Args::read("echo_bot")?;
    if args.store.is_some() {
        return Err("the bot keeps nothing in a file: leave --store out".into());
    }
    let client = args.client()?;
    entry::enter(&client, &args.room).await?;
    let mut events = client.events();
    while let Some(event) = events.next().await {
        if let Event::Room(event) = event? {
            // An answer that the server refuses is no reason to leave the next message without one.
            if let Err(error) = answer(&client, &args, event).await {
                complain(&error.to_string());
            }
        }
    }
    Ok(())
}

/// Answers a message of the room, unless it is the bot's own or an answer itself: two bots would never come to an end.
async fn answer(client: &Client, args: &Args, event: RoomEvent) -> Result<(), Error> {
    let RoomEventKind::MessageCreated(message) = event.kind else { return Ok(()) };
    if message.room_id != args.room || message.sender_id == args.user || message.reply_to_seq != 0 {
        return Ok(());
    }
    // A message that was deleted meanwhile comes without its text.
    if !message.text.is_empty() {
        client.send(OutgoingMessage::text(message.room_id, message.text).reply_to(message.seq)).await?;
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "the terminal is where its user looks")]
fn complain(text: &str) {
    eprintln!("{text}");
}
