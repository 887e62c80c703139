//! What a line means: a message, or a command.

/// The commands, for whoever types one that is none: in lines that fit a narrow terminal.
pub(crate) const HELP: [&str; 4] = [
    "/react SEQ EMOJI, /edit SEQ TEXT, /delete SEQ [WHY], /reply SEQ TEXT,",
    "/pin SEQ, /unpin SEQ, /pins, /status SEQ, /search WORDS, /who, /members,",
    "/rooms, /offline, /retry, /drop, /away, /back, /say-status TEXT, /leave,",
    "/mute USER SECONDS, /ban USER, /unban USER, /block USER, /unblock USER, /quit",
];

/// One line of input.
#[derive(Debug, PartialEq)]
pub(crate) enum Line {
    /// Nothing to do.
    Empty,
    /// To be carried out.
    Do(Command),
    /// To be carried out, and then the program ends.
    Last(Command),
    /// How many messages are unread in which room: it is known here.
    Rooms,
    /// The program ends once everything before is carried out.
    Quit,
    /// Looks like a command, and is none.
    Unclear,
}

/// Something to ask of the server.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    Say(String),
    Reply(u64, String),
    React(u64, String),
    Edit(u64, String),
    Delete(u64, String),
    Pin(u64),
    Unpin(u64),
    Pins,
    Status(u64),
    Search(String),
    Who,
    Members,
    Offline,
    /// What to do with refused messages: try again, or give up.
    Refused(bool),
    Away(bool),
    SayStatus(String),
    Mute(String, u64),
    Ban(String, bool),
    Block(String, bool),
    Leave,
}

impl Line {
    pub(crate) fn read(line: &str) -> Self {
        let line = line.trim();
        if line.is_empty() {
            return Self::Empty;
        }
        let Some(command) = line.strip_prefix('/') else { return Self::Do(Command::Say(line.to_owned())) };
        let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
        let rest = rest.trim();
        match (name, rest) {
            ("rooms", "") => return Self::Rooms,
            ("quit", "") => return Self::Quit,
            ("leave", "") => return Self::Last(Command::Leave),
            _ => {}
        }
        Self::plain(name, rest)
            .or_else(|| Self::about_message(name, rest))
            .or_else(|| Self::about_user(name, rest))
            .map_or(Self::Unclear, Self::Do)
    }

    fn plain(name: &str, rest: &str) -> Option<Command> {
        Some(match (name, rest) {
            ("search", words) if !words.is_empty() => Command::Search(words.to_owned()),
            ("say-status", text) => Command::SayStatus(text.to_owned()),
            ("pins", "") => Command::Pins,
            ("who", "") => Command::Who,
            ("members", "") => Command::Members,
            ("offline", "") => Command::Offline,
            ("retry", "") => Command::Refused(true),
            ("drop", "") => Command::Refused(false),
            ("away", "") => Command::Away(true),
            ("back", "") => Command::Away(false),
            _ => return None,
        })
    }

    fn about_message(name: &str, rest: &str) -> Option<Command> {
        let (seq, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let (seq, text) = (seq.parse().ok()?, text.trim().to_owned());
        Some(match (name, text.is_empty()) {
            ("delete", _) => Command::Delete(seq, text),
            ("react", false) => Command::React(seq, text),
            ("edit", false) => Command::Edit(seq, text),
            ("reply", false) => Command::Reply(seq, text),
            ("pin", true) => Command::Pin(seq),
            ("unpin", true) => Command::Unpin(seq),
            ("status", true) => Command::Status(seq),
            _ => return None,
        })
    }

    fn about_user(name: &str, rest: &str) -> Option<Command> {
        let (user, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let user = Some(user.to_owned()).filter(|user| !user.is_empty())?;
        Some(match (name, text) {
            ("mute", seconds) => Command::Mute(user, seconds.parse().ok()?),
            ("ban" | "unban", "") => Command::Ban(user, name == "ban"),
            ("block" | "unblock", "") => Command::Block(user, name == "block"),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_commands() {
        assert_eq!(Line::read(" hi there "), Line::Do(Command::Say("hi there".into())));
        assert_eq!(Line::read("/react 3 👍"), Line::Do(Command::React(3, "👍".into())));
        assert_eq!(Line::read("/edit 3 a new text"), Line::Do(Command::Edit(3, "a new text".into())));
        assert_eq!(Line::read("/delete 3"), Line::Do(Command::Delete(3, String::new())));
        assert_eq!(Line::read("/delete 3 off topic"), Line::Do(Command::Delete(3, "off topic".into())));
        assert_eq!(Line::read("/search a \"b c\""), Line::Do(Command::Search("a \"b c\"".into())));
        assert_eq!(Line::read("/mute eve 60"), Line::Do(Command::Mute("eve".into(), 60)));
        assert_eq!(Line::read("/unblock eve"), Line::Do(Command::Block("eve".into(), false)));
        assert_eq!(Line::read("/leave"), Line::Last(Command::Leave));
        assert_eq!(Line::read("/rooms"), Line::Rooms);
        assert_eq!(Line::read("/quit"), Line::Quit);
        assert_eq!(Line::read("  "), Line::Empty);
        for unclear in ["/delete", "/delete x", "/edit 3", "/pin 3 4", "/mute eve", "/search", "/ban", "/dance"] {
            assert_eq!(Line::read(unclear), Line::Unclear, "{unclear}");
        }
    }
}
