//! The way in: arguments, a client with a token, and a room to be in. Used by both examples.

use std::{
    env,
    path::{Path, PathBuf},
};

use relay_sdk::{Client, ErrorReason, NewRoom, TokenError};
use tokio::process::Command;

/// An error of whatever type.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the command line says.
pub(crate) struct Args {
    pub(crate) user: String,
    pub(crate) room: String,
    pub(crate) url: String,
    /// The file of the outbox and cache.
    pub(crate) store: Option<String>,
    token: Option<String>,
}

impl Args {
    /// Reads the command line of the example `name`. The token may also stand in the environment as RELAY_TOKEN.
    pub(crate) fn read(name: &str) -> Result<Self, Failure> {
        let usage = || {
            let optional = "[--url http://127.0.0.1:8080] [--token TOKEN] [--store FILE]";
            format!("usage: {name} --user USER --room ROOM {optional}")
        };
        let (mut user, mut room, mut url, mut store) = (None, None, None, None);
        let mut token = env::var("RELAY_TOKEN").ok();
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            let slot = match word.as_str() {
                "--user" => &mut user,
                "--room" => &mut room,
                "--url" => &mut url,
                "--token" => &mut token,
                "--store" => &mut store,
                _ => return Err(usage().into()),
            };
            *slot = Some(words.next().ok_or_else(usage)?);
        }
        Ok(Self {
            user: user.ok_or_else(usage)?,
            room: room.ok_or_else(usage)?,
            url: url.unwrap_or_else(|| "http://127.0.0.1:8080".to_owned()),
            store,
            token,
        })
    }

    /// A client for the user: with the token given, or with tokens that `relay token` makes.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let builder = Client::builder(&self.url);
        let builder = match &self.token {
            Some(token) => builder.token(token),
            None => {
                let (relay, user) = (find_relay()?, self.user.clone());
                builder.token_provider(move || mint(relay.clone(), user.clone()))
            }
        };
        Ok(builder.build()?)
    }
}

/// Makes the room as a public one, or joins it if it is there already.
pub(crate) async fn enter(client: &Client, room: &str) -> Result<(), Failure> {
    // Waits for the server, as making a room is tried only once.
    client.ping().await?;
    match client.create_room(NewRoom::public(room).title(room)).await {
        Ok(_) => Ok(()),
        Err(error) if error.reason() == Some(ErrorReason::RoomExists) => {
            client.join_room(room).await?;
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The server's binary, which lies where cargo has put this example: `target/<profile>/examples/<name>`.
fn find_relay() -> Result<PathBuf, Failure> {
    let example = env::current_exe()?;
    let target = example.ancestors().nth(3).unwrap_or(Path::new("target"));
    let name = format!("relay{}", env::consts::EXE_SUFFIX);
    let candidates = ["release", "debug"].map(|profile| target.join(profile).join(&name));
    let found = candidates.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| "no token: give --token or RELAY_TOKEN, or build the server with `cargo build` first".into())
}

/// Runs `relay token --user USER` and reads the token from its output.
async fn mint(relay: PathBuf, user: String) -> Result<String, TokenError> {
    let output = Command::new(relay).args(["token", "--user", &user]).output().await?;
    if !output.status.success() {
        return Err(format!("`relay token` failed: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let token = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    token.map(str::to_owned).ok_or_else(|| "`relay token` printed nothing".into())
}
