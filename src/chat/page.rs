//! Pages of lists, and the tokens that lead from one to the next.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::{
    error::{Error, Reason, Result},
    id::UserId,
};

/// The longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 1_024;
const MAC_BYTES: usize = 16;
/// The most bytes of content on one page: few enough that every client takes it.
const MAX_BYTES: usize = 1 << 20;
/// Parts of a token, and of the list it is for, are joined by a character that no id has.
const SEPARATOR: &str = "\u{1f}";

/// A page of a list.
#[derive(Debug)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one starts; `None` after the last.
    pub next_page_token: Option<String>,
}

/// Makes page tokens and knows its own: a token that was made up, changed or meant for another list is refused.
#[derive(Clone)]
pub struct PageTokens {
    key: [u8; 32],
}

impl<T> Page<T> {
    /// Cuts `items`, of which one more than `limit` was asked for, to a page; `seal` makes a token from its last.
    pub fn cut(mut items: Vec<T>, limit: usize, seal: impl FnOnce(&T) -> String) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next_page_token = items.last().filter(|_| more).map(seal);
        Self { items, next_page_token }
    }
}

impl PageTokens {
    /// Tokens under a key of their own.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// A token that says where `list` goes on.
    pub fn seal(&self, list: &[&str], place: &[&str]) -> String {
        let place = place.join(SEPARATOR);
        let mut bytes = self.mac(list, place.as_bytes()).finalize().into_bytes()[..MAC_BYTES].to_vec();
        bytes.extend_from_slice(place.as_bytes());
        BASE64.encode(bytes)
    }

    /// What a token of `list` says; nothing for the empty token.
    ///
    /// # Errors
    /// PAGE_TOKEN_INVALID.
    pub fn open(&self, token: &str, list: &[&str]) -> Result<Vec<String>> {
        if token.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = (token.len() <= MAX_TOKEN_BYTES).then(|| BASE64.decode(token).ok()).flatten();
        let bytes = bytes.filter(|b| b.len() >= MAC_BYTES).ok_or_else(invalid)?;
        let (mac, place) = bytes.split_at(MAC_BYTES);
        self.mac(list, place).verify_truncated_left(mac).map_err(|_| invalid())?;
        let place = std::str::from_utf8(place).map_err(|_| invalid())?;
        Ok(place.split(SEPARATOR).map(str::to_owned).collect())
    }

    fn mac(&self, list: &[&str], place: &[u8]) -> Hmac<Sha256> {
        // HMAC fills a short key up with zeros to a block of the hash.
        let mut block = [0; 64];
        block[..self.key.len()].copy_from_slice(&self.key);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        for part in list {
            mac.update(part.as_bytes());
            mac.update(SEPARATOR.as_bytes());
        }
        mac.update(b"\0");
        mac.update(place);
        mac
    }
}

impl fmt::Debug for PageTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PageTokens")
    }
}

/// The user after whom a list by user id goes on, as an opened token says it.
///
/// # Errors
/// PAGE_TOKEN_INVALID.
pub(super) fn user(place: &[String]) -> Result<Option<UserId>> {
    match place {
        [] => Ok(None),
        [user] => UserId::parse(user, "page_token").map(Some).map_err(|_| invalid()),
        _ => Err(invalid()),
    }
}

/// How many of these, which weigh so much, fit on a page; at least one.
pub(super) fn fitting<T>(items: &[T], weight: impl Fn(&T) -> usize) -> usize {
    let mut bytes = 0;
    let fits = items.iter().take_while(|item| {
        bytes += weight(item);
        bytes <= MAX_BYTES
    });
    fits.count().max(1)
}

/// The token was not made here for this list.
pub(super) fn invalid() -> Error {
    Error::new(Reason::PageTokenInvalid, "page_token: was not made by this server for this list")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_only_for_its_own_list_and_key() {
        let tokens = PageTokens::new([1; 32]);
        let token = tokens.seal(&["rooms", "p"], &["17", "general"]);
        assert_eq!(tokens.open(&token, &["rooms", "p"]).unwrap(), ["17", "general"]);
        assert_eq!(tokens.open("", &["rooms", "p"]).unwrap(), Vec::<String>::new());
        let mut forged = token.clone().into_bytes();
        forged[3] ^= 1;
        for (token, list) in [
            (token.as_str(), ["rooms", "q"]),
            (&String::from_utf8_lossy(&forged), ["rooms", "p"]),
            ("AAAA", ["rooms", "p"]),
            ("%%%", ["rooms", "p"]),
            (&"A".repeat(4_000), ["rooms", "p"]),
        ] {
            assert_eq!(tokens.open(token, &list).unwrap_err().reason(), Reason::PageTokenInvalid);
        }
        assert!(PageTokens::new([2; 32]).open(&token, &["rooms", "p"]).is_err());
    }
}
