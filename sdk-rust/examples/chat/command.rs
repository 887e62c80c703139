//! What the user types: messages and commands, carried out one after another.

use futures_util::TryStreamExt as _;
use relay_sdk::{Client, Error, OutgoingMessage};
use tokio::sync::mpsc;

/// The commands, for whoever types one that is none.
pub(crate) const HELP: &str = "/react SEQ EMOJI, /edit SEQ TEXT, /delete SEQ, /members, /leave, /quit";

/// One line of input.
#[derive(Debug, PartialEq)]
pub(crate) enum Line {
    /// Nothing to do.
    Empty,
    /// To be carried out.
    Do(Command),
    /// To be carried out, and then the program ends.
    Last(Command),
    /// The program ends once everything before is carried out.
    Quit,
    /// Looks like a command, and is none.
    Unclear,
}

/// Something to ask of the server.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Say(String),
    React(u64, String),
    Edit(u64, String),
    Delete(u64),
    Members,
    Leave,
}

impl Line {
    pub(crate) fn read(line: &str) -> Self {
        let line = line.trim();
        if line.is_empty() {
            return Self::Empty;
        }
        if !line.starts_with('/') {
            return Self::Do(Command::Say(line.to_owned()));
        }
        let mut words = line.splitn(3, ' ');
        let name = words.next().unwrap_or_default();
        let seq = words.next().and_then(|word| word.parse().ok());
        let rest = words.next().map(str::to_owned);
        match (name, seq, rest) {
            ("/react", Some(seq), Some(emoji)) => Self::Do(Command::React(seq, emoji)),
            ("/edit", Some(seq), Some(text)) => Self::Do(Command::Edit(seq, text)),
            ("/delete", Some(seq), None) => Self::Do(Command::Delete(seq)),
            ("/members", None, None) => Self::Do(Command::Members),
            ("/leave", None, None) => Self::Last(Command::Leave),
            ("/quit", None, None) => Self::Quit,
            _ => Self::Unclear,
        }
    }
}

/// What became of all commands.
#[derive(Default)]
pub(crate) struct Done {
    /// The number of the last message that was written.
    pub(crate) last: u64,
    pub(crate) failures: usize,
}

/// Carries out commands in order until no more can come.
pub(crate) async fn carry_out(
    client: Client,
    room: String,
    mut commands: mpsc::Receiver<Command>,
    say: impl Fn(String),
) -> Done {
    let mut done = Done::default();
    while let Some(command) = commands.recv().await {
        match carry_out_one(&client, &room, command, &say).await {
            Ok(Some(seq)) => done.last = seq,
            Ok(None) => {}
            Err(error) => {
                done.failures += 1;
                say(format!("failed: {error}"));
            }
        }
    }
    done
}

async fn carry_out_one(
    client: &Client,
    room: &str,
    command: Command,
    say: &impl Fn(String),
) -> Result<Option<u64>, Error> {
    match command {
        Command::Say(text) => return Ok(Some(client.send(OutgoingMessage::text(room, text)).await?.seq)),
        Command::React(seq, emoji) => client.react((room, seq), emoji).await?,
        Command::Edit(seq, text) => drop(client.edit((room, seq), text).await?),
        Command::Delete(seq) => client.delete((room, seq)).await?,
        Command::Members => {
            let mut members = client.list_members_all(room);
            while let Some(member) = members.try_next().await? {
                say(format!("{} ({:?})", member.user_id, member.role()));
            }
        }
        Command::Leave => client.leave_room(room).await?,
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_commands() {
        assert_eq!(Line::read(" hi there "), Line::Do(Command::Say("hi there".into())));
        assert_eq!(Line::read("/react 3 👍"), Line::Do(Command::React(3, "👍".into())));
        assert_eq!(Line::read("/edit 3 a new text"), Line::Do(Command::Edit(3, "a new text".into())));
        assert_eq!(Line::read("/delete 3"), Line::Do(Command::Delete(3)));
        assert_eq!(Line::read("/leave"), Line::Last(Command::Leave));
        assert_eq!(Line::read("/quit"), Line::Quit);
        assert_eq!(Line::read("  "), Line::Empty);
        for unclear in ["/delete", "/delete x", "/edit 3", "/dance"] {
            assert_eq!(Line::read(unclear), Line::Unclear, "{unclear}");
        }
    }
}
