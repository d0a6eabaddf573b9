//! The state of the worker: what is wrong, since when and why. It is gathered from database, broker and Catalog into
//! one value, which `/api/v1/status` shows as JSON and `/` as a page. Reading it changes nothing.

mod as_json;
pub(crate) mod cached;
pub mod explain;
mod gather;
pub mod health;
mod ready;
mod schedule;
#[cfg(test)]
mod tests;
mod why;

pub use self::explain::{Explanation, Line};
pub use self::gather::Sources;
pub use self::health::Health;
pub(crate) use self::ready::Readiness;
pub use self::schedule::{Lease, Leases, Next};

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::pass::Report;
use crate::store::{HintPosition, LetterHead, PassRow, RefusedCourse};

/// Everything that is known, as JSON in this form.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// When this was gathered, by the worker's clock.
    pub at: DateTime<Utc>,
    /// Whether the database writes.
    pub database: Database,
    /// The LMS's overviews.
    pub overviews: Reading<Overviews>,
    /// Those without a link.
    pub blank: Reading<Blanks>,
    /// Those whose URL in the Catalog is refused, linked or blank.
    pub refused: Reading<Refused>,
    /// The consumer of events.
    pub consumer: Consumer,
    /// Messages in each queue.
    pub queues: Reading<Queues>,
    /// Whether this worker sends requests to the Catalog.
    pub catalog: Catalog,
    /// Up to where the changes of the Catalog are known. `None` if it was never asked what has changed.
    pub hints: Reading<Option<Hints>>,
    /// The last full passes, newest first.
    pub passes: Reading<Vec<Pass>>,
    /// The last light pass.
    pub light_pass: Reading<Option<Pass>>,
    /// The first dead letters, oldest first.
    pub dead_letters: Reading<Vec<DeadLetter>>,
    /// When the passes run next.
    pub next: Next,
    /// Which worker has which job.
    pub leases: Reading<Leases>,
}

/// A dead letter, less its body.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetter {
    /// The number by which commands name it.
    pub id: i64,
    /// When it was first seen.
    pub first_seen: DateTime<Utc>,
    /// Why it is dead.
    pub reason: String,
    /// The course that it is about, or names.
    pub course_id: Option<String>,
}

impl From<LetterHead> for DeadLetter {
    fn from(head: LetterHead) -> Self {
        let LetterHead { id, first_seen, reason, course_id, .. } = head;
        Self { id, first_seen, reason, course_id }
    }
}

/// Up to where the changes of the Catalog are known.
#[derive(Debug, Clone, Serialize)]
pub struct Hints {
    /// The next question is about changes since then, by the Catalog's clock.
    pub position: DateTime<Utc>,
    /// When it was last asked, and answered, and the hints were sent.
    pub asked_at: DateTime<Utc>,
    /// Since when a pass is to take the place of hints, if one is.
    pub pass_due_since: Option<DateTime<Utc>>,
}

impl From<HintPosition> for Hints {
    fn from(row: HintPosition) -> Self {
        let HintPosition { position, asked_at, pass_due_since, .. } = row;
        Self { position, asked_at, pass_due_since }
    }
}

/// Whether the database accepts writes, as far as this worker knows.
#[derive(Debug, Clone, Serialize)]
pub struct Database {
    /// False: it answers, and refuses to write.
    pub writable: bool,
    /// When this worker first saw it refuse.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_since: Option<DateTime<Utc>>,
    /// Why it refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When it was first seen not to answer, if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<DateTime<Utc>>,
}

impl Database {
    /// `refused`: since when it does not write, and why. `silent_since`: since when it does not answer.
    pub fn new(refused: Option<(DateTime<Utc>, String)>, silent_since: Option<DateTime<Utc>>) -> Self {
        let (refused_since, why) = refused.unzip();
        Self { writable: why.is_none(), refused_since, why, silent_since }
    }
}

/// What to say about a database that does not write for this reason.
pub fn read_only(why: &str) -> String {
    format!("reads, does not write: {why}")
}

/// A value that was read from database or broker; else why not, and the last value. As JSON it is the value alone, or
/// `{"error": …, "last": {"as_of": …, "value": …}}`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Reading<T> {
    /// The value now.
    Now(T),
    /// It could not be read.
    Failed {
        /// Why, without secrets.
        error: String,
        /// The last value, if there was one.
        last: Option<Last<T>>,
    },
}

/// A value that was read earlier.
#[derive(Debug, Clone, Serialize)]
pub struct Last<T> {
    /// When it was read.
    pub as_of: DateTime<Utc>,
    /// The value.
    pub value: T,
}

impl<T> Reading<T> {
    /// The newest value, however old it is.
    pub fn latest(&self) -> Option<&T> {
        match self {
            Self::Now(value) => Some(value),
            Self::Failed { last, .. } => last.as_ref().map(|last| &last.value),
        }
    }

    /// When that was read, unless it is the value now.
    pub fn as_of(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Now(_) => None,
            Self::Failed { last, .. } => last.as_ref().map(|last| last.as_of),
        }
    }

    /// Why it could not be read now.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Now(_) => None,
            Self::Failed { error, .. } => Some(error),
        }
    }
}

