//! Who watches what: of the topics that a session follows, those whose states of another kind it asked for.

use std::sync::atomic::Ordering;

use super::{Hub, Session, State, Topic, session::Follows};

impl Hub {
    /// Lets a session watch those of the topics that it follows, in place of what it watched before. Answers which. It ends
    /// with the following.
    pub fn watch(&self, session: &Session, topics: Vec<Topic>) -> Vec<Topic> {
        let mut follows = session.follows.lock();
        if !follows.has_watched {
            follows.early = Some(topics.clone());
        }
        self.replace_watched(session, &mut follows, topics)
    }

    /// The same as its opening asked for; what its client has asked for since counts instead.
    pub fn watch_at_opening(&self, session: &Session, topics: Vec<Topic>) -> Vec<Topic> {
        let mut follows = session.follows.lock();
        follows.has_watched = true;
        let topics = follows.early.take().unwrap_or(topics);
        self.replace_watched(session, &mut follows, topics)
    }

    fn replace_watched(&self, session: &Session, follows: &mut Follows, topics: Vec<Topic>) -> Vec<Topic> {
        let before = std::mem::take(&mut follows.watched);
        for topic in &before {
            self.set_watching(session, topic, false);
        }
        let watched: Vec<Topic> = topics.into_iter().filter(|t| follows.topics.contains_key(t)).collect();
        for topic in &watched {
            self.set_watching(session, topic, true);
        }
        match (before.is_empty(), watched.is_empty()) {
            (true, false) => drop(self.watching.fetch_add(1, Ordering::Relaxed)),
            (false, true) => drop(self.watching.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
        follows.watched = watched.clone().into();
        watched
    }

    fn set_watching(&self, session: &Session, topic: &Topic, watches: bool) {
        let channel = self.channels.read().get(topic).cloned();
        if let Some(channel) = channel {
            channel.set_watching(session.id(), watches);
        }
    }

    /// Whether anybody here watches anything.
    pub fn anybody_watches(&self) -> bool {
        self.watching.load(Ordering::Relaxed) > 0
    }

    /// Whether anybody here watches a topic.
    pub fn is_watched(&self, topic: &Topic) -> bool {
        let channel = self.channels.read().get(topic).cloned();
        channel.is_some_and(|channel| channel.is_watched())
    }

    /// Tells all who watch `topic` here how some things are now. `false`: for some of them it was left out, because too much
    /// waits.
    pub fn tell_watchers(&self, topic: &Topic, states: &[State]) -> bool {
        let channel = self.channels.read().get(topic).cloned();
        channel.is_none_or(|channel| channel.tell_watchers(states))
    }
}
