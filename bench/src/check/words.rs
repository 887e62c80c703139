//! What a stream has said of how things are now: cursors of members, and who is there.

use std::collections::{BTreeMap, BTreeSet};

use relay_proto::chat::v1::{MembershipsChanged, PresenceState, ReceiptsChanged, RoomPresence, UserPresence};
use serde::Serialize;

use super::{
    Stage,
    ledger::{Moment, now},
    receipt::{Cursor, Sight, Whence, judge_state},
    violation::Promise,
};

/// A stream told a cursor, and then a lower one.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Setback {
    pub(super) before: Sight,
    pub(super) after: Sight,
}

/// The words of the stream that is open; setbacks and counts are of all before it, too.
#[derive(Default, Serialize)]
pub(super) struct Words {
    /// Since when it is open. None: it is not.
    pub(super) since: Option<Moment>,
    /// It was opened to watch presence.
    pub(super) watches: bool,
    #[serde(skip)]
    cursors: BTreeMap<(String, String), Sight>,
    /// Rooms of which it did not tell all cursors.
    partial: BTreeSet<String>,
    /// State and version of users.
    presence: BTreeMap<String, (i32, u64)>,
    /// Rooms of which it has said who is there.
    watched: BTreeSet<String>,
    pub(super) setbacks: Vec<Setback>,
    /// How often it was told somebody's presence.
    pub(super) presences: usize,
}

/// What every stream must have said in the end.
#[derive(Clone, Debug, Default)]
pub(super) struct LastWords {
    /// Cursors by room and user.
    pub(super) cursors: BTreeMap<String, BTreeMap<String, Due>>,
    /// The presence of users, as [`PresenceState`].
    pub(super) presence: BTreeMap<String, i32>,
}

/// A cursor as it is in the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) cursor: Cursor,
    /// It was not there before this. Streams that were open then are told.
    pub(super) moved: Moment,
}

impl Words {
    /// A stream is about to be opened: what an earlier one said does not count.
    pub(super) fn begin_anew(&mut self) {
        self.since = None;
        self.cursors.clear();
        self.partial.clear();
        self.presence.clear();
        self.watched.clear();
    }

    /// It is open.
    pub(super) fn opened(&mut self) {
        self.since = Some(now());
    }

    /// It told cursors of a room. `at`: who hears it, and where.
    pub(super) fn receipts(&mut self, stage: &Stage, (at, node): (&str, usize), changed: ReceiptsChanged) {
        if changed.partial {
            self.partial.insert(changed.room_id.clone());
        }
        if changed.receipts.len() > 100 {
            let what = format!("{at}: {} receipts in one frame", changed.receipts.len());
            stage.violations.add(Promise::Contract, what);
        }
        for receipt in changed.receipts {
            let (told, cursor) = (now(), Cursor::from(&receipt));
            let (user, room) = (receipt.user_id, changed.room_id.clone());
            self.sight(stage, Sight { user, room, cursor, asked: told, told, whence: Whence::Stream, node });
        }
    }

    fn sight(&mut self, stage: &Stage, sight: Sight) {
        stage.receipts.told(&sight);
        let before = self.cursors.insert((sight.room.clone(), sight.user.clone()), sight.clone());
        let Some(before) = before else { return };
        if !sight.cursor.reaches(before.cursor) {
            let place = (sight.room.clone(), sight.user.clone());
            let highest = Sight { cursor: before.cursor.or(sight.cursor), ..sight.clone() };
            self.cursors.insert(place, highest);
            self.setbacks.push(Setback { before, after: sight });
        }
    }

    /// It told how its user stands in rooms.
    pub(super) fn memberships(&mut self, stage: &Stage, at: &str, changed: &MembershipsChanged) {
        for state in &changed.memberships {
            judge_state(&format!("{at}: memberships"), state, &stage.violations);
        }
    }

    /// It told who of a room is there.
    pub(super) fn room_presence(&mut self, stage: &Stage, at: &str, told: RoomPresence) {
        let present = told.present.len();
        if told.sample || present as u32 != told.present_count {
            let what = format!("{at}: {} of {} in {} are told", present, told.present_count, told.room_id);
            stage.violations.add(Promise::Contract, what);
        }
        self.watched.insert(told.room_id);
        for one in told.present {
            if one.state() == PresenceState::Offline {
                stage.violations.add(Promise::Contract, format!("{at}: {one:?} is told as present"));
            }
            self.presence(one);
        }
    }

    /// It told the presence of a user.
    pub(super) fn presence(&mut self, told: UserPresence) {
        self.presences += 1;
        let known = self.presence.entry(told.user_id).or_insert((told.state, told.version));
        if known.1 <= told.version {
            *known = (told.state, told.version);
        }
    }

    /// What it has not said yet to `user`, who is in some rooms. None: it has said all.
    pub(super) fn lacks(
        &self,
        last: &LastWords,
        user: &str,
        rooms: &BTreeMap<String, BTreeSet<String>>,
    ) -> Option<String> {
        let Some(since) = self.since else { return self.watches.then(|| "its stream is not open".into()) };
        for (room, members) in rooms {
            let dues = last.cursors.get(room);
            for (member, due) in dues.into_iter().flatten().filter(|(member, _)| *member != user) {
                let told = self.cursors.get(&(room.clone(), member.clone())).map(|sight| sight.cursor);
                // Words about what was before may still come to a younger one.
                let is_older = since < due.moved;
                let reached = told.is_some_and(|told| told.reaches(due.cursor));
                if is_older && !reached && !self.partial.contains(room) {
                    return Some(format!("of {member} in {room} it was told {told:?}; it is {due:?}"));
                }
            }
            if !self.watches {
                continue;
            }
            if !self.watched.contains(room) {
                return Some(format!("it was not told who of {room} is there"));
            }
            for member in members.iter().filter(|member| *member != user) {
                let Some(state) = last.presence.get(member) else { continue };
                let told = self.presence.get(member).map_or(PresenceState::Offline.into(), |(state, _)| *state);
                if told != *state {
                    return Some(format!("it was told that {member} is in state {told}; it is {state}"));
                }
            }
        }
        None
    }
}
