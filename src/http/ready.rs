//! Whether database and broker answer, asked side by side and not for long.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::fresh::bounded;
use super::state::Readiness;

/// A probe that waits longer is given up by most of those who send it.
const LIMIT: Duration = Duration::from_secs(3);

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

/// Asks both.
pub(super) async fn ask(readiness: Arc<dyn Readiness>) -> Report {
    let (for_database, for_broker) = (readiness.clone(), readiness);
    let (database, broker) = tokio::join!(
        bounded(LIMIT, async move { for_database.database().await }),
        bounded(LIMIT, async move { for_broker.broker().await }),
    );
    let (database, broker) = (database.and_then(|answer| answer), broker.and_then(|answer| answer));
    let ready = database.is_ok() && broker.is_ok();
    let word = |answer: Result<(), String>| answer.err().unwrap_or_else(|| "ok".to_owned());
    Report { ready, database: word(database), broker: word(broker) }
}
