//! RoomService: each method converts, calls, converts.

use relay_proto::{chat::v1 as wire, server::chat::v1::room_service_server::RoomService};
use tonic::Request;

use super::{
    call::{Answer, answer, page_token, parts},
    convert::{self, page_size},
};
use crate::{
    chat::{
        Chat, RoomScope,
        room::{NewRoom, Profile},
    },
    error::Error,
};

const ROOMS_DEFAULT: usize = 50;
const ROOMS_MAX: usize = 200;
const MEMBERS_DEFAULT: usize = 100;
const MEMBERS_MAX: usize = 500;

/// The service.
pub(super) struct RoomApi {
    pub(super) chat: Chat,
}

#[tonic::async_trait]
impl RoomService for RoomApi {
    async fn create_room(&self, request: Request<wire::CreateRoomRequest>) -> Answer<wire::CreateRoomResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let id = Some(request.room_id).filter(|id| !id.is_empty()).map(|id| convert::room_id(&id)).transpose()?;
            let kind = convert::room_kind(request.kind)?;
            let members = request.members.into_iter().enumerate().map(convert::new_member).collect::<Result<_, _>>()?;
            let metadata = request.metadata.into_iter().collect();
            let profile =
                Profile { title: request.title, description: request.description, metadata, ..Profile::default() };
            let room = self.chat.create_room(caller, NewRoom { id, kind, profile, members }).await?;
            Ok(wire::CreateRoomResponse { room: Some(convert::room(&room)) })
        };
        answer(call.await)
    }

    async fn get_room(&self, request: Request<wire::GetRoomRequest>) -> Answer<wire::GetRoomResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let found = self.chat.get_room(&caller, convert::room_id(&request.room_id)?).await?;
            Ok(wire::GetRoomResponse { room: Some(convert::summary(&found, &caller.user)) })
        };
        answer(call.await)
    }

    async fn list_rooms(&self, request: Request<wire::ListRoomsRequest>) -> Answer<wire::ListRoomsResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let limit = page_size(request.page_size, ROOMS_DEFAULT, ROOMS_MAX)?;
            let scope = match wire::RoomScope::try_from(request.scope) {
                Ok(wire::RoomScope::Unspecified | wire::RoomScope::Joined) => RoomScope::Joined,
                Ok(wire::RoomScope::Public) => RoomScope::Public,
                Err(_) => return Err(Error::field("scope", "takes joined or public")),
            };
            let page = self.chat.list_rooms(&caller, scope, limit, &request.page_token).await?;
            Ok(wire::ListRoomsResponse {
                rooms: page.items.iter().map(|room| convert::summary(room, &caller.user)).collect(),
                next_page_token: page_token(page.next_page_token),
            })
        };
        answer(call.await)
    }

    async fn update_room(&self, request: Request<wire::UpdateRoomRequest>) -> Answer<wire::UpdateRoomResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let room = convert::room_id(&request.room_id)?;
            let change = convert::profile_change(request)?;
            let room = self.chat.update_room(caller, room, change).await?;
            Ok(wire::UpdateRoomResponse { room: Some(convert::room(&room)) })
        };
        answer(call.await)
    }

    async fn delete_room(&self, request: Request<wire::DeleteRoomRequest>) -> Answer<wire::DeleteRoomResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            self.chat.delete_room(caller, convert::room_id(&request.room_id)?).await?;
            Ok(wire::DeleteRoomResponse {})
        };
        answer(call.await)
    }

    async fn get_direct_room(
        &self,
        request: Request<wire::GetDirectRoomRequest>,
    ) -> Answer<wire::GetDirectRoomResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let user = caller.user.clone();
            let (room, created) = self.chat.direct_room(caller, convert::user_id(&request.user_id)?).await?;
            Ok(wire::GetDirectRoomResponse { room: Some(convert::summary(&room, &user)), created })
        };
        answer(call.await)
    }

    async fn join_room(&self, request: Request<wire::JoinRoomRequest>) -> Answer<wire::JoinRoomResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let user = caller.user.clone();
            let room = self.chat.join(caller, convert::room_id(&request.room_id)?).await?;
            Ok(wire::JoinRoomResponse { room: Some(convert::summary(&room, &user)) })
        };
        answer(call.await)
    }

    async fn leave_room(&self, request: Request<wire::LeaveRoomRequest>) -> Answer<wire::LeaveRoomResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            self.chat.leave(caller, convert::room_id(&request.room_id)?).await?;
            Ok(wire::LeaveRoomResponse {})
        };
        answer(call.await)
    }

    async fn add_members(&self, request: Request<wire::AddMembersRequest>) -> Answer<wire::AddMembersResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let room = convert::room_id(&request.room_id)?;
            let new = request.members.into_iter().enumerate().map(convert::new_member).collect::<Result<_, _>>()?;
            let members = self.chat.add_members(caller, room, new).await?;
            Ok(wire::AddMembersResponse { members: members.iter().map(convert::member).collect() })
        };
        answer(call.await)
    }

    async fn remove_member(&self, request: Request<wire::RemoveMemberRequest>) -> Answer<wire::RemoveMemberResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let room = convert::room_id(&request.room_id)?;
            self.chat.remove_member(caller, room, convert::user_id(&request.user_id)?).await?;
            Ok(wire::RemoveMemberResponse {})
        };
        answer(call.await)
    }

    async fn update_member(&self, request: Request<wire::UpdateMemberRequest>) -> Answer<wire::UpdateMemberResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let room = convert::room_id(&request.room_id)?;
            let (user, role) = (convert::user_id(&request.user_id)?, convert::role(request.role, None)?);
            let member = self.chat.update_member(caller, room, user, role).await?;
            Ok(wire::UpdateMemberResponse { member: Some(convert::member(&member)) })
        };
        answer(call.await)
    }

    async fn list_members(&self, request: Request<wire::ListMembersRequest>) -> Answer<wire::ListMembersResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let room = convert::room_id(&request.room_id)?;
            let limit = page_size(request.page_size, MEMBERS_DEFAULT, MEMBERS_MAX)?;
            let page = self.chat.list_members(&caller, room, limit, &request.page_token).await?;
            Ok(wire::ListMembersResponse {
                members: page.items.iter().map(convert::member).collect(),
                next_page_token: page_token(page.next_page_token),
            })
        };
        answer(call.await)
    }

    async fn update_room_settings(
        &self,
        request: Request<wire::UpdateRoomSettingsRequest>,
    ) -> Answer<wire::UpdateRoomSettingsResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let room = convert::room_id(&request.room_id)?;
            let change = convert::settings_change(request.settings, request.update_mask)?;
            let state = self.chat.update_settings(caller, room, change).await?;
            Ok(wire::UpdateRoomSettingsResponse { state: Some(convert::membership(&state)) })
        };
        answer(call.await)
    }
}
