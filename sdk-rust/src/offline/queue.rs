//! The messages that are still to be sent, in the file: what comes next, and what an answer changes. No network, no clock.

use prost::Message as _;
use relay_proto::chat::v1::{SendMessageRequest, SendReceipt};

use super::{
    cache::{read_seq, seen_seq},
    fate::{self, Fate},
    store::{Store, Tx, begin, int, run, storage, uint},
};
use crate::{Error, ErrorKind, ErrorReason, NewContent, OutgoingMessage, error::reason_name, retry};

/// What is to be done next in a room.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Declare a number skipped.
    Skip { room_id: String, generation: u64, number: u64 },
    /// Send a message. `was_open`: an earlier attempt may have been carried out.
    Send { request: Box<SendMessageRequest>, was_open: bool },
}

/// What an answer has made of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    /// It is dealt with, and so is the message.
    Done,
    /// The message waits for the user.
    Parked,
    /// It comes again.
    Again,
    /// All that waits in the room comes again, under other numbers.
    Renumbered,
    /// The message was dropped meanwhile.
    Gone,
}

/// Why a message could not be sent, the last time.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Why the server refused it. `None`: it did not answer, or with something that is not about the message, or for a reason
    /// that this crate does not know.
    pub reason: Option<ErrorReason>,
    /// One sentence for a developer.
    pub message: String,
}

/// A message that is not acknowledged.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Pending {
    /// The message.
    pub message: OutgoingMessage,
    /// Whether it waits for the user, who can edit it, have it tried again or drop it. Otherwise it is sent when its turn
    /// comes.
    pub parked: bool,
    /// What went wrong the last time.
    pub refusal: Option<Refusal>,
}

type PendingRow = (Vec<u8>, bool, Option<i32>, Option<String>);

