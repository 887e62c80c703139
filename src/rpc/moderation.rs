//! ModerationService: each method converts, calls, converts.

use std::sync::Arc;

use relay_proto::{chat::v1 as wire, server::chat::v1::moderation_service_server::ModerationService};
use tonic::Request;

use super::{
    call::{Answer, answer, page_token, parts},
    convert::{self, page_size},
};
use crate::{
    chat::{Chat, moderation::NewReport},
    clock::Clock,
    id::UserId,
};

const BANS_DEFAULT: usize = 100;
const BANS_MAX: usize = 500;
const REPORTS_DEFAULT: usize = 50;
const REPORTS_MAX: usize = 200;

/// The service.
pub(super) struct ModerationApi {
    pub(super) chat: Chat,
    pub(super) clock: Arc<dyn Clock>,
}

#[tonic::async_trait]
impl ModerationService for ModerationApi {
    async fn ban_member(&self, request: Request<wire::BanMemberRequest>) -> Answer<wire::BanMemberResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let (room, user) = (convert::room_id(&request.room_id)?, convert::user_id(&request.user_id)?);
            let expires_at = convert::moment(request.expires_at, "expires_at")?;
            let ban = self.chat.ban(caller, room, user, request.reason, expires_at).await?;
            Ok(wire::BanMemberResponse { ban: Some(convert::ban(&ban)) })
        };
        answer(call.await)
    }

    async fn unban_member(&self, request: Request<wire::UnbanMemberRequest>) -> Answer<wire::UnbanMemberResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let (room, user) = (convert::room_id(&request.room_id)?, convert::user_id(&request.user_id)?);
            self.chat.unban(caller, room, user).await?;
            Ok(wire::UnbanMemberResponse {})
        };
        answer(call.await)
    }

    async fn list_bans(&self, request: Request<wire::ListBansRequest>) -> Answer<wire::ListBansResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let room = convert::room_id(&request.room_id)?;
            let limit = page_size(request.page_size, BANS_DEFAULT, BANS_MAX)?;
            let page = self.chat.list_bans(&caller, room, self.clock.now(), limit, &request.page_token).await?;
            Ok(wire::ListBansResponse {
                bans: page.items.iter().map(convert::ban).collect(),
                next_page_token: page_token(page.next_page_token),
            })
        };
        answer(call.await)
    }

    async fn mute_member(&self, request: Request<wire::MuteMemberRequest>) -> Answer<wire::MuteMemberResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let (room, user) = (convert::room_id(&request.room_id)?, convert::user_id(&request.user_id)?);
            let muted_until = convert::moment(request.muted_until, "muted_until")?;
            let member = self.chat.mute(caller, room, user, muted_until).await?;
            Ok(wire::MuteMemberResponse { member: Some(convert::member(&member)) })
        };
        answer(call.await)
    }

    async fn block_user(&self, request: Request<wire::BlockUserRequest>) -> Answer<wire::BlockUserResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            self.chat.block(caller, convert::user_id(&request.user_id)?, true).await?;
            Ok(wire::BlockUserResponse {})
        };
        answer(call.await)
    }

    async fn unblock_user(&self, request: Request<wire::UnblockUserRequest>) -> Answer<wire::UnblockUserResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            self.chat.block(caller, convert::user_id(&request.user_id)?, false).await?;
            Ok(wire::UnblockUserResponse {})
        };
        answer(call.await)
    }

    async fn list_blocked_users(
        &self,
        request: Request<wire::ListBlockedUsersRequest>,
    ) -> Answer<wire::ListBlockedUsersResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let limit = page_size(request.page_size, BANS_DEFAULT, BANS_MAX)?;
            let page = self.chat.list_blocked(&caller, limit, &request.page_token).await?;
            Ok(wire::ListBlockedUsersResponse {
                user_ids: page.items.iter().map(UserId::to_string).collect(),
                next_page_token: page_token(page.next_page_token),
            })
        };
        answer(call.await)
    }

    async fn report_message(
        &self,
        request: Request<wire::ReportMessageRequest>,
    ) -> Answer<wire::ReportMessageResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let (room, seq) = (convert::room_id(&request.room_id)?, convert::seq(request.seq)?);
            let category = convert::category(request.category)?;
            let id = self.chat.report(caller, NewReport { room, seq, category, comment: request.comment }).await?;
            Ok(wire::ReportMessageResponse { report_id: id.to_string() })
        };
        answer(call.await)
    }

    async fn list_reports(&self, request: Request<wire::ListReportsRequest>) -> Answer<wire::ListReportsResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let resolved = convert::resolved(request.state)?;
            let limit = page_size(request.page_size, REPORTS_DEFAULT, REPORTS_MAX)?;
            let page = self.chat.list_reports(&caller.project, resolved, limit, &request.page_token).await?;
            Ok(wire::ListReportsResponse {
                reports: page.items.iter().map(convert::report).collect(),
                next_page_token: page_token(page.next_page_token),
            })
        };
        answer(call.await)
    }

    async fn resolve_report(
        &self,
        request: Request<wire::ResolveReportRequest>,
    ) -> Answer<wire::ResolveReportResponse> {
        let (caller, request) = parts(request)?;
        let call = async {
            let id = convert::report_id(&request.report_id)?;
            let report = self.chat.resolve_report(caller, id, request.resolution).await?;
            Ok(wire::ResolveReportResponse { report: Some(convert::report(&report)) })
        };
        answer(call.await)
    }
}
