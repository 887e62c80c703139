//! Work that several want at once is done once: whoever asks while it is under way gets the same outcome.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;

/// Work under way, by what it is about.
pub(super) struct Flights<K, V> {
    running: Arc<Mutex<HashMap<K, Shared<BoxFuture<'static, V>>>>>,
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self { running: Arc::default() }
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The outcome of the work that runs for `key`, or else of `work`. It runs by itself: who waits may go.
    pub(super) async fn join(&self, key: K, work: impl Future<Output = V> + Send + 'static) -> V {
        let flight = {
            let mut running = self.running.lock();
            if let Some(flight) = running.get(&key) {
                flight.clone()
            } else {
                let (all, own) = (self.running.clone(), key.clone());
                let work = async move {
                    let outcome = work.await;
                    all.lock().remove(&own);
                    outcome
                };
                let flight = work.boxed().shared();
                running.insert(key, flight.clone());
                tokio::spawn(flight.clone());
                flight
            }
        };
        flight.await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn many_who_ask_at_once_share_one_answer() {
        let flights = Flights::<&str, usize>::default();
        let (runs, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let work = || {
            let (runs, go) = (runs.clone(), go.clone());
            async move {
                go.notified().await;
                runs.fetch_add(1, Ordering::Relaxed) + 1
            }
        };
        let (first, second) = (flights.join("a", work()), flights.join("a", work()));
        let (first, second, ()) = tokio::join!(first, second, async { go.notify_one() });
        assert_eq!((first, second), (1, 1));
        go.notify_one();
        assert_eq!(flights.join("a", work()).await, 2, "what is over is not repeated");
    }
}
