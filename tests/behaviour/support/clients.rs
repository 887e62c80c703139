//! The generated clients, with a user's token on every call.

use relay_proto::chat::v1::{
    self as wire, AddMembersRequest, CreateRoomRequest, JoinRoomRequest, NewMember, RoomKind, SendMessageRequest,
    SendReceipt, chat_service_client::ChatServiceClient, moderation_service_client::ModerationServiceClient,
    presence_service_client::PresenceServiceClient, room_service_client::RoomServiceClient,
};
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use tonic_types::StatusExt as _;
use uuid::Uuid;

/// Puts the token on every call.
#[derive(Clone)]
pub(crate) struct Bearer(pub(crate) String);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let value = MetadataValue::try_from(format!("Bearer {}", self.0)).unwrap();
        request.metadata_mut().insert("authorization", value);
        Ok(request)
    }
}

type Service = InterceptedService<Channel, Bearer>;

/// All services as one user.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) chat: ChatServiceClient<Service>,
    pub(crate) rooms: RoomServiceClient<Service>,
    pub(crate) presence: PresenceServiceClient<Service>,
    pub(crate) moderation: ModerationServiceClient<Service>,
}

impl Clients {
    /// Over a connection of their own.
    pub(crate) async fn connect(url: &str, token: String) -> Self {
        let channel = Channel::from_shared(url.to_owned()).unwrap().connect().await.unwrap();
        Self::over(channel, token)
    }

    /// Over a connection of their own, that is made when it is first needed, and again whenever it is lost.
    pub(crate) fn lazy(url: &str, token: String) -> Self {
        let channel = Channel::from_shared(url.to_owned()).unwrap().connect_lazy();
        Self::over(channel, token)
    }

    fn over(channel: Channel, token: String) -> Self {
        let service = InterceptedService::new(channel, Bearer(token));
        Self {
            chat: ChatServiceClient::new(service.clone()),
            rooms: RoomServiceClient::new(service.clone()),
            presence: PresenceServiceClient::new(service.clone()),
            moderation: ModerationServiceClient::new(service),
        }
    }

    /// Makes a room with the caller as owner and these members.
    pub(crate) async fn create_room(&mut self, room: &str, kind: RoomKind, members: &[&str]) {
        let members = members.iter().map(|user| NewMember { user_id: (*user).into(), role: 0 }).collect();
        let request =
            CreateRoomRequest { room_id: room.into(), kind: kind.into(), members, ..CreateRoomRequest::default() };
        self.rooms.create_room(request).await.unwrap();
    }

    /// Adds a member.
    pub(crate) async fn add(&mut self, room: &str, user: &str, role: wire::MemberRole) {
        let members = vec![NewMember { user_id: user.into(), role: role.into() }];
        self.rooms.add_members(AddMembersRequest { room_id: room.into(), members }).await.unwrap();
    }

    /// Joins a public room.
    pub(crate) async fn join(&mut self, room: &str) {
        self.rooms.join_room(JoinRoomRequest { room_id: room.into() }).await.unwrap();
    }

    /// Sends a text with a fresh id.
    pub(crate) async fn say(&mut self, room: &str, text: &str) -> SendReceipt {
        self.chat.send_message(message(room, text)).await.unwrap().into_inner().receipt.unwrap()
    }

    /// Sends many texts with fresh ids, a hundred in a call.
    pub(crate) async fn say_all(&mut self, room: &str, texts: impl IntoIterator<Item = String>) {
        let requests: Vec<_> = texts.into_iter().map(|text| message(room, &text)).collect();
        for some in requests.chunks(100) {
            // Long texts do not fit into one request a hundred at a time.
            let most = 900_000 / some.iter().map(|request| request.text.len() + 100).max().unwrap_or(1);
            for requests in some.chunks(most) {
                let request = wire::SendMessagesRequest { requests: requests.to_vec() };
                let answer = self.chat.send_messages(request).await.unwrap().into_inner();
                for result in answer.results {
                    assert!(matches!(result.result, Some(wire::send_result::Result::Receipt(_))), "{result:?}");
                }
            }
        }
    }

    /// All messages of a room, oldest first.
    pub(crate) async fn history(&mut self, room: &str) -> Vec<wire::Message> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let direction = wire::ListDirection::Newer.into();
            let request =
                wire::ListMessagesRequest { room_id: room.into(), direction, page_size: 200, page_token, start_seq: 0 };
            let page = self.chat.list_messages(request).await.unwrap().into_inner();
            all.extend(page.messages);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return all;
            }
        }
    }
}

/// A text with a fresh id.
pub(crate) fn message(room: &str, text: &str) -> SendMessageRequest {
    SendMessageRequest {
        room_id: room.into(),
        client_message_id: Uuid::new_v4().to_string(),
        text: text.into(),
        ..SendMessageRequest::default()
    }
}

/// The code, the reason and the violated fields of an error; it must carry Relay's details.
pub(crate) fn error_of(status: &Status) -> (tonic::Code, String, Vec<String>) {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, "relay");
    let fields = status.get_details_bad_request().map(|b| b.field_violations).unwrap_or_default();
    (status.code(), info.reason, fields.into_iter().map(|f| f.field).collect())
}
