//! Answers that cost something are shared: however many ask, the database and the broker are asked once a second.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;

/// How old an answer may be.
const MAX_AGE: Duration = Duration::from_secs(1);

/// The last answer; whoever asks while the next is under way waits for that one.
#[derive(Debug)]
pub(super) struct Fresh<T> {
    last: Mutex<Option<(Instant, T)>>,
    asking: tokio::sync::Mutex<()>,
}

impl<T> Default for Fresh<T> {
    fn default() -> Self {
        Self { last: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }
}

impl<T: Clone> Fresh<T> {
    /// The last answer if it is fresh enough, else a new one.
    pub(super) async fn get<F: Future<Output = T>>(&self, ask: impl FnOnce() -> F) -> T {
        let _asking = self.asking.lock().await;
        if let Some(answer) = self.last(MAX_AGE) {
            return answer;
        }
        let answer = ask().await;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), answer.clone()));
        answer
    }

    /// The last answer, unless it is older than this. Waits for nothing.
    pub(super) fn last(&self, max_age: Duration) -> Option<T> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(at, _)| at.elapsed() < max_age).map(|(_, answer)| answer.clone())
    }
}

/// What `work` gives, if it does so within `limit`; else why not. The work goes on in a task of its own when the
/// time is up, or when who asked has gone: dropping it halfway could spoil a pooled connection.
pub(crate) async fn bounded<T: Send + 'static>(
    limit: Duration,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, String> {
    match timeout(limit, tokio::spawn(work)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err("it failed in a way that nobody foresaw; the log says more".to_owned()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn many_who_ask_at_once_get_one_answer() {
        let (fresh, asked) = (Fresh::default(), AtomicU32::new(0));
        let ask = || fresh.get(|| async { asked.fetch_add(1, Ordering::Relaxed) });
        let answers = futures_util::future::join_all((0..50).map(|_| ask())).await;
        assert!(answers.iter().all(|answer| *answer == 0));
    }

    #[tokio::test]
    async fn work_that_hangs_or_panics_is_an_error() {
        let late = bounded(Duration::from_millis(1), std::future::pending::<()>()).await;
        assert_eq!(late.unwrap_err(), "no answer within 1ms");
        let panicked = bounded(Duration::from_secs(9), async { panic!("as a test") }).await;
        let panicked: Result<(), String> = panicked;
        assert!(panicked.is_err());
    }
}
