//! The subscribers of a server: each on a connection of its own, in a task of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use crate::{
    error::{Error, in_time},
    latency::Tally,
    stamp,
    subject::{FanOut, Feed},
};

/// Connections that are opened at the same time.
const OPENING: usize = 32;
/// How long the opening of all may take.
const OPEN: Duration = Duration::from_secs(120);
/// One delivery in so many has its latency taken.
const SAMPLED: u64 = 16;

/// Connected subscribers. Dropping it disconnects them.
pub(super) struct Audience {
    tasks: JoinSet<Error>,
    hall: Arc<Hall>,
}

/// What the subscribers share.
struct Hall {
    tallies: Vec<Tally>,
    flight: Flight,
    /// The length of the last message that subscriber 0 got.
    length: AtomicUsize,
}

impl Audience {
    /// Connects `size` subscribers to `subject`, for at most `in_flight` messages under way.
    pub(super) async fn open<S: FanOut>(subject: &Arc<S>, size: usize, in_flight: usize) -> Result<Self, Error> {
        let tallies = (0..size).map(|_| Tally::default()).collect();
        let hall = Arc::new(Hall { tallies, flight: Flight::new(size, in_flight), length: AtomicUsize::new(0) });
        let mut tasks = JoinSet::new();
        let turns = Arc::new(Semaphore::new(OPENING));
        let (ready, mut opened) = mpsc::channel(OPENING);
        for number in 0..size {
            let (subject, hall, turns, ready) = (Arc::clone(subject), hall.clone(), turns.clone(), ready.clone());
            tasks.spawn(async move {
                let feed = {
                    let _turn = turns.acquire().await;
                    subject.subscribe(number).await
                };
                match feed {
                    Ok(feed) => {
                        let _ = ready.send(()).await;
                        listen(feed, &hall, number).await
                    }
                    Err(error) => error,
                }
            });
        }
        let mut audience = Self { tasks, hall };
        in_time("the last subscriber's stream", OPEN, async {
            for _ in 0..size {
                tokio::select! {
                    _ = opened.recv() => {}
                    error = audience.lost() => return Err(error),
                }
            }
            Ok(())
        })
        .await?;
        Ok(audience)
    }

    /// Waits until a subscriber loses its stream, and says why.
    pub(super) async fn lost(&mut self) -> Error {
        match self.tasks.join_next().await {
            Some(Ok(error)) => error,
            Some(Err(failed)) => Error::unexpected(format!("a subscriber's task failed: {failed}")),
            None => Error::unexpected("there are no subscribers"),
        }
    }

    /// What each subscriber has got.
    pub(super) fn tallies(&self) -> Seats {
        Seats(Arc::clone(&self.hall))
    }

    /// The length of the last message, without prefix and frame header. 0: there was none.
    pub(super) fn message_length(&self) -> usize {
        self.hall.length.load(Relaxed)
    }
}

/// The subscribers' counters, and the messages under way, apart from the tasks.
pub(super) struct Seats(Arc<Hall>);

impl Seats {
    /// The counters.
    pub(super) fn tallies(&self) -> impl Iterator<Item = &Tally> + Clone {
        self.0.tallies.iter()
    }

    /// The messages under way.
    pub(super) fn flight(&self) -> &Flight {
        &self.0.flight
    }
}

/// The messages under way: published, and not yet with every subscriber. Each subscriber gets them in order, so the slots become free in order.
pub(super) struct Flight {
    /// How many subscribers do not yet have the message of a slot.
    missing: Vec<AtomicUsize>,
    places: Semaphore,
    size: usize,
}

impl Flight {
    fn new(size: usize, in_flight: usize) -> Self {
        let missing = (0..in_flight).map(|_| AtomicUsize::new(0)).collect();
        Self { missing, places: Semaphore::new(in_flight), size }
    }

    /// Waits for a free place. May be cancelled.
    pub(super) async fn place(&self) {
        // The semaphore is never closed.
        if let Ok(place) = self.places.acquire().await {
            place.forget();
        }
    }

    /// Message `number` takes the place.
    pub(super) fn depart(&self, number: u64) {
        if let Some(missing) = self.slot(number) {
            missing.store(self.size, Relaxed);
        }
    }

    /// Waits until nothing is under way.
    pub(super) async fn landed(&self) {
        let _ = self.places.acquire_many(self.missing.len() as u32).await;
    }

    /// One subscriber has got message `number`.
    fn arrive(&self, number: u64) {
        if self.slot(number).is_some_and(|missing| missing.fetch_sub(1, Relaxed) == 1) {
            self.places.add_permits(1);
        }
    }

    fn slot(&self, number: u64) -> Option<&AtomicUsize> {
        self.missing.get(number as usize % self.missing.len())
    }
}

/// Reads a stream for ever: counts, and takes the latency of some.
async fn listen(mut feed: Feed, hall: &Hall, number: usize) -> Error {
    let Some(tally) = hall.tallies.get(number) else { return Error::unexpected("no seat for a subscriber") };
    loop {
        let read = feed.read(|message| {
            let count = tally.add();
            if number == 0 {
                hall.length.store(message.len(), Relaxed);
            }
            if (count + number as u64).is_multiple_of(SAMPLED)
                && let Some(sent) = stamp::find(message)
            {
                tally.sample(stamp::now().saturating_sub(sent));
            }
            hall.flight.arrive(count);
        });
        if let Err(error) = read.await {
            return error;
        }
    }
}