impl Store {
    /// Puts a message at the end of its room's lane. One whose id is there already is left as it is. Answers whether it was not.
    pub(super) async fn write(&self, message: OutgoingMessage) -> Result<bool, Error> {
        let mut connection = self.connection().await;
        let mut tx = begin(&mut connection).await?;
        let mut request = message.into_request();
        if is_known(&mut tx, &request.client_message_id).await? {
            return Ok(false);
        }
        if request.written_after_seq.is_none() {
            request.written_after_seq = seen_seq(&mut tx, &request.room_id).await?;
        }
        let (generation, number) = take_number(&mut tx, &request.room_id).await?;
        let query = sqlx::query(
            "INSERT INTO outbox (client_message_id, room_id, generation, number, request) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(&request.client_message_id)
        .bind(&request.room_id)
        .bind(generation)
        .bind(number)
        .bind(request.encode_to_vec());
        run(&mut tx, query).await?;
        tx.commit().await.map_err(storage)?;
        Ok(true)
    }

    /// Gives a message other content. A parked one goes to the end of the lane, one that waits keeps its place.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` if it may be written already with the content that it has.
    pub(super) async fn edit(&self, id: &str, content: NewContent) -> Result<String, Error> {
        let mut connection = self.connection().await;
        let mut tx = begin(&mut connection).await?;
        let row = find(&mut tx, id).await?;
        if row.open && !row.parked {
            return Err(Error::new(ErrorKind::FailedPrecondition, "the message is being sent, and may be written"));
        }
        let mut request = row.request;
        content.put_into(&mut request);
        let query = sqlx::query("UPDATE outbox SET request = $2 WHERE client_message_id = $1")
            .bind(id)
            .bind(request.encode_to_vec());
        run(&mut tx, query).await?;
        if row.parked {
            unpark(&mut tx, &mut request).await?;
        }
        tx.commit().await.map_err(storage)?;
        Ok(request.room_id)
    }

    /// Puts a parked message at the end of the lane, under its id. Of one that waits, nothing changes.
    ///
    /// # Errors
    /// `NotFound`.
    pub(super) async fn retry(&self, id: &str) -> Result<String, Error> {
        let mut connection = self.connection().await;
        let mut tx = begin(&mut connection).await?;
        let mut row = find(&mut tx, id).await?;
        if row.parked {
            unpark(&mut tx, &mut row.request).await?;
        }
        tx.commit().await.map_err(storage)?;
        Ok(row.request.room_id)
    }

    /// Gives a message up. Answers with its room, and whether it may be written all the same.
    ///
    /// # Errors
    /// `NotFound`.
    pub(super) async fn give_up(&self, id: &str) -> Result<(String, bool), Error> {
        let mut connection = self.connection().await;
        let mut tx = begin(&mut connection).await?;
        let row = find(&mut tx, id).await?;
        if !row.parked {
            skip(&mut tx, &row.request.room_id, row.generation, row.number).await?;
        }
        remove(&mut tx, id).await?;
        tx.commit().await.map_err(storage)?;
        Ok((row.request.room_id, row.open))
    }

    /// The messages of a room, or of all, that are not acknowledged: in the order in which they are sent, parked ones last.
    pub(super) async fn pending(&self, room_id: Option<&str>) -> Result<Vec<Pending>, Error> {
        let mut connection = self.connection().await;
        let rows: Vec<PendingRow> = sqlx::query_as(
            "SELECT request, parked, reason, error FROM outbox WHERE $1 IS NULL OR room_id = $1 \
             ORDER BY room_id, parked, number",
        )
        .bind(room_id)
        .fetch_all(&mut *connection)
        .await
        .map_err(storage)?;
        rows.into_iter().map(pending).collect()
    }

    /// The rooms in which something is to be done.
    pub(super) async fn busy_rooms(&self) -> Result<Vec<String>, Error> {
        let mut connection = self.connection().await;
        sqlx::query_scalar("SELECT room_id FROM outbox WHERE parked = 0 UNION SELECT room_id FROM skips")
            .fetch_all(&mut *connection)
            .await
            .map_err(storage)
    }

    /// What is to be done next in a room. A message counts as sent from here on, whatever becomes of this process.
    pub(super) async fn next(&self, room_id: &str) -> Result<Option<Step>, Error> {
        let mut connection = self.connection().await;
        let mut tx = begin(&mut connection).await?;
        let skipped: Option<(i64, i64)> = sqlx::query_as(
            "SELECT generation, number FROM skips WHERE room_id = $1 ORDER BY generation, number LIMIT 1",
        )
        .bind(room_id)
        .fetch_optional(&mut *tx)
        .await
        .map_err(storage)?;
        if let Some((generation, number)) = skipped {
            let (generation, number) = (uint(generation), uint(number));
            return Ok(Some(Step::Skip { room_id: room_id.to_owned(), generation, number }));
        }
        let first: Option<(Vec<u8>, i64, i64, bool)> = sqlx::query_as(
            "SELECT request, generation, number, open FROM outbox WHERE room_id = $1 AND parked = 0 ORDER BY number LIMIT 1",
        )
        .bind(room_id)
        .fetch_optional(&mut *tx)
        .await
        .map_err(storage)?;
        let Some((request, generation, number, was_open)) = first else { return Ok(None) };
        let mut request = decode(&request)?;
        let query =
            sqlx::query("UPDATE outbox SET open = 1 WHERE client_message_id = $1").bind(&request.client_message_id);
        run(&mut tx, query).await?;
        if let Some(after) = request.written_after_seq {
            // What they have read since is no more unseen, and their own messages never were.
            let after = read_seq(&mut tx, room_id).await?.map_or(after, |read| read.max(after));
            let (first, last) = own_run(&mut tx, room_id).await?;
            request.written_after_seq = Some(if (first..last).contains(&after) { last } else { after });
        }
        tx.commit().await.map_err(storage)?;
        request.lane_id = self.lane_id(uint(generation));
        request.client_seq = uint(number);
        Ok(Some(Step::Send { request: Box::new(request), was_open }))
    }

    /// Notes the answer to a step. That to a skip carries no receipt.
    pub(super) async fn answered(
        &self,
        step: &Step,
        answer: Result<Option<&SendReceipt>, &Error>,
    ) -> Result<Answered, Error> {
        let mut connection = self.connection().await;
        let mut tx = begin(&mut connection).await?;
        let answered = match (step, answer) {
            (Step::Skip { .. }, Err(error)) if fate::skip_again(error) => Answered::Again,
            (Step::Skip { room_id, generation, number }, _) => {
                let query = sqlx::query("DELETE FROM skips WHERE room_id = $1 AND generation = $2 AND number = $3")
                    .bind(room_id)
                    .bind(int(*generation))
                    .bind(int(*number));
                run(&mut tx, query).await?;
                Answered::Done
            }
            (Step::Send { request, .. }, Ok(receipt)) => sent(&mut tx, request, receipt).await?,
            (Step::Send { request, was_open }, Err(error)) => failed(&mut tx, request, *was_open, error).await?,
        };
        tx.commit().await.map_err(storage)?;
        Ok(answered)
    }

    /// The name of this device's lanes of a generation: a lane belongs to its sender and room, so one serves all rooms.
    pub(super) fn lane_id(&self, generation: u64) -> String {
        match generation {
            1 => self.device_id().to_owned(),
            _ => format!("{}.{generation}", self.device_id()),
        }
    }
}

struct Row {
    request: SendMessageRequest,
    generation: i64,
    number: i64,
    parked: bool,
    open: bool,
}

async fn find(tx: &mut Tx<'_>, id: &str) -> Result<Row, Error> {
    let row: Option<(Vec<u8>, i64, i64, bool, bool)> =
        sqlx::query_as("SELECT request, generation, number, parked, open FROM outbox WHERE client_message_id = $1")
            .bind(id)
            .fetch_optional(&mut **tx)
            .await
            .map_err(storage)?;
    let Some((request, generation, number, parked, open)) = row else {
        return Err(Error::new(ErrorKind::NotFound, "the outbox has no message with this id"));
    };
    Ok(Row { request: decode(&request)?, generation, number, parked, open })
}

async fn is_known(tx: &mut Tx<'_>, id: &str) -> Result<bool, Error> {
    let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM outbox WHERE client_message_id = $1")
        .bind(id)
        .fetch_optional(&mut **tx)
        .await
        .map_err(storage)?;
    Ok(known.is_some())
}

/// The next number of a room's lane, and its generation.
async fn take_number(tx: &mut Tx<'_>, room_id: &str) -> Result<(i64, i64), Error> {
    sqlx::query_as(
        "INSERT INTO lanes (room_id, generation, last_number) VALUES ($1, 1, 1) \
         ON CONFLICT (room_id) DO UPDATE SET last_number = last_number + 1 RETURNING generation, last_number",
    )
    .bind(room_id)
    .fetch_one(&mut **tx)
    .await
    .map_err(storage)
}

/// Puts a parked message at the end of the lane. It is as if the user wrote it now.
async fn unpark(tx: &mut Tx<'_>, request: &mut SendMessageRequest) -> Result<(), Error> {
    let (generation, number) = take_number(tx, &request.room_id).await?;
    request.written_after_seq = seen_seq(tx, &request.room_id).await?.or(request.written_after_seq);
    let query = sqlx::query(
        "UPDATE outbox SET parked = 0, reason = NULL, error = NULL, generation = $2, number = $3, request = $4 \
         WHERE client_message_id = $1",
    )
    .bind(&request.client_message_id)
    .bind(generation)
    .bind(number)
    .bind(request.encode_to_vec());
    run(tx, query).await.map(drop)
}

/// The newest messages of this device's own with none of others between: those after the first number, up to the second.
async fn own_run(tx: &mut Tx<'_>, room_id: &str) -> Result<(u64, u64), Error> {
    let run: Option<(i64, i64)> = sqlx::query_as("SELECT after, last FROM own_runs WHERE room_id = $1")
        .bind(room_id)
        .fetch_optional(&mut **tx)
        .await
        .map_err(storage)?;
    Ok(run.map_or((0, 0), |(after, last)| (uint(after), uint(last))))
}

/// Notes where a message was written.
async fn extend_own_run(tx: &mut Tx<'_>, room_id: &str, seq: u64) -> Result<(), Error> {
    let (first, last) = own_run(tx, room_id).await?;
    if seq <= last {
        return Ok(());
    }
    let first = if last + 1 == seq { first } else { seq - 1 };
    let query = sqlx::query("INSERT OR REPLACE INTO own_runs (room_id, after, last) VALUES ($1, $2, $3)")
        .bind(room_id)
        .bind(int(first))
        .bind(int(seq));
    run(tx, query).await.map(drop)
}

async fn skip(tx: &mut Tx<'_>, room_id: &str, generation: i64, number: i64) -> Result<(), Error> {
    let query =
        sqlx::query("INSERT INTO skips (room_id, generation, number) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(room_id)
            .bind(generation)
            .bind(number);
    run(tx, query).await.map(drop)
}

async fn remove(tx: &mut Tx<'_>, id: &str) -> Result<(), Error> {
    run(tx, sqlx::query("DELETE FROM outbox WHERE client_message_id = $1").bind(id)).await.map(drop)
}

/// Takes a message that is written out of the outbox. One that was written before, without a lane or in another, has not used
/// its number, and the messages after it would wait for that: it is declared skipped.
async fn sent(tx: &mut Tx<'_>, request: &SendMessageRequest, receipt: Option<&SendReceipt>) -> Result<Answered, Error> {
    let id = &request.client_message_id;
    if let Some(receipt) = receipt {
        extend_own_run(tx, &request.room_id, receipt.seq).await?;
    }
    if !is_known(tx, id).await? {
        return Ok(Answered::Gone);
    }
    let row = find(tx, id).await?;
    if receipt.is_some_and(|receipt| (1..=uint(row.number)).contains(&receipt.next_client_seq)) {
        skip(tx, &request.room_id, row.generation, row.number).await?;
    }
    remove(tx, id).await?;
    Ok(Answered::Done)
}

/// Notes why a message could not be sent, and what becomes of it.
async fn failed(
    tx: &mut Tx<'_>,
    request: &SendMessageRequest,
    was_open: bool,
    error: &Error,
) -> Result<Answered, Error> {
    let id = &request.client_message_id;
    if !is_known(tx, id).await? {
        return Ok(Answered::Gone);
    }
    let fate = fate::of_send(error);
    let open = retry::leaves_open(error) || (was_open && !retry::refuses_send(error));
    let query =
        sqlx::query("UPDATE outbox SET open = $2, parked = $3, reason = $4, error = $5 WHERE client_message_id = $1")
            .bind(id)
            .bind(open)
            .bind(fate == Fate::Park)
            .bind(error.reason().map(i32::from))
            .bind(error.message());
    run(tx, query).await?;
    match fate {
        Fate::Retry => Ok(Answered::Again),
        Fate::Park => {
            let row = find(tx, id).await?;
            skip(tx, &request.room_id, row.generation, row.number).await?;
            Ok(Answered::Parked)
        }
        Fate::NewLane => {
            begin_lane(tx, &request.room_id).await?;
            Ok(Answered::Renumbered)
        }
    }
}

/// Numbers all that waits in a room from 1 in a new lane.
async fn begin_lane(tx: &mut Tx<'_>, room_id: &str) -> Result<(), Error> {
    run(tx, sqlx::query("DELETE FROM skips WHERE room_id = $1").bind(room_id)).await?;
    let query = sqlx::query(
        "UPDATE outbox SET generation = generation + 1, number = ordered.place FROM \
         (SELECT client_message_id, row_number() OVER (ORDER BY number) AS place \
          FROM outbox WHERE room_id = $1 AND parked = 0) AS ordered \
         WHERE outbox.client_message_id = ordered.client_message_id",
    )
    .bind(room_id);
    run(tx, query).await?;
    let query = sqlx::query(
        "UPDATE lanes SET generation = generation + 1, \
         last_number = (SELECT count(*) FROM outbox WHERE room_id = $1 AND parked = 0) WHERE room_id = $1",
    )
    .bind(room_id);
    run(tx, query).await.map(drop)
}

fn pending((request, parked, reason, message): PendingRow) -> Result<Pending, Error> {
    let reason = reason.and_then(|reason| ErrorReason::try_from(reason).ok());
    let named = |message: String| match (message.as_str(), reason) {
        ("", Some(reason)) => reason_name(reason).to_owned(),
        _ => message,
    };
    let refusal = message.map(|message| Refusal { reason, message: named(message) });
    Ok(Pending { message: OutgoingMessage::from_request(decode(&request)?), parked, refusal })
}

fn decode(request: &[u8]) -> Result<SendMessageRequest, Error> {
    SendMessageRequest::decode(request)
        .map_err(|error| Error::caused_by(ErrorKind::Storage, "the file of the outbox and cache", Box::new(error)))
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
