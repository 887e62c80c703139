//! What the user types, on a thread of its own, as a terminal cannot be waited for otherwise.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, read};
use tokio::sync::mpsc;

/// Something typed.
pub(crate) enum Typed {
    /// A whole line.
    Line(String),
    /// The line so far.
    SoFar(String),
    /// The window has another size.
    Resized,
}

/// Reads keys, if there is a full screen, or else lines. The channel ends with the input.
pub(crate) fn listen(keys: bool) -> mpsc::Receiver<Typed> {
    let (typed, incoming) = mpsc::channel(16);
    std::thread::spawn(move || if keys { read_keys(&typed) } else { read_lines(&typed) });
    incoming
}

fn read_lines(typed: &mpsc::Sender<Typed>) {
    for line in std::io::stdin().lines() {
        let Ok(line) = line else { return };
        if typed.blocking_send(Typed::Line(line)).is_err() {
            return;
        }
    }
}

fn read_keys(typed: &mpsc::Sender<Typed>) {
    let mut line = String::new();
    while let Ok(event) = read() {
        let word = match event {
            Event::Resize(..) => Typed::Resized,
            Event::Key(KeyEvent { kind: KeyEventKind::Release, .. }) => continue,
            Event::Key(KeyEvent { code: KeyCode::Char('c' | 'd'), modifiers: KeyModifiers::CONTROL, .. }) => return,
            Event::Key(key) => match key.code {
                KeyCode::Enter => Typed::Line(std::mem::take(&mut line)),
                KeyCode::Char(letter) => {
                    line.push(letter);
                    Typed::SoFar(line.clone())
                }
                KeyCode::Backspace => {
                    line.pop();
                    Typed::SoFar(line.clone())
                }
                _ => continue,
            },
            _ => continue,
        };
        if typed.blocking_send(word).is_err() {
            return;
        }
    }
}
