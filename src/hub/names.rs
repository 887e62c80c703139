//! What topics and users are called on the bus.

use std::sync::Arc;

use super::Topic;
use crate::{
    bus::Channel,
    id::{ProjectId, UserKey},
};

/// What a channel of the bus is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A topic.
    Topic(Topic),
    /// A user's sessions.
    User,
    /// Something else.
    Other,
}

/// The channel of a topic.
pub fn of_topic(topic: &Topic) -> Channel {
    format!("r/{}/{}", topic.project, topic.name).into()
}

/// The channel of a user.
pub fn of_user(user: &UserKey) -> Channel {
    format!("u/{}/{}", user.project, user.user).into()
}

/// The channel of a node.
pub fn of_node(node: uuid::Uuid) -> Channel {
    format!("n/{node}").into()
}

/// What a channel is about. Names have no slashes.
pub fn subject(channel: &str) -> Subject {
    let mut parts = channel.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("r"), Some(project), Some(name)) => {
            Subject::Topic(Topic { project: ProjectId::stored(project.to_owned()), name: Arc::from(name) })
        }
        (Some("u"), Some(_), Some(_)) => Subject::User,
        _ => Subject::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UserId;

    #[test]
    fn channels_are_told_apart() {
        let project = ProjectId::stored("p".into());
        let topic = Topic { project: project.clone(), name: "a:b".into() };
        assert_eq!(subject(&of_topic(&topic)), Subject::Topic(topic));
        assert_eq!(subject(&of_user(&UserKey { project, user: UserId::stored("x|y@z".into()) })), Subject::User);
        assert_eq!(subject("n/1"), Subject::Other);
    }
}
