//! Which room of `src` may import which. The test reads the paths in all of `src/**/*.rs`, those of test code too, and
//! fails with file and line on an arrow that [`ARROWS`] does not have.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Each room (a top-level module of `src`) with the rooms it may import. Itself it always may.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", ANY),
    ("cli", ANY),
    ("lib", &[]),
    ("app", ANY),
    ("rpc", &["identity", "chat", "hub", "bus", "lifecycle", "config", "error", "id", "clock", "telemetry"]),
    ("identity", &["db", "hub", "limit", "config", "error", "id", "clock", "telemetry"]),
    ("chat", &["db", "bus", "hub", "limit", "config", "error", "id", "clock", "telemetry"]),
    ("hub", &["bus", "config", "error", "id", "clock", "telemetry"]),
    ("bus", &["config", "error", "id", "clock", "telemetry"]),
    ("db", &["config", "error", "id", "clock", "telemetry"]),
    ("limit", &["config", "error", "id", "clock", "telemetry"]),
    ("lifecycle", &["config", "error", "clock", "telemetry"]),
    ("telemetry", &["config", "error", "clock"]),
    ("config", &["error", "id"]),
    ("id", &["error"]),
    ("error", &[]),
    ("clock", &[]),
];
const ANY: &[&str] = &["*"];

/// Crates that only some rooms may know.
const CRATES: &[(&str, &[&str])] = &[("relay_proto", &["rpc"]), ("sqlx", &["db"]), ("redis", &["bus"])];

#[test]
fn rooms_import_only_what_the_table_allows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut violations = Vec::new();
    for file in rust_files(&root.join("src")).expect("src is readable") {
        let source = fs::read_to_string(&file).expect("a source file is readable");
        violations.extend(check(file.strip_prefix(root).expect("a file of src is below the root"), &source));
    }
    assert!(violations.is_empty(), "forbidden arrows (the table is in tests/arrows.rs):\n{}", violations.join("\n"));
}

#[test]
fn every_arrow_ends_at_a_room_of_the_table() {
    let ends = ARROWS.iter().flat_map(|(_, allowed)| *allowed).filter(|end| **end != "*");
    let unknown: Vec<_> = ends.filter(|end| arrows_of(end).is_none()).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn forbidden_imports_are_reported_with_file_and_line() {
    let bad = "\
use std::fmt;
use crate::{
    db::{Db, error::DbError},
    rpc::convert,
};
pub(crate) fn f(c: &crate::app::App) -> sqlx::Result<()> { super::super::identity::g(c) }
#[cfg(test)]
mod tests {
    use super::super::super::identity::Caller;
    use crate::*;
    use relay_proto as wire;
}";
    let expected = [
        "src/chat/log.rs:4: chat may not import rpc",
        "src/chat/log.rs:6: chat may not import app",
        "src/chat/log.rs:6: chat may not import sqlx",
        "src/chat/log.rs:6: chat may not import identity",
        "src/chat/log.rs:9: chat may not import identity",
        "src/chat/log.rs:10: chat may not import *",
        "src/chat/log.rs:11: chat may not import relay_proto",
    ];
    assert_eq!(check(Path::new("src/chat/log.rs"), bad), expected);
}

#[test]
fn a_room_without_a_row_is_reported() {
    let expected = ["src/attic/mod.rs:1: attic has no row in the table of arrows"];
    assert_eq!(check(Path::new("src/attic/mod.rs"), "use std::fmt;"), expected);
}

#[test]
fn allowed_imports_comments_and_literals_pass() {
    let good = r##"
//! Not an import: [`crate::rpc`], /* nor is crate::app. */
use super::{Room, lanes};
use crate::{chat::log, db, error::Error};
/* crate::rpc /* crate::app */ crate::rpc */
const NOT_PATHS: [&str; 3] = ["crate::rpc // \" crate::app", r#"" sqlx::query "#, "super::super::rpc"];
fn quote<'a>(db: &'a db::Db) -> char { if db.sqlx { '"' } else { '\'' } }
mod tests { use super::super::super::hub; }
"##;
    assert_eq!(check(Path::new("src/chat/log.rs"), good), [""; 0]);
    assert_eq!(check(Path::new("src/rpc/convert/room.rs"), "use relay_proto::chat::v1 as wire;"), [""; 0]);
    assert_eq!(check(Path::new("src/limit.rs"), "pub(super) fn f() { super::clock::now() }"), [""; 0]);
    assert_eq!(check(Path::new("src/app.rs"), "use crate::{db, rpc};"), [""; 0]);
}

/// The violations in one file, each as `file:line: what`. `file` is relative to the root.
fn check(file: &Path, source: &str) -> Vec<String> {
    let module = module_of(file);
    let room = module.first().map_or("lib", String::as_str);
    let Some(allowed) = arrows_of(room) else {
        return vec![format!("{}:1: {room} has no row in the table of arrows", file.display())];
    };
    let depth = if room == "main" { 0 } else { module.len() };
    let code = without_comments_and_literals(source);
    let forbidden = |target: &str| match CRATES.iter().find(|(name, _)| *name == target) {
        Some((_, rooms)) => !rooms.contains(&room),
        None => target != room && allowed != ANY && !allowed.contains(&target),
    };
    imports(&tokens(&code), depth)
        .into_iter()
        .filter(|(_, target)| forbidden(target))
        .map(|(line, target)| format!("{}:{line}: {room} may not import {target}", file.display()))
        .collect()
}

fn arrows_of(room: &str) -> Option<&'static [&'static str]> {
    ARROWS.iter().find(|(name, _)| *name == room).map(|(_, allowed)| *allowed)
}

