//! Shared answers and deadlines: however many requests come in, database and broker are asked once a second, and
//! nobody waits for them without a limit.

use std::future::Future;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::time::timeout;

/// How old an answer may be.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The last answer. Callers that come while the next one is being fetched wait for that one.
#[derive(Debug)]
pub(crate) struct Cached<T> {
    last: Mutex<Option<(Instant, T)>>,
    fetching: tokio::sync::Mutex<()>,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self { last: Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }
}

impl<T: Clone> Cached<T> {
    /// The last answer if it is fresh enough, else a new one.
    pub(crate) async fn get<F: Future<Output = T>>(&self, ask: impl FnOnce() -> F) -> T {
        let _fetching = self.fetching.lock().await;
        if let Some(answer) = self.last(MAX_AGE) {
            return answer;
        }
        let answer = ask().await;
        *self.last.lock() = Some((Instant::now(), answer.clone()));
        answer
    }

    /// The last answer, unless it is older than `max_age`. Does not wait.
    pub(crate) fn last(&self, max_age: Duration) -> Option<T> {
        let last = self.last.lock();
        last.as_ref().filter(|(at, _)| at.elapsed() < max_age).map(|(_, answer)| answer.clone())
    }
}

/// The result of `work` if it comes within `limit`, else why not. The work runs in a task of its own and goes on when
/// the time is up or the caller is gone, as dropping it halfway could spoil a pooled connection.
pub(crate) async fn with_deadline<T: Send + 'static>(
    limit: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, String> {
    match timeout(limit, tokio::spawn(work)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err("internal error; see the log".to_owned()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn callers_at_the_same_time_get_one_answer() {
        let (cached, asked) = (Cached::default(), AtomicU32::new(0));
        let ask = || cached.get(|| async { asked.fetch_add(1, Ordering::Relaxed) });
        let answers = futures_util::future::join_all((0..50).map(|_| ask())).await;
        assert!(answers.iter().all(|answer| *answer == 0));
    }

    #[tokio::test]
    async fn work_that_hangs_or_panics_is_an_error() {
        let late = with_deadline(Duration::from_millis(1), std::future::pending::<()>()).await;
        assert_eq!(late.unwrap_err(), "no answer within 1ms");
        let panicked = with_deadline(Duration::from_secs(9), async { panic!("as a test") }).await;
        let panicked: Result<(), String> = panicked;
        assert!(panicked.is_err());
    }
}
