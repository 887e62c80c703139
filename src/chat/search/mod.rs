//! Searching: what was said, in all rooms of the caller or in some.
//!
//! | file        | job                                                                  |
//! |-------------|----------------------------------------------------------------------|
//! | `fold`      | characters: which are words, and how they look without case and accents |
//! | `terms`     | texts to terms: one tokenizer for both databases                      |
//! | `query`     | what callers write to what is searched for                            |
//! | `indexer`   | messages to the index, beside the sends                               |
//! | `walk`      | the newest matches of what is common                                  |
//! | `highlight` | what in a text matches                                                |

mod fold;
mod highlight;
mod indexer;
mod query;
mod terms;
mod walk;

use std::collections::HashMap;

pub use highlight::{Highlight, MAX_HIGHLIGHTS};
pub(super) use indexer::reflect;
pub use indexer::{Indexer, IndexerOptions};
pub use query::{MAX_QUERY_BYTES, MAX_QUERY_WORDS};
pub(super) use query::{Part, Query};
pub(super) use terms::Term;
#[cfg(test)]
pub(super) use terms::terms;
use walk::{Walk, Walked};

use super::{
    Chat,
    log::not_a_member,
    message::Message,
    page::{self, Page},
    policy::{self, Action},
    store::search::{self as store, Place, Searched, Wanted},
};
use crate::{
    clock::Timestamp,
    error::{Error, Result},
    id::{RoomId, UserId, UserKey},
};

/// The most rooms, and the most senders, that a search names.
pub const MAX_NAMED: usize = 50;
/// The best are looked for among so many.
const RANKED: usize = 3_000;
/// Of how many messages a search finds one, where nothing is known of it.
const SHARE: f64 = 0.01;
/// The most bytes of content on one page.
const MAX_PAGE_BYTES: usize = 1 << 20;
/// Before and after everything: the years 1 and 9999.
const MIN_TIME: Timestamp = Timestamp(-62_135_596_800_000_000);
const MAX_TIME: Timestamp = Timestamp(253_402_300_800_000_000);

/// What to search for.
#[derive(Clone, Debug)]
pub struct Search {
    /// As the caller wrote it.
    pub query: String,
    /// Only in these rooms; empty: in all of the caller's.
    pub rooms: Vec<RoomId>,
    /// Only of these senders; empty: of all.
    pub senders: Vec<UserId>,
    /// Only what was sent at or after this.
    pub from: Option<Timestamp>,
    /// Only what was sent before this.
    pub until: Option<Timestamp>,
    /// The best first, instead of the newest.
    pub by_rank: bool,
}

/// A message that was found.
#[derive(Debug)]
pub struct Hit {
    /// Where.
    pub room: RoomId,
    /// What, as it is now.
    pub message: Message,
    /// What in its text matches.
    pub highlights: Vec<Highlight>,
}

/// Where a page stands among the results.
enum Results {
    Newest(Vec<Place>),
    /// Of what was there when the first page was asked for: what came since would move the pages.
    Best(Vec<store::Rank>, Timestamp),
}

impl Chat {
    /// A page of the messages that match, in rooms that the caller is a member of.
    ///
    /// # Errors
    /// SEARCH_QUERY_INVALID, FIELD_INVALID, PAGE_TOKEN_INVALID, ROOM_NOT_FOUND, NOT_A_MEMBER; OVERLOADED while very many
    /// messages are not indexed yet.
    pub async fn search_messages(
        &self,
        caller: &UserKey,
        search: &Search,
        limit: usize,
        token: &str,
    ) -> Result<Page<Hit>> {
        let query = Query::parse(&search.query)?;
        let parts = search.parts(caller);
        let list: Vec<&str> = parts.iter().map(String::as_str).collect();
        let place = self.pages().open(token, &list)?;
        let mut rooms = self.searched_rooms(caller, search).await?;
        if self.bring_up(caller, &rooms).await? {
            // How new the newest is, now that all of it is indexed.
            rooms = self.searched_rooms(caller, search).await?;
        }
        let ids: Vec<RoomId> = rooms.iter().map(|room| room.room.clone()).collect();
        if ids.is_empty() {
            return Ok(Page { items: Vec::new(), next_page_token: None });
        }
        let mut wanted = Wanted {
            project: &caller.project,
            query: &query,
            rooms: &ids,
            senders: &search.senders,
            from: search.from.unwrap_or(MIN_TIME).max(MIN_TIME),
            until: search.until.unwrap_or(MAX_TIME).min(MAX_TIME),
        };
        let results = match search.by_rank {
            true => self.best(&mut wanted, &rooms, &place, limit + 1).await?,
            false => Results::Newest(self.newest(&wanted, &rooms, &place, limit + 1).await?),
        };
        let hits = self.load(caller, &query, &results, limit).await?;
        Ok(Page {
            items: hits.0,
            next_page_token: hits.1.map(|next| {
                let next: Vec<&str> = next.iter().map(String::as_str).collect();
                self.pages().seal(&list, &next)
            }),
        })
    }

    /// The rooms to search; the caller is a member of each.
    async fn searched_rooms(&self, caller: &UserKey, search: &Search) -> Result<Vec<Searched>> {
        if search.rooms.is_empty() {
            return store::joined(self.db(), caller).await;
        }
        let mut found: HashMap<RoomId, Searched> = store::named(self.db(), caller, &search.rooms)
            .await?
            .into_iter()
            .map(|room| (room.room.clone(), room))
            .collect();
        let mut rooms = Vec::with_capacity(found.len());
        for id in &search.rooms {
            match found.remove(id) {
                Some(room) => {
                    policy::require(room.role.ok_or_else(|| not_a_member(room.kind))?, Action::Read)?;
                    rooms.push(room);
                }
                None if rooms.iter().any(|room| room.room == *id) => {}
                None => return Err(Error::room_not_found()),
            }
        }
        Ok(rooms)
    }

