//! Calls about rooms.

use std::collections::HashMap;

use prost_types::FieldMask;
use relay_proto::chat::v1::{
    CreateRoomRequest, DeleteRoomRequest, GetDirectRoomRequest, GetRoomRequest, JoinRoomRequest, LeaveRoomRequest,
    ListRoomsRequest, Room, RoomKind, RoomScope, RoomSummary, UpdateRoomRequest,
};

use crate::{
    Client, Error, NewMember,
    page::{self, Items, Page},
};

/// A room to make.
///
/// ```
/// use relay_sdk::NewRoom;
///
/// let room = NewRoom::public("general").title("General").metadata("team", "all");
/// let ours = NewRoom::private_unnamed().member("ben").member("eve");
/// # let _ = (room, ours);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct NewRoom(CreateRoomRequest);

impl NewRoom {
    /// A room that every user of the project can find and join. The id: 1 to 128 of `A-Z a-z 0-9 . _ : -`.
    pub fn public(room_id: impl Into<String>) -> Self {
        Self::of(room_id.into(), RoomKind::Public)
    }

    /// A room that only its members know of. The id: 1 to 128 of `A-Z a-z 0-9 . _ : -`.
    pub fn private(room_id: impl Into<String>) -> Self {
        Self::of(room_id.into(), RoomKind::Private)
    }

    /// As [`public`](Self::public), with an id that the server makes.
    pub fn public_unnamed() -> Self {
        Self::public("")
    }

    /// As [`private`](Self::private), with an id that the server makes.
    pub fn private_unnamed() -> Self {
        Self::private("")
    }

    /// The title to show. At most 256 bytes, without control characters.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.0.title = title.into();
        self
    }

    /// What it is about. At most 4,096 bytes.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.0.description = description.into();
        self
    }

    /// Keeps a key (1 to 64 bytes) with a value (at most 512 bytes) with the room. At most 16.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.metadata.insert(key.into(), value.into());
        self
    }

    /// Adds a user at once. At most 100. The caller becomes the owner and is not listed.
    pub fn member(mut self, member: impl Into<NewMember>) -> Self {
        self.0.members.push(member.into().into_wire());
        self
    }

    fn of(room_id: String, kind: RoomKind) -> Self {
        Self(CreateRoomRequest { room_id, kind: kind.into(), ..CreateRoomRequest::default() })
    }
}

/// What to change of a room; what is not named stays.
///
/// ```
/// let changes = relay_sdk::RoomChanges::new().title("Lobby").description("");
/// # let _ = changes;
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RoomChanges(UpdateRoomRequest);

impl RoomChanges {
    /// No change yet; at least one is required.
    pub fn new() -> Self {
        Self::default()
    }

    /// The new title. At most 256 bytes, without control characters.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.0.title = title.into();
        self.changes("title")
    }

    /// The new description. At most 4,096 bytes.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.0.description = description.into();
        self.changes("description")
    }

    /// The new metadata, in place of all the old. At most 16 entries; keys of 1 to 64 bytes, values of at most 512 bytes.
    pub fn metadata(mut self, metadata: HashMap<String, String>) -> Self {
        self.0.metadata = metadata;
        self.changes("metadata")
    }

    /// The new slow mode: how many seconds a member waits between two messages, at most 86,400. 0: none.
    pub fn slow_mode(mut self, seconds: u32) -> Self {
        self.0.slow_mode_seconds = seconds;
        self.changes("slow_mode_seconds")
    }

    fn changes(mut self, path: &str) -> Self {
        let mask = self.0.update_mask.get_or_insert_with(FieldMask::default);
        if !mask.paths.iter().any(|named| named == path) {
            mask.paths.push(path.to_owned());
        }
        self
    }
}

impl Client {
    /// Makes a room with the user as its owner. Not tried again when the answer is lost, as it cannot be told whether the
    /// room was made: with an id of your own, calling again answers `RoomExists` if it was.
    ///
    /// # Errors
    /// `RoomExists`, `TooManyRooms`, `FieldInvalid`.
    pub async fn create_room(&self, room: NewRoom) -> Result<Room, Error> {
        let create = |request| {
            let mut rooms = self.rooms();
            async move { rooms.create_room(request).await }
        };
        self.call_once(room.0, create).await?.room.ok_or_else(|| Error::missing("room"))
    }

    /// Reads a room that the user is a member of, or that is public.
    ///
    /// # Errors
    /// `RoomNotFound`.
    pub async fn get_room(&self, room_id: impl Into<String>) -> Result<RoomSummary, Error> {
        let get = |request| {
            let mut rooms = self.rooms();
            async move { rooms.get_room(request).await }
        };
        let answer = self.call(GetRoomRequest { room_id: room_id.into() }, get).await?;
        answer.room.ok_or_else(|| Error::missing("room"))
    }

