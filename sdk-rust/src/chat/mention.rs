//! Who is mentioned in a text.

use relay_proto::chat::v1::{Mention, MentionRoom, mention::Target};

/// Whom a mention means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whom {
    User(String),
    Room,
}

/// Adds a mention where `@name` first stands in the text, outside the mentions that are there. Without such a place it adds
/// nothing. Mentions stay in the order of the text, as the contract wants them.
pub(super) fn add(mentions: &mut Vec<Mention>, text: &str, name: &str, whom: Whom) {
    let free = |offset: usize, length: usize| {
        mentions.iter().all(|other| {
            let (begin, end) = (other.offset as usize, (other.offset + other.length) as usize);
            offset + length <= begin || end <= offset
        })
    };
    let Some((offset, length)) = places(text, name).find(|(offset, length)| free(*offset, *length)) else { return };
    let target = match whom {
        Whom::User(user_id) => Target::UserId(user_id),
        Whom::Room => Target::Room(MentionRoom {}),
    };
    // A text that is too long for this is refused by the server in any case.
    let (Ok(offset), Ok(length)) = (u32::try_from(offset), u32::try_from(length)) else { return };
    let at = mentions.partition_point(|other| other.offset < offset);
    mentions.insert(at, Mention { offset, length, target: Some(target) });
}

/// Where `@name` stands as a word of its own, in bytes: `@ann` neither in `@anna` nor in `joe@ann`.
fn places<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
    let starts = text.match_indices('@').map(|(at, _)| at);
    starts.filter(|at| !text[..*at].ends_with(is_word)).filter_map(move |at| {
        let rest = text[at + 1..].strip_prefix(name).filter(|_| !name.is_empty())?;
        let mut after = rest.chars();
        let ends = match after.next() {
            None => true,
            // A full stop or a hyphen ends a name, unless the name goes on behind it.
            Some('.' | '-' | ':' | '|') => !after.next().is_some_and(is_word),
            Some(next) => !is_word(next) && next != '@',
        };
        ends.then_some((at, 1 + name.len()))
    })
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, names: &[&str]) -> Vec<(u32, u32)> {
        let mut mentions = Vec::new();
        names.iter().for_each(|name| add(&mut mentions, text, name, Whom::User((*name).to_owned())));
        mentions.iter().map(|mention| (mention.offset, mention.length)).collect()
    }

    #[test]
    fn a_name_is_found_as_a_word_of_its_own() {
        assert_eq!(found("hi @ana!", &["ana"]), [(3, 4)]);
        assert_eq!(found("@anna and @ana.", &["ana"]), [(10, 4)]);
        assert_eq!(found("joe@ana @ana.b, @ana", &["ana"]), [(16, 4)]);
        assert_eq!(found("héé @zoë", &["zoë"]), [(6, 5)]);
        assert!(found("ana @anas @ana-b @", &["ana", "", "b"]).is_empty());
    }

    #[test]
    fn mentions_stand_in_the_order_of_the_text_and_do_not_meet() {
        assert_eq!(found("@ben @ana @ben", &["ana", "ben", "ben", "ben"]), [(0, 4), (5, 4), (10, 4)]);
    }
}