/// The LMS's overviews, counted.
#[derive(Debug, Clone, Serialize)]
pub struct Overviews {
    /// With a link.
    pub linked: u64,
    /// Without.
    pub blank: u64,
    /// When they were counted: a moment ago, as counting reads the whole table.
    pub counted_at: DateTime<Utc>,
}

/// The overviews without a link, as the scheduled jobs last noted them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Blanks {
    /// How many by each reason; every reason is there.
    pub reasons: BTreeMap<&'static str, BlankCount>,
    /// Since when the oldest is blank, of those that should not be blank.
    pub oldest_since: Option<DateTime<Utc>>,
    /// Some of them: those that should not be blank first, then oldest first.
    pub oldest: Vec<Blank>,
}

impl Blanks {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.reasons.values().map(|count| count.overviews).sum()
    }

    /// Whether overviews that are blank for this reason should be.
    pub fn is_right(&self, reason: &str) -> bool {
        self.reasons.get(reason).is_some_and(|count| count.right)
    }
}

/// The blank overviews of one reason.
#[derive(Debug, Clone, Serialize)]
pub struct BlankCount {
    /// How many.
    pub overviews: u64,
    /// Since when the oldest is blank.
    pub oldest_since: Option<DateTime<Utc>>,
    /// What the reason means, for people.
    pub explained: &'static str,
    /// Whether these should have no link, as there is no page for them.
    pub right: bool,
}

/// An overview without a link.
#[derive(Debug, Clone, Serialize)]
pub struct Blank {
    /// Its id in the LMS's table; not always the key of a course run.
    pub course_id: String,
    /// When it was first seen blank.
    pub since: DateTime<Utc>,
    /// Why; a key of [`Blanks::reasons`].
    pub reason: &'static str,
}

/// The courses whose URL in the Catalog is refused. Their link stays as it was.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Refused {
    /// How many.
    pub overviews: u64,
    /// Some of them, oldest first.
    pub oldest: Vec<RefusedCourse>,
}

/// Whether the worker consumes from the events queue.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Consumer {
    /// It does.
    Attached {
        /// Since when.
        attached_since: DateTime<Utc>,
    },
    /// It does not.
    Detached {
        /// Since when.
        detached_since: DateTime<Utc>,
        /// Why.
        why: String,
    },
}

/// Messages that wait.
#[derive(Debug, Clone, Serialize)]
pub struct Queues {
    /// In the events queue.
    pub events: u64,
    /// In each delay queue, shortest delay first.
    pub delayed: Vec<Delayed>,
    /// Dead letters.
    pub dead: u64,
    /// Workers that consume from the events queue.
    pub consumers: u64,
}

impl Queues {
    /// Messages in all delay queues.
    pub fn delayed_messages(&self) -> u64 {
        self.delayed.iter().map(|queue| queue.messages).sum()
    }
}

/// One delay queue.
#[derive(Debug, Clone, Serialize)]
pub struct Delayed {
    /// How long a message stays in it.
    pub seconds: u32,
    /// How many are in it.
    pub messages: u64,
}

/// Whether requests are sent to the Catalog.
#[derive(Debug, Clone, Serialize)]
pub struct Catalog {
    /// `closed` (requests are sent), `open` (none is sent), `half_open` (one is sent to probe) or `throttled`.
    pub state: &'static str,
    /// When the next request may be sent, if none may now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// Since when it fails, where requests are held back for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<DateTime<Utc>>,
    /// Requests in the last hour, if there is a budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_last_hour: Option<u64>,
    /// `catalog.requests_per_hour`; 0: no budget.
    pub requests_per_hour: u32,
}

/// One pass over the Catalog.
#[derive(Debug, Clone, Serialize)]
pub struct Pass {
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended. `None` if it is running, or was killed.
    pub finished_at: Option<DateTime<Utc>>,
    /// When it last saved its progress.
    pub progress_at: DateTime<Utc>,
    /// `running`, `complete`, `incomplete`, `refused` or `failed`.
    pub verdict: String,
    /// Runs on the Catalog's pages.
    pub listed: i64,
    /// Overviews that got a link, or another one.
    pub updated: i64,
    /// Overviews that lost their link.
    pub cleared: i64,
    /// Changes that the brake held back.
    pub held_back: i64,
    /// Requests, pages and rows that failed.
    pub failures: i64,
    /// Why it did not end complete, and what else is worth knowing.
    pub reasons: Vec<String>,
}

impl Pass {
    /// How long it took, if it has ended.
    pub fn took(&self) -> Option<TimeDelta> {
        Some(self.finished_at? - self.started_at)
    }
}

impl From<PassRow> for Pass {
    fn from(row: PassRow) -> Self {
        Self {
            started_at: row.started_at,
            finished_at: row.finished_at,
            progress_at: row.progress_at,
            verdict: row.verdict.to_string(),
            listed: row.listed,
            updated: row.updated,
            cleared: row.cleared,
            held_back: row.held_back,
            failures: row.failures,
            reasons: serde_json::from_str::<Report>(&row.report).map_or(Vec::new(), |report| report.reasons),
        }
    }
}
