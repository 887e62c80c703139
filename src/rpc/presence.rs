//! PresenceService's methods: each converts, calls, converts.

use std::sync::Arc;

use relay_proto::{chat::v1 as wire, server::chat::v1::presence_service_server::PresenceService};
use tonic::Request;

use super::{
    call::{Answer, answer, parts},
    convert,
};
use crate::chat::Presence;

/// The service.
pub(super) struct PresenceApi {
    pub(super) presence: Arc<Presence>,
}

#[tonic::async_trait]
impl PresenceService for PresenceApi {
    async fn get_presence(&self, request: Request<wire::GetPresenceRequest>) -> Answer<wire::GetPresenceResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let users = convert::user_ids(&request.user_ids)?;
            let presences = self.presence.get(&caller, &users).await?;
            Ok(wire::GetPresenceResponse { presences: presences.iter().map(convert::presence).collect() })
        };
        answer(call.await)
    }

    async fn set_presence(&self, request: Request<wire::SetPresenceRequest>) -> Answer<wire::SetPresenceResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let session = match request.session_id.as_str() {
                "" => None,
                id => Some(convert::session_id(id)?),
            };
            self.presence.set(&caller, session, convert::presence_change(request)?).await?;
            Ok(wire::SetPresenceResponse {})
        };
        answer(call.await)
    }
}
