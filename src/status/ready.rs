//! What `/readyz` answers: whether database and broker answer, asked at the same time. A probe gets its answer within a
//! second.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::cached::{Cached, with_deadline};
use super::{Sources, read_only};
use crate::broker::Role;
use crate::telemetry::report;

/// How long database and broker may take to answer.
const LIMIT: Duration = Duration::from_secs(3);
/// How long a probe waits for them: most probes give up after a second.
const PROBE_LIMIT: Duration = Duration::from_millis(900);
/// How old the last answer may be that a probe gets when the next one is late.
const MAX_AGE: Duration = Duration::from_secs(5);

type Answer = Result<(), String>;

/// The last answers of both.
#[derive(Default)]
pub(crate) struct Readiness {
    database: Arc<Cached<Answer>>,
    broker: Arc<Cached<Answer>>,
}

/// What `/readyz` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    pub(crate) ready: bool,
    /// `ok`, or what is wrong.
    pub(crate) database: String,
    /// `ok`, or what is wrong.
    pub(crate) broker: String,
}

impl Readiness {
    /// Asks both, unless they were asked a moment ago.
    pub(crate) async fn report(&self, sources: &Sources) -> Report {
        let [for_database, for_broker] = [(); 2].map(|()| sources.clone());
        let (database, broker) = tokio::join!(
            ask(&self.database, async move { for_database.check_database().await }),
            ask(&self.broker, async move { for_broker.check_broker().await }),
        );
        let ready = database.is_ok() && broker.is_ok();
        let word = |answer: Answer| answer.err().unwrap_or_else(|| "ok".to_owned());
        Report { ready, database: word(database), broker: word(broker) }
    }
}

impl Sources {
    async fn check_database(&self) -> Answer {
        self.store.check_schema().await.map_err(|error| report(&error))?;
        self.store.writes().read_only().map_or(Ok(()), |refused| Err(read_only(&refused.why)))
    }

    /// Opens a connection of its own, as the consumer's may look fine and be dead.
    async fn check_broker(&self) -> Answer {
        let verify = async {
            let connection = self.broker.open(Role::Operator).await?;
            let verified = self.topology.verify(&connection).await;
            connection.close().await;
            verified
        };
        verify.await.map_err(|error| report(&error))
    }
}

/// A new answer, or the last one if the new one is late. The question goes on, for the next probe.
async fn ask(
    answers: &Arc<Cached<Answer>>,
    question: impl Future<Output = Answer> + Send + 'static,
) -> Answer {
    let cached = answers.clone();
    let asking = async move {
        cached.get(|| async { with_deadline(LIMIT, question).await.and_then(|answer| answer) }).await
    };
    match with_deadline(PROBE_LIMIT, asking).await {
        Ok(answer) => answer,
        Err(late) => answers.last(MAX_AGE).unwrap_or(Err(late)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[tokio::test]
    async fn a_probe_gets_the_last_answer_of_a_database_that_is_late() {
        let answers = Arc::default();
        let late = || async {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            Ok(())
        };
        assert_eq!(ask(&answers, late()).await, Err("no answer within 900ms".to_owned()));
        let deadline = Instant::now() + Duration::from_secs(20);
        while ask(&answers, late()).await.is_err() {
            assert!(Instant::now() < deadline, "the answer that was late never shows");
        }
    }
}
