//! Whether database and broker answer, asked side by side. Who asks has an answer within a second.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;

use super::fresh::{Fresh, bounded};
use super::state::Readiness;

/// How long database and broker may take to answer.
const LIMIT: Duration = Duration::from_secs(3);
/// How long a probe waits for them, as most of those who send one give it up after a second.
const PROBE_LIMIT: Duration = Duration::from_millis(900);
/// How old the last answer may be that a probe is given instead of one that is late.
const MAX_AGE: Duration = Duration::from_secs(5);

type Answer = Result<(), String>;

/// The last answers of both.
#[derive(Default)]
pub(super) struct Answers {
    database: Arc<Fresh<Answer>>,
    broker: Arc<Fresh<Answer>>,
}

/// What `/readyz` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Report {
    ready: bool,
    /// `ok`, or what is wrong.
    pub(super) database: String,
    /// `ok`, or what is wrong.
    pub(super) broker: String,
}

impl Report {
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }
}

impl Answers {
    /// Asks both, unless they were asked a moment ago.
    pub(super) async fn report(&self, readiness: &Arc<dyn Readiness>) -> Report {
        let (for_database, for_broker) = (readiness.clone(), readiness.clone());
        let (database, broker) = tokio::join!(
            prompt(&self.database, move || Box::pin(async move { for_database.database().await })),
            prompt(&self.broker, move || Box::pin(async move { for_broker.broker().await })),
        );
        let ready = database.is_ok() && broker.is_ok();
        let word = |answer: Answer| answer.err().unwrap_or_else(|| "ok".to_owned());
        Report { ready, database: word(database), broker: word(broker) }
    }
}

/// A new answer, or the last one if that takes too long. The question goes on, for the next who asks.
async fn prompt(
    answers: &Arc<Fresh<Answer>>,
    ask: impl FnOnce() -> BoxFuture<'static, Answer> + Send + 'static,
) -> Answer {
    let asked = answers.clone();
    let asking =
        async move { asked.get(|| async { bounded(LIMIT, ask()).await.and_then(|answer| answer) }).await };
    match bounded(PROBE_LIMIT, asking).await {
        Ok(answer) => answer,
        Err(late) => answers.last(MAX_AGE).unwrap_or(Err(late)),
    }
}
