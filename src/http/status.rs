//! What is wrong now, since when and why: one value, which `/api/v1/status` shows as JSON and `/` as a page.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

/// How things stand.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// When this was gathered, by the worker's clock.
    pub at: DateTime<Utc>,
    /// Whether the database writes.
    pub database: Database,
    /// The LMS's overviews.
    pub overviews: Told<Overviews>,
    /// Those without a link.
    pub blank: Told<Blanks>,
    /// Those whose URL in the Catalog is refused, with a link or without.
    pub refused: Told<Refused>,
    /// The consumer of events.
    pub consumer: Consumer,
    /// Messages in each queue.
    pub queues: Told<Queues>,
    /// The gate in front of the Catalog, of this worker.
    pub catalog: Catalog,
    /// The last passes, the newest first.
    pub passes: Told<Vec<Pass>>,
}

/// Whether the database writes, as far as this worker knows.
#[derive(Debug, Clone, Serialize)]
pub struct Database {
    /// False: it reads, and refuses to write.
    pub writable: bool,
    /// Since when this worker knows that it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_since: Option<DateTime<Utc>>,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Database {
    /// `refused`: since when it does not write, and why not.
    pub fn of(refused: Option<(DateTime<Utc>, String)>) -> Self {
        let (refused_since, why) = refused.unzip();
        Self { writable: why.is_none(), refused_since, why }
    }
}

/// What is said of a database that does not write, for this reason.
pub fn reads_only(why: &str) -> String {
    format!("reads, does not write: {why}")
}

/// What database or broker say; else why they do not, and what they last said. As JSON the value alone, or
/// `{"error": …, "last": {"as_of": …, "value": …}}`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Told<T> {
    /// As it is now.
    Now(T),
    /// It cannot be told now.
    Not {
        /// Why, without secrets.
        error: String,
        /// What was last heard, if anything.
        last: Option<Last<T>>,
    },
}

/// Something heard earlier.
#[derive(Debug, Clone, Serialize)]
pub struct Last<T> {
    /// When.
    pub as_of: DateTime<Utc>,
    /// What.
    pub value: T,
}

impl<T> Told<T> {
    /// The newest that is known, however old.
    pub fn latest(&self) -> Option<&T> {
        match self {
            Self::Now(value) => Some(value),
            Self::Not { last, .. } => last.as_ref().map(|last| &last.value),
        }
    }

    /// When that was heard, if it is not from now.
    pub fn as_of(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Now(_) => None,
            Self::Not { last, .. } => last.as_ref().map(|last| last.as_of),
        }
    }

    /// Why nothing newer is known.
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Now(_) => None,
            Self::Not { error, .. } => Some(error),
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
    /// Since when the longest-standing blank is blank, of those that should not be; none: there are none.
    pub oldest_since: Option<DateTime<Utc>>,
    /// The first of them: those that should not be blank first, of these the oldest first.
    pub oldest: Vec<Blank>,
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
    /// Whether it is right that these have no link: there is no page for them.
    pub right: bool,
}

/// An overview without a link.
#[derive(Debug, Clone, Serialize)]
pub struct Blank {
    /// Its id, as it stands in the LMS's table: whatever that is.
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
    /// The first of them, the oldest first.
    pub oldest: Vec<RefusedUrl>,
}

/// A course whose URL in the Catalog is refused.
#[derive(Debug, Clone, Serialize)]
pub struct RefusedUrl {
    /// The overview's id.
    pub course_id: String,
    /// Since when the Catalog lists it, as far as it was seen.
    pub since: DateTime<Utc>,
    /// The URL: cut, with odd characters escaped, and without a password.
    pub url: String,
    /// Why it is refused.
    pub why: String,
}

/// Whether the worker is on the events queue.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Consumer {
    /// It is.
    Attached {
        /// Since when.
        attached_since: DateTime<Utc>,
    },
    /// It is not.
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
    /// To be worked off.
    pub events: u64,
    /// In each delay queue, the shortest delay first.
    pub delayed: Vec<Delayed>,
    /// Dead letters.
    pub dead: u64,
}

/// One delay queue.
#[derive(Debug, Clone, Serialize)]
pub struct Delayed {
    /// How long a message stays in it.
    pub seconds: u32,
    /// How many are in it.
    pub messages: u64,
}

/// The gate in front of the Catalog.
#[derive(Debug, Clone, Serialize)]
pub struct Catalog {
    /// `closed` (requests go through), `open` (none does), `half_open` (a probe is out) or `throttled`.
    pub state: &'static str,
    /// When the next request may go, where none may now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// Requests in the last hour, where there is a budget.
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
    /// When it ended; none: it runs, or was killed.
    pub finished_at: Option<DateTime<Utc>>,
    /// When it was last heard of.
    pub progress_at: DateTime<Utc>,
    /// `running`, `complete`, `incomplete`, `refused` or `failed`.
    pub verdict: String,
    /// Runs on the Catalog's pages.
    pub listed: i64,
    /// Overviews that got a link, or another one.
    pub updated: i64,
    /// Overviews that lost their link.
    pub cleared: i64,
    /// Changes that the brake holds back.
    pub held_back: i64,
    /// Requests, pages and rows that failed.
    pub failures: i64,
}