    /// Lists a page of rooms, the most recently active first: those the user is in, or all public ones. `page_size` is
    /// 1 to 200, or 0 for 50; `page` is [`next`](Page::next) of the page before.
    ///
    /// # Errors
    /// `PageTokenInvalid`, `FieldInvalid`.
    pub async fn list_rooms(
        &self,
        scope: RoomScope,
        page_size: i32,
        page: Option<String>,
    ) -> Result<Page<RoomSummary>, Error> {
        let list = |request| {
            let mut rooms = self.rooms();
            async move { rooms.list_rooms(request).await }
        };
        let page_token = page.unwrap_or_default();
        let answer = self.call(ListRoomsRequest { page_size, page_token, scope: scope.into() }, list).await?;
        Ok(Page::new(answer.rooms, answer.next_page_token))
    }

    /// Lists rooms through all pages.
    ///
    /// # Errors
    /// As [`list_rooms`](Self::list_rooms); an error is the last item.
    pub fn list_rooms_all(&self, scope: RoomScope) -> Items<RoomSummary> {
        let client = self.clone();
        page::all(String::new(), move |token| {
            let client = client.clone();
            async move { client.list_rooms(scope, 0, Some(token)).await }
        })
    }

    /// Changes a room's title, description, metadata or slow mode.
    ///
    /// # Errors
    /// `RoleInsufficient` unless the user is an owner or admin, `RoomIsDirect`, `FieldInvalid`, `RoomNotFound`.
    pub async fn update_room(&self, room_id: impl Into<String>, changes: RoomChanges) -> Result<Room, Error> {
        let update = |request| {
            let mut rooms = self.rooms();
            async move { rooms.update_room(request).await }
        };
        let request = UpdateRoomRequest { room_id: room_id.into(), ..changes.0 };
        self.call(request, update).await?.room.ok_or_else(|| Error::missing("room"))
    }

    /// Deletes a room with all its messages, for everyone and for good. Its id is not given again.
    ///
    /// # Errors
    /// `RoleInsufficient` unless the user is an owner, `RoomIsDirect`, `RoomNotFound`. As it may be repeated, a lost answer
    /// can make a deletion that was done answer `RoomNotFound`.
    pub async fn delete_room(&self, room_id: impl Into<String>) -> Result<(), Error> {
        let delete = |request| {
            let mut rooms = self.rooms();
            async move { rooms.delete_room(request).await }
        };
        self.call(DeleteRoomRequest { room_id: room_id.into() }, delete).await.map(drop)
    }

    /// Finds the direct room with another user, or makes it. There is one for each pair.
    ///
    /// # Errors
    /// `FieldInvalid` for oneself, `TooManyRooms`.
    pub async fn get_direct_room(&self, user_id: impl Into<String>) -> Result<RoomSummary, Error> {
        let get = |request| {
            let mut rooms = self.rooms();
            async move { rooms.get_direct_room(request).await }
        };
        let answer = self.call(GetDirectRoomRequest { user_id: user_id.into() }, get).await?;
        answer.room.ok_or_else(|| Error::missing("room"))
    }

    /// Joins a public room. Joining again changes nothing.
    ///
    /// # Errors
    /// `RoomNotFound`, `TooManyRooms`, `TooManyMembers`.
    pub async fn join_room(&self, room_id: impl Into<String>) -> Result<RoomSummary, Error> {
        let join = |request| {
            let mut rooms = self.rooms();
            async move { rooms.join_room(request).await }
        };
        let answer = self.call(JoinRoomRequest { room_id: room_id.into() }, join).await?;
        answer.room.ok_or_else(|| Error::missing("room"))
    }

    /// Leaves a room. Leaving a public room again changes nothing.
    ///
    /// # Errors
    /// `LastOwner` while others are in it, `RoomIsDirect`, `RoomNotFound`. As it may be repeated, a lost answer can make a
    /// leave that was done answer `RoomNotFound`, when the room is private.
    pub async fn leave_room(&self, room_id: impl Into<String>) -> Result<(), Error> {
        let leave = |request| {
            let mut rooms = self.rooms();
            async move { rooms.leave_room(request).await }
        };
        self.call(LeaveRoomRequest { room_id: room_id.into() }, leave).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_name_each_changed_field_once() {
        let changes = RoomChanges::new().title("a").title("b").metadata(HashMap::new());
        assert_eq!(changes.0.update_mask.unwrap().paths, ["title", "metadata"]);
        assert_eq!(changes.0.title, "b");
    }
}
