//! ChatService's unary methods: each converts, calls, converts. The streaming ones are in `stream`.

use std::sync::Arc;

use relay_proto::{
    chat::v1::{self as wire, send_result::Result as SendOutcome},
    server::chat::v1::chat_service_server::ChatService,
};
use tonic::Request;

use super::{
    call::{Answer, answer, page_token, parts, whole_caller},
    convert::{self, page_size},
    status::to_wire,
};
use crate::{
    chat::{Chat, Range, Renewals, Typing},
    clock::Clock,
    error::Error,
    hub::Hub,
};

const MESSAGES_DEFAULT: usize = 50;
const MESSAGES_MAX: usize = 200;
const RESULTS_DEFAULT: usize = 20;
const RESULTS_MAX: usize = 100;
const RECEIPTS_DEFAULT: usize = 100;
const RECEIPTS_MAX: usize = 500;
/// Messages in one SendMessages.
const SENDS_MAX: usize = 100;

/// The service.
pub(super) struct ChatApi {
    pub(super) chat: Chat,
    pub(super) hub: Arc<Hub>,
    pub(super) renewals: Arc<Renewals>,
    pub(super) typing: Arc<Typing>,
    pub(super) clock: Arc<dyn Clock>,
}

#[tonic::async_trait]
impl ChatService for ChatApi {
    async fn renew_stream(&self, request: Request<wire::RenewStreamRequest>) -> Answer<wire::RenewStreamResponse> {
        let caller = whole_caller(&request)?;
        let call = async {
            let session = convert::session_id(&request.get_ref().session_id)?;
            self.renewals.renew(&self.hub, &caller.user, session, caller.expires_at).await?;
            Ok(wire::RenewStreamResponse { expires_at: Some(convert::expires(caller.expires_at)) })
        };
        answer(call.await)
    }

