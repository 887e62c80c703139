//! Questions that many ask at once go to the database together: one statement answers all that wait.
//!
//! A question that comes alone is asked at once. Under a rush, when an answer had many waiting, the next question waits a
//! moment for others: what each of them loses is less than what the database would need for all of them one by one.

use std::{collections::HashMap, hash::Hash, time::Duration};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};

/// Questions in one statement.
const MOST: usize = 128;
/// Questions that wait.
const QUEUE: usize = 65_536;
/// From so many in one statement on, it is a rush.
const RUSH: usize = 8;
/// How long the next statement waits in a rush.
const PAUSE: Duration = Duration::from_millis(20);

type Answer<V> = oneshot::Sender<Result<V>>;

/// Asks for the values of keys.
pub(super) struct Gather<K, V> {
    queue: mpsc::Sender<(K, Answer<V>)>,
}

impl<K, V> Gather<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Default + Send + 'static,
{
    /// Starts the task that asks by `ask`, until the handle is dropped. A key that is not in its answer has the default.
    pub(super) fn start(
        ask: impl Fn(Vec<K>) -> BoxFuture<'static, Result<HashMap<K, V>>> + Send + Sync + 'static,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(run(waiting, ask));
        Self { queue }
    }

    /// The value of `key`, as of a moment after this was called.
    ///
    /// # Errors
    /// Those of the question, and OVERLOADED.
    pub(super) async fn ask(&self, key: K) -> Result<V> {
        let (answer, answered) = oneshot::channel();
        let waits = self.queue.try_send((key, answer));
        waits.map_err(|_| Error::overloaded("more streams are being opened than the server holds"))?;
        answered.await.unwrap_or_else(|_| Err(Error::draining()))
    }
}

async fn run<K, V>(
    mut waiting: mpsc::Receiver<(K, Answer<V>)>,
    ask: impl Fn(Vec<K>) -> BoxFuture<'static, Result<HashMap<K, V>>>,
) where
    K: Clone + Eq + Hash,
    V: Clone + Default,
{
    let mut round = Vec::with_capacity(MOST);
    while waiting.recv_many(&mut round, MOST).await > 0 {
        let mut answers: HashMap<K, Vec<Answer<V>>> = HashMap::new();
        let rush = round.len() >= RUSH;
        for (key, answer) in round.drain(..) {
            answers.entry(key).or_default().push(answer);
        }
        let asked = ask(answers.keys().cloned().collect()).await;
        for (key, answers) in answers {
            let value = asked.as_ref().map(|found| found.get(&key).cloned().unwrap_or_default());
            for answer in answers {
                // Whoever hung up does not need it.
                let _ = answer.send(value.clone().map_err(Clone::clone));
            }
        }
        if rush && waiting.len() < MOST {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn questions_that_wait_are_asked_together() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let gather = Gather::start(move |keys: Vec<u32>| {
            count.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move {
                tokio::task::yield_now().await;
                Ok(keys.into_iter().filter(|key| *key != 7).map(|key| (key, key * 2)).collect())
            })
        });
        let answers = join_all((0..1_000).map(|key| gather.ask(key % 500))).await;
        assert_eq!(answers[3], Ok(6));
        assert_eq!(answers[7], Ok(0), "what is not found is the default");
        assert!(asked.load(Ordering::Relaxed) <= 10, "{asked:?}");
    }

    #[tokio::test]
    async fn an_error_goes_to_all_who_asked() {
        let gather = Gather::<u32, u32>::start(|_| Box::pin(async { Err(Error::draining()) }));
        assert_eq!(join_all([gather.ask(1), gather.ask(2)]).await, [Err(Error::draining()), Err(Error::draining())]);
    }
}
