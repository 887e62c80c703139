//! Calls about messages that somebody has reported.

use relay_proto::chat::v1::{
    ListReportsRequest, Report, ReportCategory, ReportMessageRequest, ReportState, ResolveReportRequest,
};

use crate::{
    Client, Error, MessageRef,
    page::{self, Items, Page},
};

impl Client {
    /// Reports a message to the project's admins, with at most 2,048 bytes of comment. A second report on the same message
    /// takes the place of the first, as long as that is open. Answers with the report's id.
    ///
    /// # Errors
    /// `MessageNotFound`, `RoomNotFound`, `NotAMember`, `FieldInvalid`.
    pub async fn report(
        &self,
        message: impl Into<MessageRef>,
        category: ReportCategory,
        comment: impl Into<String>,
    ) -> Result<String, Error> {
        let MessageRef { room_id, seq } = message.into();
        let report = |request| {
            let mut moderation = self.moderation();
            async move { moderation.report_message(request).await }
        };
        let request = ReportMessageRequest { room_id, seq, category: category.into(), comment: comment.into() };
        Ok(self.call(request, report).await?.report_id)
    }

    /// Lists a page of the project's reports, the newest first. For admins of the project. `page_size` is 1 to 200, or 0 for
    /// 50; `page` is [`next`](Page::next) of the page before.
    ///
    /// # Errors
    /// `AdminRequired`, `PageTokenInvalid`, `FieldInvalid`.
    pub async fn list_reports(
        &self,
        state: ReportState,
        page_size: i32,
        page: Option<String>,
    ) -> Result<Page<Report>, Error> {
        let list = |request| {
            let mut moderation = self.moderation();
            async move { moderation.list_reports(request).await }
        };
        let page_token = page.unwrap_or_default();
        let answer = self.call(ListReportsRequest { state: state.into(), page_size, page_token }, list).await?;
        Ok(Page::new(answer.reports, answer.next_page_token))
    }

    /// Lists the project's reports through all pages.
    ///
    /// # Errors
    /// As [`list_reports`](Self::list_reports); an error is the last item.
    pub fn list_reports_all(&self, state: ReportState) -> Items<Report> {
        let client = self.clone();
        page::all(String::new(), move |token| {
            let client = client.clone();
            async move { client.list_reports(state, 0, Some(token)).await }
        })
    }

    /// Closes a report, with a note of at most 2,048 bytes. For admins of the project. Closing again changes nothing.
    ///
    /// # Errors
    /// `AdminRequired`, `ReportNotFound`, `FieldInvalid`.
    pub async fn resolve_report(
        &self,
        report_id: impl Into<String>,
        resolution: impl Into<String>,
    ) -> Result<Report, Error> {
        let resolve = |request| {
            let mut moderation = self.moderation();
            async move { moderation.resolve_report(request).await }
        };
        let request = ResolveReportRequest { report_id: report_id.into(), resolution: resolution.into() };
        self.call(request, resolve).await?.report.ok_or_else(|| Error::missing("report"))
    }
}
