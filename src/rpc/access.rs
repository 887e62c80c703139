//! The policy table: what each method asks of its caller before anything else looks at the call.
//!
//! A path that is not here is refused, so a new method cannot be reached before somebody has decided who may.

/// What a method asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Anyone: it tells nothing of any project.
    Anyone,
    /// A user with a valid token. What the user may do in a room is `chat::policy`'s table.
    User,
    /// The same, of a user whose token names an admin of the project.
    Admin,
    /// The same as `User`, for a stream: it lasts as long as the token does, not as long as a call may take.
    UserStream,
}

const STREAMS: &[&str] = &["Connect", "Subscribe"];

const CHAT: &[&str] = &[
    "RenewStream",
    "SendMessage",
    "SendMessages",
    "EditMessage",
    "DeleteMessage",
    "AddReaction",
    "RemoveReaction",
    "GetMessage",
    "ListMessages",
    "SearchMessages",
    "PinMessage",
    "UnpinMessage",
    "ListPinnedMessages",
    "UpdateReceipts",
    "ListReceipts",
    "SetTyping",
    "SkipLane",
    "Ping",
];

const ROOMS: &[&str] = &[
    "CreateRoom",
    "GetRoom",
    "ListRooms",
    "UpdateRoom",
    "DeleteRoom",
    "GetDirectRoom",
    "JoinRoom",
    "LeaveRoom",
    "AddMembers",
    "RemoveMember",
    "UpdateMember",
    "ListMembers",
    "UpdateRoomSettings",
];

const PRESENCE: &[&str] = &["GetPresence", "SetPresence"];

const MODERATION: &[&str] = &[
    "BanMember",
    "UnbanMember",
    "ListBans",
    "MuteMember",
    "BlockUser",
    "UnblockUser",
    "ListBlockedUsers",
    "ReportMessage",
];

const ADMIN: &[&str] = &["ListReports", "ResolveReport"];

/// What the method at `path` asks; `None`: there is no such method.
pub(super) fn of(path: &str) -> Option<Access> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let known = |methods: &[&str], access| methods.contains(&method).then_some(access);
    match service {
        "relay.chat.v1.ChatService" => known(STREAMS, Access::UserStream).or_else(|| known(CHAT, Access::User)),
        "relay.chat.v1.RoomService" => known(ROOMS, Access::User),
        "relay.chat.v1.PresenceService" => known(PRESENCE, Access::User),
        "relay.chat.v1.ModerationService" => known(MODERATION, Access::User).or_else(|| known(ADMIN, Access::Admin)),
        "grpc.health.v1.Health" => known(&["Check", "Watch"], Access::Anyone),
        "grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection" => {
            known(&["ServerReflectionInfo"], Access::Anyone)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn every_method_of_the_contract_needs_a_user() {
        let contract = prost_types::FileDescriptorSet::decode(relay_proto::FILE_DESCRIPTOR_SET).unwrap();
        let mut methods = 0;
        for file in &contract.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let unary = if ADMIN.contains(&method.name()) { Access::Admin } else { Access::User };
                    let user = if method.server_streaming() { Access::UserStream } else { unary };
                    assert_eq!(of(&path), Some(user), "{path}");
                    methods += 1;
                }
            }
        }
        assert_eq!(
            methods,
            STREAMS.len() + CHAT.len() + ROOMS.len() + PRESENCE.len() + MODERATION.len() + ADMIN.len(),
            "the table names a method that is not in the contract"
        );
        assert_eq!(of("/relay.chat.v1.ChatService/Nothing"), None);
        assert_eq!(of("/grpc.health.v1.Health/Nothing"), None);
    }
}