/// `src/chat/log.rs` and `src/chat/log/mod.rs` are `[chat, log]`, `src/lib.rs` is `[]`.
fn module_of(file: &Path) -> Vec<String> {
    let inside = file.strip_prefix("src").unwrap_or(file).with_extension("");
    let mut module: Vec<_> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| last == "mod" || module == ["lib"]) {
        module.pop();
    }
    module
}

fn rust_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What the tokens import, with lines: the first name after `crate::`, or after as many `super::` as lead to the root
/// from a module `depth` below it, and the crates of [`CRATES`].
fn imports<'a>(tokens: &[(usize, &'a str)], depth: usize) -> Vec<(usize, &'a str)> {
    let text = |at: usize| tokens.get(at).map_or("", |(_, text)| *text);
    let before = |at: usize, back: usize| at.checked_sub(back).map_or("", text);
    let mut found = Vec::new();
    let mut blocks = Vec::new(); // for each open brace: whether it opened an inline module
    for (at, (line, token)) in tokens.iter().copied().enumerate() {
        match token {
            "{" => blocks.push(before(at, 2) == "mod"),
            "}" => drop(blocks.pop()),
            "crate" if text(at + 1) == "::" => found.extend(first_names(tokens, at + 2)),
            "super" if before(at, 2) != "super" => {
                let is_step = |step: &usize| text(at + 2 * step) == "super" && text(at + 2 * step + 1) == "::";
                let climbed = (0..).take_while(is_step).count();
                if climbed == depth + blocks.iter().filter(|is_module| **is_module).count() {
                    found.extend(first_names(tokens, at + 2 * climbed));
                }
            }
            _ if CRATES.iter().any(|(name, _)| *name == token)
                && (text(at + 1) == "::" || ["use", "crate"].contains(&before(at, 1))) =>
            {
                found.push((line, token));
            }
            _ => {}
        }
    }
    found
}

/// The name at `at`, or the first name of each path in the braces that open there.
fn first_names<'a>(tokens: &[(usize, &'a str)], at: usize) -> Vec<(usize, &'a str)> {
    let Some(first) = tokens.get(at) else { return Vec::new() };
    if first.1 != "{" {
        return vec![*first];
    }
    let mut names = Vec::new();
    let (mut depth, mut starts) = (0, false);
    for token in &tokens[at..] {
        match token.1 {
            "{" => (depth, starts) = (depth + 1, true),
            "}" if depth == 1 => break,
            "}" => depth -= 1,
            "," => starts = true,
            _ if depth == 1 && starts => (_, starts) = (names.push(*token), false),
            _ => starts = false,
        }
    }
    names
}

/// Words, `::` and single signs, each with its line.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    for (line, text) in code.lines().enumerate() {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()) {
                0 if rest.starts_with("::") => 2,
                0 => first.len_utf8(),
                word => word,
            };
            let (token, after) = rest.split_at(length);
            tokens.push((line + 1, token));
            rest = after.trim_start();
        }
    }
    tokens
}

/// The code with its line breaks; of comments, strings and characters only line breaks stay.
fn without_comments_and_literals(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            'r' if !code.ends_with(is_word) || code.ends_with(['b', 'c']) => raw_string(rest),
            '"' => quoted(rest, '"'),
            '\'' if rest[1..].starts_with('\\') || rest.chars().nth(2) == Some('\'') => quoted(rest, '\''),
            _ => 0,
        };
        if skipped == 0 {
            code.push(first);
        } else {
            code.extend(rest[..skipped].chars().map(|c| if c == '\n' { c } else { ' ' }));
        }
        rest = &rest[skipped.max(first.len_utf8())..];
    }
    code
}

fn block_comment(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at
}

/// The length of the raw string that `text` begins with, 0 if it begins with a word.
fn raw_string(text: &str) -> usize {
    let body = text[1..].trim_start_matches('#');
    let hashes = "#".repeat(text.len() - 1 - body.len());
    let Some(body) = body.strip_prefix('"') else { return 0 };
    let end = format!("\"{hashes}");
    body.find(&end).map_or(text.len(), |at| text.len() - body.len() + at + end.len())
}

fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
