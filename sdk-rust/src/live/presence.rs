//! Who is there: what the user says of themselves, and of whom they want to know.

use std::sync::{Mutex, MutexGuard, PoisonError};

use relay_proto::chat::v1::{
    ConnectRequest, GetPresenceRequest, PresenceState, SetPresenceRequest, UserPresence, WatchPresence,
    connect_request::Frame as Up,
};

use crate::{Client, Error};

/// What holds for all streams of a client, those that are yet to be opened too.
#[derive(Default)]
pub(crate) struct Presence(Mutex<State>);

#[derive(Default)]
struct State {
    away: bool,
    watched: Vec<String>,
}

impl Presence {
    /// What a new stream is to watch.
    pub(crate) fn watched(&self) -> Option<WatchPresence> {
        let room_ids = self.state().watched.clone();
        (!room_ids.is_empty()).then_some(WatchPresence { room_ids })
    }

    /// What a new stream is to say: it counts as in use unless it says otherwise.
    pub(crate) fn first_word(&self) -> Option<ConnectRequest> {
        self.state().away.then(|| frame(set(PresenceState::Away)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Reads the presence of 1 to 100 users who share a room with the user, and of the user. Of others there is no word.
    ///
    /// # Errors
    /// `FieldInvalid`.
    pub async fn get_presence<U: Into<String>>(
        &self,
        user_ids: impl IntoIterator<Item = U>,
    ) -> Result<Vec<UserPresence>, Error> {
        let user_ids = user_ids.into_iter().map(Into::into).collect();
        let get = |request| {
            let mut presence = self.presence();
            async move { presence.get_presence(request).await }
        };
        Ok(self.call(GetPresenceRequest { user_ids }, get).await?.presences)
    }

    /// Says that this device is not in use, or is again. It holds for the event streams of this client, now and after each
    /// reconnect; without one, the user is not there at all.
    pub async fn set_away(&self, away: bool) {
        self.live().presence.state().away = away;
        let state = if away { PresenceState::Away } else { PresenceState::Online };
        self.tell_streams(set(state)).await;
    }

    /// Sets what the user says of themselves, at most 256 bytes without control characters; empty takes it away. It stays
    /// when they go offline.
    ///
    /// # Errors
    /// `FieldInvalid`.
    pub async fn set_status_text(&self, text: impl Into<String>) -> Result<(), Error> {
        let request = SetPresenceRequest { status_text: Some(text.into()), ..SetPresenceRequest::default() };
        if let Some(answer) = self.say(Up::SetPresence(request.clone())).await {
            return answer;
        }
        let set = |request| {
            let mut presence = self.presence();
            async move { presence.set_presence(request).await }
        };
        self.call(request, set).await.map(drop)
    }

    /// Watches the presence of the members of these rooms, at most 100, in place of those before. The event streams of this
    /// client yield [`RoomPresence`](crate::Event::RoomPresence) for each, at once and after each reconnect, and then
    /// [`Presence`](crate::Event::Presence) for each change. A room that the user joins later is watched from then on.
    pub async fn watch_presence<R: Into<String>>(&self, room_ids: impl IntoIterator<Item = R>) {
        let room_ids: Vec<_> = room_ids.into_iter().map(Into::into).collect();
        self.live().presence.state().watched.clone_from(&room_ids);
        self.tell_streams(Up::WatchPresence(WatchPresence { room_ids })).await;
    }

    /// The user has joined a room. If it is to be watched, the server is told again.
    pub(crate) fn joined_watched(&self, room_id: &str) {
        let watched = self.live().presence.watched().filter(|watch| watch.room_ids.iter().any(|id| id == room_id));
        if let Some(watch) = watched {
            let client = self.clone();
            self.runtime().spawn(async move { client.tell_streams(Up::WatchPresence(watch)).await });
        }
    }

    /// Says something on each open stream. One that ends meanwhile says it with its successor.
    async fn tell_streams(&self, word: Up) {
        for stream in self.live().uplink.streams() {
            let _ = stream.send(frame(word.clone())).await;
        }
    }
}

fn set(state: PresenceState) -> Up {
    Up::SetPresence(SetPresenceRequest { state: state.into(), ..SetPresenceRequest::default() })
}

fn frame(word: Up) -> ConnectRequest {
    ConnectRequest { request_id: String::new(), frame: Some(word) }
}
