//! Calls about how far members have got and read.

use relay_proto::chat::v1::{ListReceiptsRequest, MembershipState, Receipt, UpdateReceiptsRequest};

use crate::{
    Client, Error,
    page::{self, Items, Page},
};

impl Client {
    /// Moves the user's cursors in a room now, and answers with how they stand there. 0 leaves a cursor as it is, and none
    /// ever goes back. [`mark_read`](Self::mark_read) is what most applications want: it waits for nothing.
    ///
    /// # Errors
    /// `ReceiptBeyondRoom`, `RoomNotFound`, `NotAMember`.
    pub async fn update_receipts(
        &self,
        room_id: impl Into<String>,
        delivered_seq: u64,
        read_seq: u64,
    ) -> Result<MembershipState, Error> {
        let update = |request| {
            let mut chat = self.chat();
            async move { chat.update_receipts(request).await }
        };
        let request = UpdateReceiptsRequest { room_id: room_id.into(), delivered_seq, read_seq };
        self.call(request, update).await?.state.ok_or_else(|| Error::missing("state"))
    }

    /// Lists a page of the cursors of a room's members, by user id: of those who have read up to `min_read_seq`, or of all
    /// with 0. `page_size` is 1 to 500, or 0 for 100; `page` is [`next`](Page::next) of the page before.
    ///
    /// # Errors
    /// `RoomNotFound`, `NotAMember`, `PageTokenInvalid`, `FieldInvalid`.
    pub async fn list_receipts(
        &self,
        room_id: impl Into<String>,
        min_read_seq: u64,
        page_size: i32,
        page: Option<String>,
    ) -> Result<Page<Receipt>, Error> {
        let list = |request| {
            let mut chat = self.chat();
            async move { chat.list_receipts(request).await }
        };
        let page_token = page.unwrap_or_default();
        let request = ListReceiptsRequest { room_id: room_id.into(), page_size, page_token, min_read_seq };
        let answer = self.call(request, list).await?;
        Ok(Page::new(answer.receipts, answer.next_page_token))
    }

    /// Lists the cursors of a room's members through all pages.
    ///
    /// # Errors
    /// As [`list_receipts`](Self::list_receipts); an error is the last item.
    pub fn list_receipts_all(&self, room_id: impl Into<String>, min_read_seq: u64) -> Items<Receipt> {
        let (client, room_id) = (self.clone(), room_id.into());
        page::all(String::new(), move |token| {
            let (client, room_id) = (client.clone(), room_id.clone());
            async move { client.list_receipts(room_id, min_read_seq, 0, Some(token)).await }
        })
    }
}
