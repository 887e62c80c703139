//! Who follows what: sessions come to topics and go, told as it happens, whatever order the news come in.

use std::sync::Arc;

use bytes::Bytes;

use super::{Behind, Hub, Session, SessionId, Topic, channel::Channel, names, session::Follows};
use crate::id::UserKey;

/// What [`Hub::follow_behind`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// The session follows the topic, in whose channel all that happens was published before.
    Known,
    /// The session follows the topic, of which this node knew nothing: what happened since it was looked up may not have
    /// been published here.
    New,
    /// The session followed it already, or its user has lost it since.
    Not,
}

impl Hub {
    /// A session that is being opened is about to look up what its user follows.
    pub fn look(&self, session: &Session) {
        if let Some(opening) = &mut session.follows.lock().opening {
            opening.joined = false;
        }
    }

    /// Lets a session that is being opened follow a topic that its user had at position `since`, behind at `cursor`.
    pub fn follow_behind(&self, session: &Arc<Session>, topic: &Topic, cursor: u64, since: u64) -> Followed {
        let mut follows = session.follows.lock();
        let lost = follows.opening.as_ref().and_then(|opening| opening.lost.get(topic)).copied();
        if follows.closed || lost.is_some_and(|lost| lost > since) || follows.topics.contains_key(topic) {
            return Followed::Not;
        }
        follows.topics.insert(topic.clone(), since);
        let at = Behind { cursor, until: Some(since) };
        match self.in_channel(topic, |channel| channel.add(session, at)) {
            true => Followed::Known,
            false => Followed::New,
        }
    }

    /// Whether a session follows a topic.
    pub fn follows(&self, session: &Session, topic: &Topic) -> bool {
        session.follows.lock().topics.contains_key(topic)
    }

    /// All topics that a session follows.
    pub fn followed(&self, session: &Session) -> Vec<Topic> {
        session.follows.lock().topics.keys().cloned().collect()
    }

    /// Queues what `frames` makes of which topics a session follows. Nothing changes meanwhile.
    pub fn tell(&self, session: &Session, frames: impl FnOnce(&dyn Fn(&Topic) -> bool) -> Vec<Bytes>) {
        let follows = session.follows.lock();
        for frame in frames(&|topic| follows.topics.contains_key(topic)) {
            session.push(frame);
        }
    }

    /// The opening is over, unless the user got a topic since the session looked: `false`, look again.
    pub fn opened(&self, session: &Session) -> bool {
        let mut follows = session.follows.lock();
        let done = follows.opening.as_ref().is_none_or(|opening| !opening.joined);
        if done {
            follows.opening = None;
        }
        done
    }

    /// Lets all sessions of a user, who got it at `position`, follow a topic from there on; those that did not before are
    /// told by `joined`. With `next`, the event of that position is published next, and they are live from it on; else
    /// they are served from the log, once it says that the user has the topic. Those that are being opened find it by
    /// themselves, with what their client holds.
    pub fn follow(&self, owner: &UserKey, topic: &Topic, position: u64, joined: &Bytes, next: bool) {
        for session in self.of(owner) {
            {
                let mut follows = session.follows.lock();
                if follows.closed || follows.topics.contains_key(topic) {
                    continue;
                }
                if let Some(opening) = &mut follows.opening {
                    opening.joined = true;
                    continue;
                }
                follows.topics.insert(topic.clone(), position);
                session.push(joined.clone());
                let at = Behind { cursor: position - 1, until: None };
                let live = self.in_channel(topic, |channel| match next {
                    true => channel.join(&session, position),
                    false => channel.add(&session, at).map(|_| false),
                });
                if live {
                    continue;
                }
                session.mark_behind(topic.clone());
            }
            self.catch_up(session);
        }
    }

    /// The user of a session is known to have a topic as of `position`: what is told of losses before is old news.
    pub fn vouch(&self, session: &Session, topic: &Topic, position: u64) {
        if let Some(since) = session.follows.lock().topics.get_mut(topic) {
            *since = position.max(*since);
        }
    }

    /// Takes all sessions of a user, who lost it at `position`, off a topic; those that followed it are told by `left`. One
    /// that knows that the user has it again stays.
    pub fn unfollow(&self, owner: &UserKey, topic: &Topic, position: u64, left: &Bytes) {
        for session in self.of(owner) {
            self.take_off(&session, topic, position, left);
        }
    }

