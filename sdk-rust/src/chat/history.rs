//! The messages of a room, listed.

use relay_proto::chat::v1::{ListDirection, ListMessagesRequest, Message};

use crate::{
    Client, Error,
    page::{self, Items, Page},
};

/// Which messages of a room to list.
///
/// ```
/// use relay_sdk::History;
///
/// let newest = History::older("general").page_size(20);
/// let from_the_first = History::newer("general");
/// let before_100 = History::older("general").start(99);
/// # let _ = (newest, from_the_first, before_100);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct History(ListMessagesRequest);

impl History {
    /// From the newest message to the oldest.
    pub fn older(room_id: impl Into<String>) -> Self {
        Self::of(room_id.into(), ListDirection::Older)
    }

    /// From the first message to the newest.
    pub fn newer(room_id: impl Into<String>) -> Self {
        Self::of(room_id.into(), ListDirection::Newer)
    }

    /// The seq to start at, itself included, in place of the end of the room.
    pub fn start(mut self, seq: u64) -> Self {
        self.0.start_seq = seq;
        self
    }

    /// How many messages a page has, 1 to 200. Default: 50. A page ends early once it holds 1 MiB of content.
    pub fn page_size(mut self, messages: i32) -> Self {
        self.0.page_size = messages;
        self
    }

    /// The page to answer with: [`next`](HistoryPage::next) of the page before, for the same room and direction.
    pub fn page(mut self, token: impl Into<String>) -> Self {
        self.0.page_token = token.into();
        self
    }

    fn of(room_id: String, direction: ListDirection) -> Self {
        Self(ListMessagesRequest { room_id, direction: direction.into(), ..ListMessagesRequest::default() })
    }
}

/// A page of a room's messages.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct HistoryPage {
    /// The messages in the direction asked for, with their reactions; deleted ones as tombstones.
    pub messages: Vec<Message>,
    /// What asks for the page after this one. `None`: this was the last.
    pub next: Option<String>,
    /// A position of the room that these messages are at least as new as: [`events_from`](Client::events_from) with it
    /// misses nothing.
    pub position: u64,
}

impl Client {
    /// Lists a page of a room's messages.
    ///
    /// # Errors
    /// `RoomNotFound`, `NotAMember`, `PageTokenInvalid`, `FieldInvalid`.
    pub async fn history(&self, history: History) -> Result<HistoryPage, Error> {
        let list = |request| {
            let mut chat = self.chat();
            async move { chat.list_messages(request).await }
        };
        let answer = self.call(history.0, list).await?;
        let Page { items, next } = Page::new(answer.messages, answer.next_page_token);
        Ok(HistoryPage { messages: items, next, position: answer.position })
    }

    /// Lists a room's messages through all pages.
    ///
    /// # Errors
    /// As [`history`](Self::history); an error is the last item.
    pub fn history_all(&self, history: History) -> Items<Message> {
        let client = self.clone();
        page::all(history.0.page_token.clone(), move |token| {
            let (client, history) = (client.clone(), history.clone().page(token));
            async move {
                let HistoryPage { messages, next, .. } = client.history(history).await?;
                Ok(Page { items: messages, next })
            }
        })
    }
}
