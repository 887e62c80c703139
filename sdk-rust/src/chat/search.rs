//! Messages found by their words.

use prost_types::Timestamp;
use relay_proto::chat::v1::{SearchMessagesRequest, SearchOrder, SearchResult};

use crate::{
    Client, Error,
    page::{self, Items, Page},
};

/// What to find.
///
/// ```
/// use relay_sdk::Search;
///
/// let newest = Search::new("release \"next week\" plan*").room("general");
/// let best = Search::new("invoice").sender("ben").by_rank().page_size(10);
/// # let _ = (newest, best);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Search(SearchMessagesRequest);

impl Search {
    /// Words, all of which must be there; `"several words"` in quotes that must follow each other; `begin*` for words that
    /// begin so. Case and accents do not matter. 1 to 512 bytes, at most 16 words. The newest come first.
    pub fn new(query: impl Into<String>) -> Self {
        Self(SearchMessagesRequest {
            query: query.into(),
            order: SearchOrder::Newest.into(),
            ..SearchMessagesRequest::default()
        })
    }

    /// Only in this room, or in these if called again; at most 50. Without, in all rooms of the user.
    pub fn room(mut self, room_id: impl Into<String>) -> Self {
        self.0.room_ids.push(room_id.into());
        self
    }

    /// Only of this sender, or of these if called again; at most 50. Without, of all.
    pub fn sender(mut self, user_id: impl Into<String>) -> Self {
        self.0.sender_ids.push(user_id.into());
        self
    }

    /// Only messages sent at or after this.
    pub fn sent_after(mut self, time: Timestamp) -> Self {
        self.0.sent_after = Some(time);
        self
    }

    /// Only messages sent before this.
    pub fn sent_before(mut self, time: Timestamp) -> Self {
        self.0.sent_before = Some(time);
        self
    }

    /// The best matches first, among the newest 10,000.
    pub fn by_rank(mut self) -> Self {
        self.0.order = SearchOrder::Rank.into();
        self
    }

    /// How many a page has, 1 to 100. Default: 20.
    pub fn page_size(mut self, messages: i32) -> Self {
        self.0.page_size = messages;
        self
    }

    /// The page to answer with: [`next`](Page::next) of the page before, for the same search.
    pub fn page(mut self, token: impl Into<String>) -> Self {
        self.0.page_token = token.into();
        self
    }
}

impl Client {
    /// Finds a page of messages in the rooms that the user is in, each with the places that match.
    ///
    /// # Errors
    /// `SearchQueryInvalid`, `RoomNotFound`, `NotAMember`, `PageTokenInvalid`, `FieldInvalid`.
    pub async fn search(&self, search: Search) -> Result<Page<SearchResult>, Error> {
        let find = |request| {
            let mut chat = self.chat();
            async move { chat.search_messages(request).await }
        };
        let answer = self.call(search.0, find).await?;
        Ok(Page::new(answer.results, answer.next_page_token))
    }

    /// Finds messages through all pages.
    ///
    /// # Errors
    /// As [`search`](Self::search); an error is the last item.
    pub fn search_all(&self, search: Search) -> Items<SearchResult> {
        let client = self.clone();
        page::all(search.0.page_token.clone(), move |token| {
            let (client, search) = (client.clone(), search.clone().page(token));
            async move { client.search(search).await }
        })
    }
}
