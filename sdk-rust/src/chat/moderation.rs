//! Calls that keep order: bans, mutes, blocks.

use prost_types::Timestamp;
use relay_proto::chat::v1::{
    Ban, BanMemberRequest, BlockUserRequest, ListBansRequest, ListBlockedUsersRequest, Member, MuteMemberRequest,
    UnbanMemberRequest, UnblockUserRequest,
};

use crate::{
    Client, Error,
    page::{self, Items, Page},
};

impl Client {
    /// Bans a user from a room, whether they are in it or not: until a time, or for good. Banning again changes the reason
    /// (at most 256 bytes, may be empty) and the time.
    ///
    /// # Errors
    /// `RoleInsufficient`, `MemberIsOwner`, `RoomIsDirect`, `TooManyBans`, `FieldInvalid`, `RoomNotFound`.
    pub async fn ban(
        &self,
        room_id: impl Into<String>,
        user_id: impl Into<String>,
        reason: impl Into<String>,
        until: Option<Timestamp>,
    ) -> Result<Ban, Error> {
        let ban = |request| {
            let mut moderation = self.moderation();
            async move { moderation.ban_member(request).await }
        };
        let (room_id, user_id, reason) = (room_id.into(), user_id.into(), reason.into());
        let request = BanMemberRequest { room_id, user_id, reason, expires_at: until };
        self.call(request, ban).await?.ban.ok_or_else(|| Error::missing("ban"))
    }

    /// Lifts a ban. The user is not a member by it. Without one, changes nothing.
    ///
    /// # Errors
    /// `RoleInsufficient`, `RoomNotFound`.
    pub async fn unban(&self, room_id: impl Into<String>, user_id: impl Into<String>) -> Result<(), Error> {
        let unban = |request| {
            let mut moderation = self.moderation();
            async move { moderation.unban_member(request).await }
        };
        let request = UnbanMemberRequest { room_id: room_id.into(), user_id: user_id.into() };
        self.call(request, unban).await.map(drop)
    }

    /// Lists a page of a room's bans, by user id. `page_size` is 1 to 500, or 0 for 100; `page` is [`next`](Page::next) of the
    /// page before.
    ///
    /// # Errors
    /// `RoleInsufficient`, `PageTokenInvalid`, `FieldInvalid`, `RoomNotFound`.
    pub async fn list_bans(
        &self,
        room_id: impl Into<String>,
        page_size: i32,
        page: Option<String>,
    ) -> Result<Page<Ban>, Error> {
        let list = |request| {
            let mut moderation = self.moderation();
            async move { moderation.list_bans(request).await }
        };
        let page_token = page.unwrap_or_default();
        let answer = self.call(ListBansRequest { room_id: room_id.into(), page_size, page_token }, list).await?;
        Ok(Page::new(answer.bans, answer.next_page_token))
    }

    /// Lists a room's bans through all pages.
    ///
    /// # Errors
    /// As [`list_bans`](Self::list_bans); an error is the last item.
    pub fn list_bans_all(&self, room_id: impl Into<String>) -> Items<Ban> {
        let (client, room_id) = (self.clone(), room_id.into());
        page::all(String::new(), move |token| {
            let (client, room_id) = (client.clone(), room_id.clone());
            async move { client.list_bans(room_id, 0, Some(token)).await }
        })
    }

    /// Lets a member only read until a time; `None`: they may speak again.
    ///
    /// # Errors
    /// `RoleInsufficient`, `MemberIsOwner`, `MemberNotFound`, `RoomIsDirect`, `FieldInvalid`, `RoomNotFound`.
    pub async fn mute_member(
        &self,
        room_id: impl Into<String>,
        user_id: impl Into<String>,
        until: Option<Timestamp>,
    ) -> Result<Member, Error> {
        let mute = |request| {
            let mut moderation = self.moderation();
            async move { moderation.mute_member(request).await }
        };
        let request = MuteMemberRequest { room_id: room_id.into(), user_id: user_id.into(), muted_until: until };
        self.call(request, mute).await?.member.ok_or_else(|| Error::missing("member"))
    }

    /// Blocks a user: neither sends the other direct messages. Their messages in groups still come;
    /// [`blocked_users`](Self::blocked_users) says whose to hide.
    ///
    /// # Errors
    /// `FieldInvalid` for oneself, `TooManyBans`.
    pub async fn block_user(&self, user_id: impl Into<String>) -> Result<(), Error> {
        let user_id = user_id.into();
        let block = |request| {
            let mut moderation = self.moderation();
            async move { moderation.block_user(request).await }
        };
        self.call(BlockUserRequest { user_id: user_id.clone() }, block).await?;
        self.blocks().changed(&user_id, true);
        Ok(())
    }

    /// Takes a block back. Without one, changes nothing.
    ///
    /// # Errors
    /// `FieldInvalid`.
    pub async fn unblock_user(&self, user_id: impl Into<String>) -> Result<(), Error> {
        let user_id = user_id.into();
        let unblock = |request| {
            let mut moderation = self.moderation();
            async move { moderation.unblock_user(request).await }
        };
        self.call(UnblockUserRequest { user_id: user_id.clone() }, unblock).await?;
        self.blocks().changed(&user_id, false);
        Ok(())
    }

    /// Lists a page of the users whom the user has blocked, by id. `page_size` is 1 to 500, or 0 for 100; `page` is
    /// [`next`](Page::next) of the page before.
    ///
    /// # Errors
    /// `PageTokenInvalid`, `FieldInvalid`.
    pub async fn list_blocked_users(&self, page_size: i32, page: Option<String>) -> Result<Page<String>, Error> {
        let list = |request| {
            let mut moderation = self.moderation();
            async move { moderation.list_blocked_users(request).await }
        };
        let page_token = page.unwrap_or_default();
        let answer = self.call(ListBlockedUsersRequest { page_size, page_token }, list).await?;
        Ok(Page::new(answer.user_ids, answer.next_page_token))
    }
}
