//! Who types says so again and again; the server hears of it every few seconds.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use relay_proto::chat::v1::{SetTypingRequest, connect_request::Frame as Up};
use tokio::time::Instant;

use crate::{Client, Error};

/// How long the server need not be told again. It forgets after 6 s.
const REFRESH: Duration = Duration::from_secs(3);

/// When the server was last told, by room. Only rooms of the last seconds.
#[derive(Default)]
pub(super) struct Typing(Mutex<HashMap<String, Instant>>);

impl Typing {
    /// Whether the server is to be told.
    fn due(&self, room_id: &str) -> bool {
        let now = Instant::now();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.duration_since(*at) < REFRESH);
        if told.contains_key(room_id) {
            return false;
        }
        told.insert(room_id.to_owned(), now);
        true
    }

    /// The next time, the server is told at once.
    fn forget(&self, room_id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(room_id);
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
        typing.forget("r");
        assert!(typing.due("r"));
    }
}