    async fn send_message(&self, request: Request<wire::SendMessageRequest>) -> Answer<wire::SendMessageResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let receipt = self.chat.queue(caller, convert::new_message(request)?)?.await?;
            Ok(wire::SendMessageResponse { receipt: Some(convert::receipt(&receipt)) })
        };
        answer(call.await)
    }

    async fn send_messages(&self, request: Request<wire::SendMessagesRequest>) -> Answer<wire::SendMessagesResponse> {
        let (caller, request) = parts(request)?;
        let got = request.requests.len();
        if got == 0 || got > SENDS_MAX {
            let what = format!("has {got} entries, it takes 1 to {SENDS_MAX}");
            return answer(Err(Error::field("requests", what)));
        }
        // All are in the log's queue, in order, before the first is waited for.
        let queued: Vec<_> = request
            .requests
            .into_iter()
            .map(|message| self.chat.queue(caller.clone(), convert::new_message(message)?))
            .collect();
        let mut results = Vec::with_capacity(got);
        for (i, queued) in queued.into_iter().enumerate() {
            let sent = match queued {
                Ok(sent) => sent.await,
                Err(error) => Err(error),
            };
            results.push(wire::SendResult {
                result: Some(match sent {
                    Ok(receipt) => SendOutcome::Receipt(convert::receipt(&receipt)),
                    Err(error) => SendOutcome::Error(to_wire(&error.under(&format!("requests[{i}]")))),
                }),
            });
        }
        answer(Ok(wire::SendMessagesResponse { results }))
    }

    async fn edit_message(&self, request: Request<wire::EditMessageRequest>) -> Answer<wire::EditMessageResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let (room, seq) = (convert::room_id(&request.room_id)?, convert::seq(request.seq)?);
            let content = convert::content(
                request.text,
                request.content_type,
                request.metadata,
                request.attachments,
                request.mentions,
            )?;
            let message = self.chat.edit(caller, room.clone(), seq, content).await?;
            Ok(wire::EditMessageResponse { message: Some(convert::message(&room, &message)) })
        };
        answer(call.await)
    }

    async fn delete_message(
        &self,
        request: Request<wire::DeleteMessageRequest>,
    ) -> Answer<wire::DeleteMessageResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let (room, seq) = (convert::room_id(&request.room_id)?, convert::seq(request.seq)?);
            self.chat.delete(caller, room, seq, request.reason).await?;
            Ok(wire::DeleteMessageResponse {})
        };
        answer(call.await)
    }

    async fn add_reaction(&self, request: Request<wire::AddReactionRequest>) -> Answer<wire::AddReactionResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let (room, seq) = (convert::room_id(&request.room_id)?, convert::seq(request.seq)?);
            self.chat.react(caller, room, seq, request.emoji).await?;
            Ok(wire::AddReactionResponse {})
        };
        answer(call.await)
    }

    async fn remove_reaction(
        &self,
        request: Request<wire::RemoveReactionRequest>,
    ) -> Answer<wire::RemoveReactionResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let (room, seq) = (convert::room_id(&request.room_id)?, convert::seq(request.seq)?);
            self.chat.unreact(caller, room, seq, request.emoji).await?;
            Ok(wire::RemoveReactionResponse {})
        };
        answer(call.await)
    }

    async fn get_message(&self, request: Request<wire::GetMessageRequest>) -> Answer<wire::GetMessageResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let (room, seq) = (convert::room_id(&request.room_id)?, convert::seq(request.seq)?);
            let (found, status) = self.chat.get_message(&caller, room.clone(), seq).await?;
            let status = Some(convert::status(&status));
            Ok(wire::GetMessageResponse { message: Some(wire::Message { status, ..convert::reacted(&room, &found) }) })
        };
        answer(call.await)
    }

    async fn update_receipts(
        &self,
        request: Request<wire::UpdateReceiptsRequest>,
    ) -> Answer<wire::UpdateReceiptsResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let room = convert::room_id(&request.room_id)?;
            let (delivered, read) = (request.delivered_seq, request.read_seq);
            let state = self.chat.update_receipts(&caller, room, delivered, read).await?;
            Ok(wire::UpdateReceiptsResponse { state: Some(convert::membership(&state)) })
        };
        answer(call.await)
    }

    async fn list_receipts(&self, request: Request<wire::ListReceiptsRequest>) -> Answer<wire::ListReceiptsResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let room = convert::room_id(&request.room_id)?;
            let limit = page_size(request.page_size, RECEIPTS_DEFAULT, RECEIPTS_MAX)?;
            let page = self.chat.list_receipts(&caller, room, request.min_read_seq, limit, &request.page_token).await?;
            Ok(wire::ListReceiptsResponse {
                receipts: page.items.iter().map(|(user, cursors)| convert::receipt_of(user, *cursors)).collect(),
                next_page_token: page_token(page.next_page_token),
            })
        };
        answer(call.await)
    }

    async fn list_messages(&self, request: Request<wire::ListMessagesRequest>) -> Answer<wire::ListMessagesResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let room = convert::room_id(&request.room_id)?;
            let limit = page_size(request.page_size, MESSAGES_DEFAULT, MESSAGES_MAX)?;
            let upwards = convert::upwards(request.direction)?;
            let start = convert::optional(request.start_seq, "start_seq")?;
            let range = Range { upwards, start, limit };
            let listed = self.chat.list_messages(&caller, room.clone(), range, &request.page_token).await?;
            Ok(wire::ListMessagesResponse {
                messages: listed.page.items.iter().map(|m| convert::reacted(&room, m)).collect(),
                next_page_token: page_token(listed.page.next_page_token),
                position: listed.position,
            })
        };
        answer(call.await)
    }

    async fn search_messages(
        &self,
        request: Request<wire::SearchMessagesRequest>,
    ) -> Answer<wire::SearchMessagesResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let limit = page_size(request.page_size, RESULTS_DEFAULT, RESULTS_MAX)?;
            let search = convert::search(&request)?;
            let found = self.chat.search_messages(&caller, &search, limit, &request.page_token).await?;
            Ok(wire::SearchMessagesResponse {
                results: found.items.iter().map(convert::hit).collect(),
                next_page_token: page_token(found.next_page_token),
            })
        };
        answer(call.await)
    }

    async fn pin_message(&self, request: Request<wire::PinMessageRequest>) -> Answer<wire::PinMessageResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            self.chat.pin(caller, convert::room_id(&request.room_id)?, convert::seq(request.seq)?).await?;
            Ok(wire::PinMessageResponse {})
        };
        answer(call.await)
    }

    async fn unpin_message(&self, request: Request<wire::UnpinMessageRequest>) -> Answer<wire::UnpinMessageResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            self.chat.unpin(caller, convert::room_id(&request.room_id)?, convert::seq(request.seq)?).await?;
            Ok(wire::UnpinMessageResponse {})
        };
        answer(call.await)
    }

    async fn list_pinned_messages(
        &self,
        request: Request<wire::ListPinnedMessagesRequest>,
    ) -> Answer<wire::ListPinnedMessagesResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let room = convert::room_id(&request.room_id)?;
            let pinned = self.chat.list_pinned(&caller, room.clone()).await?;
            let messages = pinned.iter().map(|pinned| convert::pinned(&room, pinned)).collect();
            Ok(wire::ListPinnedMessagesResponse { messages })
        };
        answer(call.await)
    }

    async fn skip_lane(&self, request: Request<wire::SkipLaneRequest>) -> Answer<wire::SkipLaneResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let (room, lane, numbers) = convert::lane_skip(request)?;
            let next_client_seq = self.chat.skip_lane(caller, room, lane, numbers).await?;
            Ok(wire::SkipLaneResponse { next_client_seq })
        };
        answer(call.await)
    }

    async fn set_typing(&self, request: Request<wire::SetTypingRequest>) -> Answer<wire::SetTypingResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            self.typing.set(&caller, convert::room_id(&request.room_id)?, request.typing).await?;
            Ok(wire::SetTypingResponse {})
        };
        answer(call.await)
    }

    async fn ping(&self, _: Request<wire::PingRequest>) -> Answer<wire::PingResponse> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        answer(Ok(wire::PingResponse { server_time: Some(convert::timestamp(self.clock.now())), version }))
    }
}
