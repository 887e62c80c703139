//! Carries out what the user asks for, one after another.

use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt as _;
use relay_sdk::{Client, Error, MessageState, OutgoingMessage, PresenceState, Search, Timestamp};
use tokio::sync::mpsc;

use crate::{command::Command, room::Room, store::Link};

/// What became of all commands.
#[derive(Default)]
pub(crate) struct Done {
    /// The number of the last message that was written.
    pub(crate) last: u64,
    pub(crate) failures: usize,
}

/// Carries out commands in order until no more can come. What there is to say goes to `notes`.
pub(crate) async fn carry_out(
    link: Link,
    room: String,
    mut commands: mpsc::Receiver<Command>,
    notes: mpsc::Sender<String>,
) -> Done {
    let mut done = Done::default();
    while let Some(command) = commands.recv().await {
        let mut said = Vec::new();
        match carry_out_one(&link, &room, command, &mut said).await {
            Ok(Some(seq)) => done.last = seq,
            Ok(None) => {}
            Err(error) => {
                done.failures += 1;
                said.push(format!("failed: {error}"));
            }
        }
        for line in said {
            // Nobody reads on when the program ends.
            let _ = notes.send(line).await;
        }
    }
    done
}

async fn carry_out_one(
    link: &Link,
    room: &str,
    command: Command,
    said: &mut Vec<String>,
) -> Result<Option<u64>, Error> {
    let client = &link.client;
    match command {
        Command::Say(text) => return send(link, with_mentions(OutgoingMessage::text(room, text))).await,
        Command::Reply(seq, text) => {
            return send(link, with_mentions(OutgoingMessage::text(room, text).reply_to(seq))).await;
        }
        Command::React(seq, emoji) => client.react((room, seq), emoji).await?,
        Command::Edit(seq, text) => drop(client.edit((room, seq), text).await?),
        Command::Delete(seq, why) => client.delete_with_reason((room, seq), why).await?,
        Command::Pin(seq) => client.pin((room, seq)).await?,
        Command::Unpin(seq) => client.unpin((room, seq)).await?,
        Command::Pins => {
            let pinned = client.list_pinned(room).await?;
            said.extend(
                pinned
                    .iter()
                    .filter_map(|pin| pin.message.as_ref())
                    .map(|message| format!("📌 {}", Room::line(message))),
            );
        }
        Command::Status(seq) => said.push(status(client, room, seq).await?),
        Command::Search(words) => {
            let found = client.search(Search::new(words)).await?.items;
            let messages = found.into_iter().filter_map(|result| result.message);
            said.extend(messages.map(|message| format!("{} {}", message.room_id, Room::line(&message))));
        }
        Command::Who => who(client, room, said).await?,
        Command::Members => {
            let mut members = client.list_members_all(room);
            while let Some(member) = members.try_next().await? {
                said.push(format!("{} ({:?})", member.user_id, member.role()));
            }
        }
        Command::Offline => offline(link, room, said).await,
        Command::Refused(again) => {
            let count = link.refused(room, again).await?;
            said.push(format!("* {count} {}", if again { "tried again" } else { "given up" }));
        }
        Command::Away(away) => client.set_away(away).await,
        Command::SayStatus(text) => client.set_status_text(text).await?,
        Command::Mute(user, seconds) => drop(client.mute_member(room, user, Some(in_seconds(seconds))).await?),
        Command::Ban(user, true) => drop(client.ban(room, user, "", None).await?),
        Command::Ban(user, false) => said.push(unban(client, room, &user).await?),
        Command::Block(user, blocked) => said.push(block(client, &user, blocked).await?),
        Command::Leave => client.leave_room(room).await?,
    }
    Ok(None)
}

async fn send(link: &Link, message: OutgoingMessage) -> Result<Option<u64>, Error> {
    match link.send(message.clone()).await {
        // Whoever writes `@` and something means a member, or does not.
        Err(error) if error.reason() == Some(relay_sdk::ErrorReason::MentionInvalid) => {
            Ok(link.send(message.with_mentions(Vec::new())).await?.map(|receipt| receipt.seq))
        }
        sent => Ok(sent?.map(|receipt| receipt.seq)),
    }
}

/// Mentions everybody of whom the text says `@name`.
fn with_mentions(message: OutgoingMessage) -> OutgoingMessage {
    let text = message.text_of().to_owned();
    let names = text.split_whitespace().filter_map(|word| word.strip_prefix('@'));
    let names = names.map(|name| name.trim_end_matches(|letter: char| !letter.is_alphanumeric()).to_owned());
    names.filter(|name| !name.is_empty()).fold(message, |message, name| match name.as_str() {
        "room" => message.mention_room(),
        _ => message.mention(name),
    })
}

// Nothing of the next two comes back as an event of the room.

async fn unban(client: &Client, room: &str, user: &str) -> Result<String, Error> {
    client.unban(room, user).await?;
    Ok(format!("* {user} may join again"))
}

async fn block(client: &Client, user: &str, blocked: bool) -> Result<String, Error> {
    match blocked {
        true => client.block_user(user).await?,
        false => client.unblock_user(user).await?,
    }
    Ok(format!("* {user} is {}", if blocked { "blocked" } else { "not blocked any more" }))
}

async fn status(client: &Client, room: &str, seq: u64) -> Result<String, Error> {
    let message = client.get_message((room, seq)).await?;
    let status = message.status.unwrap_or_default();
    let ticks = match status.state() {
        MessageState::Read => "✓✓ read",
        MessageState::Delivered => "✓✓ delivered",
        _ => "✓ sent",
    };
    let (read, got, of) = (status.read_count, status.delivered_count, status.member_count);
    Ok(format!("[{seq}] {ticks}: {got} of {of} have it, {read} have read it"))
}

async fn who(client: &Client, room: &str, said: &mut Vec<String>) -> Result<(), Error> {
    let members = client.list_members(room, 100, None).await?.items;
    for user in client.get_presence(members.into_iter().map(|member| member.user_id)).await? {
        let state = match user.state() {
            PresenceState::Online => "● online",
            PresenceState::Away => "◐ away",
            _ => "○ offline",
        };
        said.push(format!("{state} {} {}", user.user_id, user.status_text).trim_end().to_owned());
    }
    Ok(())
}

async fn offline(link: &Link, room: &str, said: &mut Vec<String>) {
    if !link.has_file() {
        return said.push("* there is no file: start with --store FILE".into());
    }
    let waiting = link.waiting(room).await;
    said.push(format!("* {} not sent yet", waiting.len()));
    said.extend(waiting.into_iter().map(|(text, why)| match why {
        Some(why) => format!("… {text} ({why})"),
        None => format!("… {text}"),
    }));
}

#[expect(clippy::disallowed_methods, reason = "a program of the user's own may look at their clock")]
fn in_seconds(seconds: u64) -> Timestamp {
    Timestamp::from(SystemTime::now() + Duration::from_secs(seconds))
}
