//! Reports of messages to the project's admins.

use uuid::Uuid;

use crate::{
    chat::{
        Chat,
        membership::require,
        message::{Message, at_most, no_nul},
        messages::{find, refuse_deleted},
        page::{self, Page},
        policy::Action,
        store,
    },
    clock::Timestamp,
    error::{Error, Reason, Result},
    id::{ProjectId, RoomId, UserId, UserKey},
};

/// The most bytes of a comment, and of the note with which a report is closed.
const MAX_COMMENT_BYTES: usize = 2_048;
/// The most open reports of one user.
const MAX_OPEN: i64 = 1_000;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented in proto/relay/chat/v1/moderation_service.proto, value by value")]
pub enum Category {
    Other,
    Spam,
    Abuse,
    Inappropriate,
    Illegal,
}

/// A report on its way in.
#[derive(Clone, Debug)]
pub struct NewReport {
    /// The room.
    pub room: RoomId,
    /// The message.
    pub seq: u64,
    /// What is wrong with it.
    pub category: Category,
    /// In the reporter's words.
    pub comment: String,
}

/// A report of a message.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the same fields, documented, are in proto/relay/chat/v1/moderation_service.proto")]
pub struct Report {
    pub id: Uuid,
    pub room: RoomId,
    pub reporter: UserId,
    pub message: Message,
    pub category: Category,
    pub comment: String,
    pub reported_at: Timestamp,
    pub resolved: Option<Resolution>,
}

/// How a report was closed.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// By whom.
    pub by: UserId,
    /// When.
    pub at: Timestamp,
    /// What was done.
    pub note: String,
}

impl Category {
    /// The number that the database keeps.
    pub fn number(self) -> i64 {
        match self {
            Self::Other => 1,
            Self::Spam => 2,
            Self::Abuse => 3,
            Self::Inappropriate => 4,
            Self::Illegal => 5,
        }
    }

    /// The category that the database kept.
    pub fn from_number(number: i64) -> Option<Self> {
        let all = [Self::Other, Self::Spam, Self::Abuse, Self::Inappropriate, Self::Illegal];
        all.into_iter().find(|category| category.number() == number)
    }
}

impl Chat {
    /// Reports a message as it is now, in the place of an open report of the caller's; answers with the report's id.
    pub async fn report(&self, caller: UserKey, new: NewReport) -> Result<Uuid> {
        check_words("comment", &new.comment)?;
        self.log()
            .write(Some(caller.room(new.room.clone())), new.comment.len(), move |unit| {
                Box::pin(async move {
                    let NewReport { room, seq, category, comment } = new;
                    let key = caller.room(room);
                    require(unit, &key, &caller.user, Action::Read).await?;
                    let message = find(unit, &key, seq).await?;
                    refuse_deleted(&message)?;
                    let again = store::reports::is_open(&mut unit.tx, &key, seq, &caller.user).await?;
                    if !again && store::reports::count_open(&mut unit.tx, &caller).await? >= MAX_OPEN {
                        let message = format!("the caller has {MAX_OPEN} open reports, which is the limit");
                        return Err(Error::new(Reason::TooManyReports, message));
                    }
                    let report = Report {
                        id: Uuid::now_v7(),
                        room: key.room.clone(),
                        reporter: caller.user,
                        message,
                        category,
                        comment,
                        reported_at: unit.now,
                        resolved: None,
                    };
                    let id = store::reports::put(&mut unit.tx, &key, &report).await?;
                    id.ok_or_else(|| Error::internal(&"a report was written without an id"))
                })
            })
            .await
    }

    /// A page of the project's reports, open or closed, those that were first made last first. The caller is an admin.
    pub async fn list_reports(
        &self,
        project: &ProjectId,
        resolved: bool,
        limit: usize,
        token: &str,
    ) -> Result<Page<Report>> {
        let list = ["reports", project.as_str(), if resolved { "resolved" } else { "open" }];
        let before = match self.pages().open(token, &list)?.as_slice() {
            [] => Uuid::max(),
            [id] => Uuid::try_parse(id).map_err(|_| page::invalid())?,
            _ => return Err(page::invalid()),
        };
        let reports = store::reports::list(self.db(), project, resolved, before, limit + 1).await?;
        let weight = |report: &Report| report.message.content.weight() + report.comment.len();
        let fits = page::fitting(&reports, weight).min(limit);
        Ok(Page::cut(reports, fits, |last| self.pages().seal(&list, &[&last.id.to_string()])))
    }

    /// Closes a report. Closing again changes nothing. The caller is an admin.
    pub async fn resolve_report(&self, caller: UserKey, id: Uuid, note: String) -> Result<Report> {
        check_words("resolution", &note)?;
        self.log()
            .write(None, note.len(), move |unit| {
                Box::pin(async move {
                    let resolution = Resolution { by: caller.user, at: unit.now, note };
                    store::reports::resolve(&mut unit.tx, &caller.project, id, &resolution).await?;
                    let found = store::reports::get(&mut unit.tx, &caller.project, id).await?;
                    found.ok_or_else(|| Error::new(Reason::ReportNotFound, "the project has no such report"))
                })
            })
            .await
    }
}

fn check_words(field: &str, text: &str) -> Result<()> {
    at_most(field, text.len(), MAX_COMMENT_BYTES)?;
    no_nul(field, text)
}
