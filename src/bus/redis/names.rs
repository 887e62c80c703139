//! What channels and keys are called in Redis.

/// Names with the deployment's prefix.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// Of the channel that is published on.
    pub(super) fn channel(&self, channel: &str) -> String {
        format!("{}:{channel}", self.prefix)
    }

    /// Of the list of what was kept.
    pub(super) fn kept(&self, channel: &str) -> String {
        format!("{}:h:{channel}", self.prefix)
    }

    /// The channel that is called `name`.
    pub(super) fn parse<'a>(&self, name: &'a [u8]) -> Option<&'a str> {
        let channel = name.strip_prefix(self.prefix.as_bytes())?.strip_prefix(b":")?;
        std::str::from_utf8(channel).ok()
    }
}

/// What is wrong with a prefix. Braces would put all channels of a cluster on one server.
pub(super) fn prefix_problem(prefix: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    (prefix.is_empty() || prefix.len() > 64 || !prefix.chars().all(allowed))
        .then(|| format!("redis.prefix: {prefix:?} is not 1 to 64 of ASCII letters, digits, - _ . and :"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_channels() {
        let names = Names::new("relay");
        assert_eq!(names.kept("room-1"), "relay:h:room-1");
        assert_eq!(names.parse(names.channel("room-1").as_bytes()), Some("room-1"));
        assert_eq!(names.parse(b"relay2:room-1"), None);
    }

    #[test]
    fn a_prefix_is_plain() {
        assert_eq!(prefix_problem("acme.chat:eu-1_b"), None);
        for wrong in ["", "a b", "{a}", "ä", &"a".repeat(65)] {
            assert!(prefix_problem(wrong).is_some(), "{wrong}");
        }
    }
}
