//! Calls about the members of a room.

use relay_proto::chat::v1::{
    AddMembersRequest, ListMembersRequest, Member, MemberRole, NewMember as WireMember, RemoveMemberRequest,
    UpdateMemberRequest,
};

use crate::{
    Client, Error,
    page::{self, Items, Page},
};

/// A user to add to a room. Made from a user id alone, or from `("ben", MemberRole::Admin)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMember {
    /// The user.
    pub user_id: String,
    /// Their role. Nobody gives a role above their own.
    pub role: MemberRole,
}

impl NewMember {
    pub(crate) fn into_wire(self) -> WireMember {
        WireMember { user_id: self.user_id, role: self.role.into() }
    }
}

impl From<&str> for NewMember {
    fn from(user_id: &str) -> Self {
        (user_id, MemberRole::Member).into()
    }
}

impl From<String> for NewMember {
    fn from(user_id: String) -> Self {
        (user_id, MemberRole::Member).into()
    }
}

impl<U: Into<String>> From<(U, MemberRole)> for NewMember {
    fn from((user_id, role): (U, MemberRole)) -> Self {
        Self { user_id: user_id.into(), role }
    }
}

impl Client {
    /// Adds 1 to 100 users to a room, all or none. One who is a member already keeps their role. Answers with their
    /// memberships, in the same order.
    ///
    /// # Errors
    /// `RoleInsufficient`, `RoomIsDirect`, `TooManyMembers`, `TooManyRooms`, `FieldInvalid`, `RoomNotFound`.
    pub async fn add_members<M: Into<NewMember>>(
        &self,
        room_id: impl Into<String>,
        members: impl IntoIterator<Item = M>,
    ) -> Result<Vec<Member>, Error> {
        let members = members.into_iter().map(|member| member.into().into_wire()).collect();
        let add = |request| {
            let mut rooms = self.rooms();
            async move { rooms.add_members(request).await }
        };
        Ok(self.call(AddMembersRequest { room_id: room_id.into(), members }, add).await?.members)
    }

    /// Removes another user from a room.
    ///
    /// # Errors
    /// `RoleInsufficient`, `MemberNotFound`, `RoomIsDirect`, `RoomNotFound`. As it may be repeated, a lost answer can make
    /// a removal that was done answer `MemberNotFound`.
    pub async fn remove_member(&self, room_id: impl Into<String>, user_id: impl Into<String>) -> Result<(), Error> {
        let remove = |request| {
            let mut rooms = self.rooms();
            async move { rooms.remove_member(request).await }
        };
        let request = RemoveMemberRequest { room_id: room_id.into(), user_id: user_id.into() };
        self.call(request, remove).await.map(drop)
    }

    /// Changes a member's role.
    ///
    /// # Errors
    /// `RoleInsufficient`, `MemberNotFound`, `LastOwner`, `RoomIsDirect`, `RoomNotFound`.
    pub async fn update_member(
        &self,
        room_id: impl Into<String>,
        user_id: impl Into<String>,
        role: MemberRole,
    ) -> Result<Member, Error> {
        let update = |request| {
            let mut rooms = self.rooms();
            async move { rooms.update_member(request).await }
        };
        let request = UpdateMemberRequest { room_id: room_id.into(), user_id: user_id.into(), role: role.into() };
        self.call(request, update).await?.member.ok_or_else(|| Error::missing("member"))
    }

    /// Lists a page of a room's members, by user id. `page_size` is 1 to 500, or 0 for 100; `page` is
    /// [`next`](Page::next) of the page before.
    ///
    /// # Errors
    /// `RoomNotFound`, `NotAMember`, `PageTokenInvalid`, `FieldInvalid`.
    pub async fn list_members(
        &self,
        room_id: impl Into<String>,
        page_size: i32,
        page: Option<String>,
    ) -> Result<Page<Member>, Error> {
        let list = |request| {
            let mut rooms = self.rooms();
            async move { rooms.list_members(request).await }
        };
        let page_token = page.unwrap_or_default();
        let answer = self.call(ListMembersRequest { room_id: room_id.into(), page_size, page_token }, list).await?;
        Ok(Page::new(answer.members, answer.next_page_token))
    }

    /// Lists a room's members through all pages.
    ///
    /// # Errors
    /// As [`list_members`](Self::list_members); an error is the last item.
    pub fn list_members_all(&self, room_id: impl Into<String>) -> Items<Member> {
        let (client, room_id) = (self.clone(), room_id.into());
        page::all(String::new(), move |token| {
            let (client, room_id) = (client.clone(), room_id.clone());
            async move { client.list_members(room_id, 0, Some(token)).await }
        })
    }
}