    /// Takes everybody off a topic that ends, and tells them by `left`.
    pub fn dissolve(&self, topic: &Topic, left: &Bytes) {
        // Once more for those who came meanwhile, with what they had looked up before.
        for _ in 0..2 {
            let channel = self.channels.read().get(topic).cloned();
            for session in channel.iter().flat_map(|channel| channel.sessions()) {
                self.take_off(&session, topic, u64::MAX, left);
            }
        }
    }

    fn take_off(&self, session: &Session, topic: &Topic, position: u64, left: &Bytes) {
        let mut follows = session.follows.lock();
        if let Some(opening) = &mut follows.opening {
            // The newest counts: news of an older loss may come later, from what Redis kept or what was read again.
            let lost = opening.lost.entry(topic.clone()).or_default();
            *lost = position.max(*lost);
        }
        if follows.topics.get(topic).is_some_and(|since| *since < position) {
            self.drop_topic(session, &mut follows, topic, left);
        }
    }

    /// Takes a session off a topic on which it is still behind at `cursor`, and tells it by `left`: the log says that the
    /// user has lost it, and nothing newer has been heard.
    pub fn take_off_behind(&self, session: &Session, topic: &Topic, cursor: u64, left: &Bytes) {
        let mut follows = session.follows.lock();
        if self.behind(session, topic).is_some_and(|behind| behind.cursor == cursor) {
            self.drop_topic(session, &mut follows, topic, left);
        }
    }

    fn drop_topic(&self, session: &Session, follows: &mut Follows, topic: &Topic, left: &Bytes) {
        follows.topics.remove(topic);
        // First off the channel: what is being read for it just now must not come after the word that it is over.
        self.leave_channel(topic, session.id());
        session.push(left.clone());
    }

    /// Does something with the topic's channel, which is made if there is none.
    fn in_channel<T>(&self, topic: &Topic, act: impl Fn(&Channel) -> Option<T>) -> T {
        loop {
            let channel = self.channels.read().get(topic).cloned();
            let channel = channel.unwrap_or_else(|| {
                self.channels.write().entry(topic.clone()).or_insert_with(|| self.new_channel(topic)).clone()
            });
            if let Some(done) = act(&channel) {
                return done;
            }
        }
    }

    /// Under the lock of all channels, as the end of one is: so the last word to the bus is the true one.
    fn new_channel(&self, topic: &Topic) -> Arc<Channel> {
        self.bus.watch(names::of_topic(topic));
        Arc::default()
    }

    pub(super) fn leave_channel(&self, topic: &Topic, session: SessionId) {
        // Under the write lock, so that nobody joins a channel that is on its way out.
        let mut channels = self.channels.write();
        if channels.get(topic).is_some_and(|channel| channel.remove(session)) {
            channels.remove(topic);
            self.bus.unwatch(&names::of_topic(topic));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        bus::LocalBus,
        clock::Timestamp,
        hub::HubOptions,
        id::{ProjectId, UserId},
    };

    #[test]
    fn an_old_loss_does_not_hide_a_newer_one_from_a_session_that_is_being_opened() {
        let options = HubOptions {
            queue_bytes: 1_000,
            max_streams_per_user: 1,
            heartbeat_interval: Duration::from_secs(15),
            renew_warning: Duration::from_secs(60),
        };
        let hub = Hub::new(options, Arc::new(LocalBus::Alone));
        let project = ProjectId::stored("p".into());
        let ana = UserKey { project: project.clone(), user: UserId::stored("ana".into()) };
        let now = Timestamp::from_seconds(1_000);
        let session = hub.open(ana.clone(), now, now, |_| Bytes::new()).unwrap();
        let topic = Topic { project, name: "r".into() };
        hub.look(&session);
        hub.unfollow(&ana, &topic, 40, &Bytes::new());
        hub.unfollow(&ana, &topic, 20, &Bytes::new());
        assert_eq!(hub.follow_behind(&session, &topic, 30, 30), Followed::Not);
        assert_eq!(hub.follow_behind(&session, &topic, 50, 50), Followed::New, "they have it again");
    }
}