    /// Has what was written before this call indexed; answers whether anything was not.
    async fn bring_up(&self, caller: &UserKey, rooms: &[Searched]) -> Result<bool> {
        let behind = rooms.iter().filter(|room| room.indexed_seq < room.last_seq);
        let behind: Vec<_> =
            behind.map(|room| (caller.room(room.room.clone()), room.indexed_seq, room.last_seq)).collect();
        if behind.is_empty() {
            return Ok(false);
        }
        self.indexer().reach(behind).await?;
        Ok(true)
    }

    async fn newest(
        &self,
        wanted: &Wanted<'_>,
        rooms: &[Searched],
        place: &[String],
        limit: usize,
    ) -> Result<Vec<Place>> {
        let before = match place {
            [] => Place { sent_at: wanted.until, room: RoomId::stored(String::new()), seq: 0 },
            [at, room, seq] => read_place(at, room, seq)?,
            _ => return Err(page::invalid()),
        };
        let newest: Vec<Timestamp> = rooms.iter().map(|room| room.newest_at).collect();
        match Walk::new(wanted, &newest, &before, messages_of(rooms)).newest(self.db(), limit).await? {
            Walked::Found(found) => Ok(found),
            Walked::TooFar(share) => {
                let by_room = store::by_room(self.db(), rooms.len(), messages_of(rooms), share).await?;
                store::newest(self.db(), wanted, by_room, &before, limit).await
            }
        }
    }

    async fn best(
        &self,
        wanted: &mut Wanted<'_>,
        rooms: &[Searched],
        place: &[String],
        limit: usize,
    ) -> Result<Results> {
        let number = |text: &str| text.parse::<i64>().map_err(|_| page::invalid());
        let (after, as_of) = match place {
            [] => (None, rooms.iter().map(|room| room.newest_at).max().unwrap_or(MAX_TIME)),
            [as_of, score, at, room, seq] => {
                (Some((number(score)?, read_place(at, room, seq)?)), Timestamp(number(as_of)?))
            }
            _ => return Err(page::invalid()),
        };
        wanted.until = wanted.until.min(Timestamp(as_of.0.saturating_add(1)));
        let by_room = store::by_room(self.db(), rooms.len(), messages_of(rooms), SHARE).await?;
        let best = store::best(self.db(), wanted, by_room, RANKED, after.as_ref(), limit).await?;
        Ok(Results::Best(best, as_of))
    }

    /// The messages of a page, and the place of its last if there are more.
    async fn load(
        &self,
        caller: &UserKey,
        query: &Query,
        results: &Results,
        limit: usize,
    ) -> Result<(Vec<Hit>, Option<Vec<String>>)> {
        let places: Vec<&Place> = match results {
            Results::Newest(places) => places.iter().collect(),
            Results::Best(ranks, _) => ranks.iter().map(|(_, place)| place).collect(),
        };
        let (mut more, shown) = (places.len() > limit, places.len().min(limit));
        let found = store::messages(self.db(), &caller.project, &places[..shown]).await?;
        let mut found: HashMap<_, _> =
            found.into_iter().map(|(room, message)| ((room, message.seq), message)).collect();
        let (mut hits, mut last, mut bytes) = (Vec::with_capacity(shown), shown, 0);
        for (i, place) in places.iter().enumerate().take(shown) {
            // What was changed since it was found may not match any more.
            let Some(message) = found.remove(&(place.room.clone(), place.seq)) else { continue };
            let Some(highlights) = highlight::highlights(query, &message.content.text) else { continue };
            bytes += message.content.weight();
            if bytes > MAX_PAGE_BYTES && !hits.is_empty() {
                (more, last) = (true, i);
                break;
            }
            hits.push(Hit { room: place.room.clone(), message, highlights });
        }
        let next = last.checked_sub(1).filter(|_| more).and_then(|last| results.place(last));
        Ok((hits, next))
    }
}

impl Results {
    /// What a page token says after the result of this number.
    fn place(&self, number: usize) -> Option<Vec<String>> {
        let of = |place: &Place| [place.sent_at.0.to_string(), place.room.to_string(), place.seq.to_string()];
        match self {
            Self::Newest(places) => Some(of(places.get(number)?).to_vec()),
            Self::Best(ranks, as_of) => {
                let (score, place) = ranks.get(number)?;
                Some([as_of.0.to_string(), score.to_string()].into_iter().chain(of(place)).collect())
            }
        }
    }
}

impl Search {
    /// All that makes it this search: a page token holds for no other.
    fn parts(&self, caller: &UserKey) -> Vec<String> {
        let time = |time: Option<Timestamp>| time.map_or_else(String::new, |time| time.0.to_string());
        let names = |names: Vec<&str>| names.join(" ");
        vec![
            "search".into(),
            caller.project.to_string(),
            caller.user.to_string(),
            self.query.clone(),
            names(self.rooms.iter().map(RoomId::as_str).collect()),
            names(self.senders.iter().map(UserId::as_str).collect()),
            time(self.from),
            time(self.until),
            self.by_rank.to_string(),
        ]
    }
}

/// How many messages the rooms have, about.
fn messages_of(rooms: &[Searched]) -> u64 {
    rooms.iter().map(|room| room.last_seq).sum()
}

fn read_place(at: &str, room: &str, seq: &str) -> Result<Place> {
    let number = |text: &str| text.parse::<i64>().map_err(|_| page::invalid());
    let room = RoomId::parse(room, "page_token").map_err(|_| page::invalid())?;
    Ok(Place { sent_at: Timestamp(number(at)?), room, seq: number(seq)?.unsigned_abs() })
}
