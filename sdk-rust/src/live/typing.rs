//! Who types says so again and again; the server hears of it every few seconds.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt as _;
use relay_proto::chat::v1::{SetTypingRequest, connect_request::Frame as Up};
use tokio::time::Instant;

use crate::{Client, Error};

/// How long the server need not be told again.
const REFRESH: Duration = Duration::from_secs(3);

/// When the server forgets it.
const LASTS: Duration = Duration::from_secs(6);

/// When the server was last told, by room. Only rooms in which it has not forgotten it.
#[derive(Default)]
pub(super) struct Typing(Mutex<HashMap<String, Instant>>);

impl Typing {
    /// Whether the server is to be told.
    fn due(&self, room_id: &str) -> bool {
        let now = Instant::now();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.duration_since(*at) < LASTS);
        if told.get(room_id).is_some_and(|at| now.duration_since(*at) < REFRESH) {
            return false;
        }
        told.insert(room_id.to_owned(), now);
        true
    }

    /// The next time, the server is told at once. Answers whether it holds the user for typing until then.
    fn forget(&self, room_id: &str) -> bool {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(room_id);
        told.is_some_and(|at| Instant::now().duration_since(at) < LASTS)
    }
}

/// The user's typing in a room, for as long as the field that they type into is there. Made by [`Client::typing_guard`].
///
/// Dropped, it says that they do not type any more, unless a message or the time has said so.
#[derive(Debug)]
#[must_use = "dropping it says that the user does not type"]
pub struct TypingGuard {
    client: Client,
    room_id: String,
}

impl TypingGuard {
    /// The user has typed something: as [`Client::typing`], to be called at each key.
    ///
    /// # Errors
    /// As [`Client::typing`].
    pub async fn key(&self) -> Result<(), Error> {
        self.client.typing(self.room_id.as_str()).await
    }
}

impl Drop for TypingGuard {
    fn drop(&mut self) {
        if !self.client.live().typing.forget(&self.room_id) {
            return;
        }
        let (client, room_id) = (self.client.clone(), std::mem::take(&mut self.room_id));
        let mut stop = Box::pin(async move { client.set_typing(room_id, false).await });
        let _runtime = self.client.runtime().enter();
        // Begun here, so that it goes up the stream before what is said of the room next. If it fails, the server forgets by
        // itself.
        if stop.as_mut().now_or_never().is_none() {
            tokio::spawn(stop);
        }
    }
}

impl Client {
    /// Says that the user types in a room. Call it at each key: the server is told every 3 s. It stops by itself 6 s after
    /// the last, and with the user's next message there.
    ///
    /// # Errors
    /// `RoleInsufficient`, `MemberMuted`, `RoomNotFound`, `NotAMember`.
    pub async fn typing(&self, room_id: impl Into<String>) -> Result<(), Error> {
        let room_id = room_id.into();
        if !self.live().typing.due(&room_id) {
            return Ok(());
        }
        let told = self.set_typing(room_id.clone(), true).await;
        if told.is_err() {
            self.live().typing.forget(&room_id);
        }
        told
    }

    /// As [`typing`](Self::typing), and [`stop_typing`](Self::stop_typing) when it is dropped, however that comes about: the
    /// field is closed, the room is left, the task that held it is cancelled. Nothing is said before its first
    /// [`key`](TypingGuard::key).
    ///
    /// ```no_run
    /// # async fn keys() -> Option<char> { None }
    /// # async fn run(client: relay_sdk::Client) -> Result<(), relay_sdk::Error> {
    /// let typing = client.typing_guard("general");
    /// while let Some(_key) = keys().await {
    ///     typing.key().await?;
    /// }
    /// drop(typing); // The field was left without a message.
    /// # Ok(())
    /// # }
    /// ```
    pub fn typing_guard(&self, room_id: impl Into<String>) -> TypingGuard {
        TypingGuard { client: self.clone(), room_id: room_id.into() }
    }

    /// Says that the user does not type in a room any more. Not needed after a message.
    ///
    /// # Errors
    /// As [`typing`](Self::typing).
    pub async fn stop_typing(&self, room_id: impl Into<String>) -> Result<(), Error> {
        let room_id = room_id.into();
        self.live().typing.forget(&room_id);
        self.set_typing(room_id, false).await
    }

    async fn set_typing(&self, room_id: String, typing: bool) -> Result<(), Error> {
        let request = SetTypingRequest { room_id, typing };
        if let Some(answer) = self.say(Up::SetTyping(request.clone())).await {
            return answer;
        }
        // Once: a few seconds later it would not be true any more.
        let set = |request| {
            let mut chat = self.chat();
            async move { chat.set_typing(request).await }
        };
        self.call_once(request, set).await.map(drop)
    }

    /// The user's message ends their typing, so the next key is told at once.
    pub(crate) fn typing_is_over(&self, room_id: &str) {
        self.live().typing.forget(room_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_server_is_told_every_three_seconds_for_each_room() {
        let typing = Typing::default();
        assert!(typing.due("r") && typing.due("s") && !typing.due("r"));
        tokio::time::advance(REFRESH).await;
        assert!(typing.due("r"));
        assert!(typing.forget("r"));
        assert!(typing.due("r"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_forgets_by_itself_after_six_seconds() {
        let typing = Typing::default();
        assert!(!typing.forget("r") && typing.due("r"));
        tokio::time::advance(REFRESH).await;
        assert!(typing.forget("r") && typing.due("r"));
        tokio::time::advance(LASTS).await;
        assert!(!typing.forget("r"));
    }
}
