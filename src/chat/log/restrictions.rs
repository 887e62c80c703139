//! What holds a sender back beside their role: a mute, a block, slow mode.

use std::{collections::HashSet, time::Duration};

use crate::{
    chat::{
        room::Role,
        store::{self, known::Held},
    },
    clock::Timestamp,
    db::Tx,
    error::{Error, Reason, Result},
    id::{RoomKey, UserKey},
};

/// Refuses a member whom a moderator lets only read.
pub(in crate::chat) fn refuse_muted(muted_until: Option<Timestamp>, now: Timestamp) -> Result<()> {
    match muted_until {
        Some(until) if until > now => {
            let message = "a moderator lets the caller only read for now";
            Err(Error::retryable(Reason::MemberMuted, message, between(now, until)))
        }
        _ => Ok(()),
    }
}

/// Refuses both users of a direct room where one has blocked the other.
pub(in crate::chat) fn refuse_blocked(peer_blocked: bool) -> Result<()> {
    match peer_blocked {
        true => Err(Error::new(Reason::UserBlocked, "one of the two users has blocked the other")),
        false => Ok(()),
    }
}

/// The slow mode in one run of sends: who has sent in it, which the database does not know yet.
#[derive(Default)]
pub(super) struct Pace {
    sent: HashSet<(RoomKey, UserKey)>,
}

impl Pace {
    /// Checks all that holds the sender back.
    pub(super) fn check(
        &self,
        room: &RoomKey,
        sender: &UserKey,
        role: Role,
        held: &Held,
        now: Timestamp,
    ) -> Result<()> {
        refuse_muted(held.muted_until, now)?;
        refuse_blocked(held.peer_blocked)?;
        if !waits(role, held) {
            return Ok(());
        }
        let sent_now = !self.sent.is_empty() && self.sent.contains(&(room.clone(), sender.clone()));
        // Another node's clock may be ahead: nobody waits longer than the room says.
        let last = if sent_now { Some(now) } else { held.last_sent_at.map(|at| at.min(now)) };
        let next = last.map(|at| at.plus(Duration::from_secs(held.slow_mode_seconds.into())));
        match next {
            Some(next) if next > now => {
                let message = format!("the room takes one message of a member in {} s", held.slow_mode_seconds);
                Err(Error::retryable(Reason::SlowMode, message, between(now, next)))
            }
            _ => Ok(()),
        }
    }

    /// The sender's message is written.
    pub(super) fn sent(&mut self, room: &RoomKey, sender: &UserKey, role: Role, held: &Held) {
        if waits(role, held) {
            self.sent.insert((room.clone(), sender.clone()));
        }
    }

    /// Keeps who has sent when, for those who must wait because of it.
    pub(super) async fn save(self, tx: &mut Tx, now: Timestamp) -> Result<()> {
        if self.sent.is_empty() {
            return Ok(());
        }
        let mut sent: Vec<_> = self.sent.into_iter().map(|(room, sender)| (room, sender.user)).collect();
        sent.sort_unstable();
        store::moderation::sent(tx, &sent, now).await
    }
}

/// Whether somebody with this role waits between two messages in the room.
fn waits(role: Role, held: &Held) -> bool {
    held.slow_mode_seconds > 0 && role < Role::Admin
}

fn between(now: Timestamp, then: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(then.0.saturating_sub(now.0)).unwrap_or_default())
}
