//! What the user sees: a full screen where there is a terminal, lines where there is none.

use std::io::{IsTerminal as _, Write as _, stdin, stdout};

use crossterm::{cursor, execute, queue, style::Print, terminal};
use relay_sdk::PresenceState;

use crate::room::{Entry, Room};

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const INVERSE: &str = "\x1b[7m";
const READ: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

/// Where the room is shown.
pub(crate) enum Screen {
    /// Line by line; so many entries are printed.
    Lines(usize),
    /// All of it, again and again.
    Full,
}

impl Screen {
    pub(crate) fn open() -> Self {
        if !stdin().is_terminal() || !stdout().is_terminal() || terminal::enable_raw_mode().is_err() {
            return Self::Lines(0);
        }
        let _ = execute!(stdout(), terminal::EnterAlternateScreen);
        Self::Full
    }

    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Full)
    }

    /// Shows the room, and the line that is being typed.
    pub(crate) fn show(&mut self, room: &Room, typed: &str) {
        match self {
            Self::Lines(printed) => {
                for entry in room.entries.iter().skip(*printed) {
                    match entry {
                        Entry::Note(line) | Entry::Change(line) => print_line(line),
                        Entry::Message(seq) => print_line(&room.messages.get(seq).map(Room::line).unwrap_or_default()),
                    }
                }
                *printed = room.entries.len();
            }
            // A terminal that is gone cannot be told so.
            Self::Full => drop(draw(room, typed)),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_full() {
            let _ = execute!(stdout(), terminal::LeaveAlternateScreen, cursor::Show);
            let _ = terminal::disable_raw_mode();
        }
    }
}

/// Prints a line, for whoever reads lines.
#[expect(clippy::print_stdout, reason = "the terminal is what this example is for")]
pub(crate) fn print_line(line: &str) {
    println!("{line}");
}

fn draw(room: &Room, typed: &str) -> std::io::Result<()> {
    let (columns, rows) = terminal::size()?;
    let (width, height) = (usize::from(columns.max(10)), usize::from(rows.max(5)));
    let mut lines: Vec<(String, String)> = Vec::new();
    for entry in room.entries.iter().rev().take(height) {
        match entry {
            Entry::Message(seq) => lines.extend(room.messages.get(seq).map(|message| {
                let ticks = room
                    .ticks(message)
                    .map_or(String::new(), |(ticks, read)| format!(" {}{ticks}{PLAIN}", if read { READ } else { DIM }));
                (Room::line(message), ticks)
            })),
            Entry::Note(line) => lines.push((line.clone(), String::new())),
            Entry::Change(_) => {}
        }
    }
    lines.reverse();
    for (text, why) in &room.waiting {
        // `/offline` says more.
        let mark = if why.as_deref().is_some_and(|why| why.starts_with("refused")) { "✗" } else { "…" };
        lines.push((format!("    {}: {text}", room.user), format!(" {DIM}{mark}{PLAIN}")));
    }
    let body = height - 3;
    let shown = &lines[lines.len().saturating_sub(body)..];

    let mut out = stdout().lock();
    queue!(out, cursor::Hide, cursor::MoveTo(0, 0), terminal::Clear(terminal::ClearType::All))?;
    queue!(out, Print(format!("{INVERSE}{}{PLAIN}", fill(&header(room), width))))?;
    for (row, (line, tail)) in (1..).zip(shown) {
        let style = if line.starts_with('*') { DIM } else { "" };
        // What stands behind the line takes a little room.
        let line = cut(line, width.saturating_sub(8));
        queue!(out, cursor::MoveTo(0, row), Print(format!("{style}{line}{PLAIN}{tail}")))?;
    }
    queue!(out, cursor::MoveTo(0, rows - 2), Print(format!("{DIM}{}{PLAIN}", cut(&below(room), width))))?;
    let tail: String = typed.chars().skip((typed.chars().count() + 3).saturating_sub(width)).collect();
    queue!(out, cursor::MoveTo(0, rows - 1), Print(format!("{BOLD}> {PLAIN}{tail}")), cursor::Show)?;
    out.flush()
}

/// The room, the link, and who is there.
fn header(room: &Room) -> String {
    let link = if room.connected { "" } else { " (offline)" };
    let who = room.present.values().filter(|user| user.user_id != room.user).map(|user| {
        let mark = match user.state() {
            PresenceState::Online => '●',
            PresenceState::Away => '◐',
            _ => '○',
        };
        let says = if user.status_text.is_empty() { String::new() } else { format!(" ({})", user.status_text) };
        format!("  {mark} {}{says}", user.user_id)
    });
    format!(" {} as {}{link}{}", room.id, room.user, who.collect::<String>())
}

/// Who types, and what is unread elsewhere.
fn below(room: &Room) -> String {
    let typing = match room.typing.as_slice() {
        [] => String::new(),
        [one] => format!("{one} is typing…"),
        [one, two] => format!("{one} and {two} are typing…"),
        [one, more @ ..] => format!("{one} and {} others are typing…", more.len()),
    };
    let elsewhere = room.unread.rooms().filter(|(id, _)| *id != room.id);
    let elsewhere: String =
        elsewhere.filter_map(|(id, room)| unread(id, room)).map(|line| format!("  {line}")).collect();
    format!("{typing}{elsewhere}")
}

/// A room with something unread.
pub(crate) fn unread(id: &str, room: &relay_sdk::UnreadRoom) -> Option<String> {
    let mentions = room.unread_mentions().count();
    match (room.unread_count(), mentions) {
        (0, _) => None,
        (count, 0) => Some(format!("{id} {count}")),
        (count, mentions) => Some(format!("{id} {count} (@{mentions})")),
    }
}

fn cut(line: &str, width: usize) -> String {
    match line.chars().count() > width {
        true => line.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        false => line.to_owned(),
    }
}

fn fill(line: &str, width: usize) -> String {
    let line = cut(line, width);
    let missing = width - line.chars().count();
    line + &" ".repeat(missing)
}
