//! Gathers the status. Each part is read by itself and has a deadline, so that one that is out does not hide the
//! others; the last value of each part is kept for that case.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use strum::VariantArray;
use tokio::sync::watch;

use super::cached::with_deadline;
use super::schedule::Timetable;
use super::{
    Blank, BlankCount, Blanks, Catalog, Consumer, Database, DeadLetter, Delayed, Hints, Last, Leases,
    Overviews, Pass, Queues, Reading, Refused, Status,
};
use crate::broker::{Attachment, Broker, BrokerError, Counts, Role, Topology};
use crate::catalog::Client;
use crate::clock;
use crate::config::{Config, Schedule};
use crate::store::{LetterFilter, PassKind, Reason, Store, StoreError};
use crate::telemetry::report;

/// For each part.
const LIMIT: Duration = Duration::from_secs(3);
/// Passes shown: two weeks of nights.
const PASSES: u64 = 14;
/// Blank overviews shown.
const BLANKS: u64 = 50;
/// Dead letters shown.
const LETTERS: u64 = 10;
/// Refused URLs shown.
const REFUSED: u64 = 20;
/// Counting the overviews reads the LMS's whole table. After a count that took a second, the next one starts no sooner
/// than this many seconds later.
const COUNTING: u32 = 20;

/// Where the status comes from; cheap to clone.
#[derive(Clone)]
pub struct Sources {
    pub(super) store: Store,
    catalog: Client,
    pub(super) broker: Broker,
    pub(super) topology: Topology,
    attachment: watch::Receiver<Attachment>,
    timetable: Timetable,
    cache: Arc<Cache>,
}

/// The last value of each part.
#[derive(Default)]
struct Cache {
    counted: tokio::sync::Mutex<Option<(Instant, Duration, Overviews)>>,
    overviews: Memory<Overviews>,
    blanks: Memory<Blanks>,
    refused: Memory<Refused>,
    queues: Memory<Queues>,
    letters: AtomicU64,
    hints: Memory<Option<Hints>>,
    passes: Memory<Vec<Pass>>,
    light_pass: Memory<Option<Pass>>,
    dead_letters: Memory<Vec<DeadLetter>>,
    leases: Memory<Leases>,
    /// When the database was first seen not to answer, if it does not.
    silent_since: Mutex<Option<DateTime<Utc>>>,
}

struct Memory<T>(Mutex<Option<Last<T>>>);

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> Memory<T> {
    fn reading(&self, read: Result<T, String>) -> Reading<T> {
        let mut last = self.0.lock();
        match read {
            Ok(value) => {
                *last = Some(Last { as_of: clock::now(), value: value.clone() });
                Reading::Now(value)
            }
            Err(error) => Reading::Failed { error, last: last.clone() },
        }
    }
}

impl Sources {
    /// `attachment` says whether the consumer of this worker is attached.
    pub fn new(
        store: Store,
        catalog: Client,
        broker: Broker,
        topology: Topology,
        attachment: watch::Receiver<Attachment>,
    ) -> Self {
        let (timetable, cache) = (Timetable::default(), Arc::default());
        Self { store, catalog, broker, topology, attachment, timetable, cache }
    }

    /// The same, of a worker that runs its jobs as this says, full and light passes by these schedules.
    #[must_use]
    pub fn scheduled_by(
        self,
        config: &Config,
        full: watch::Receiver<Option<Schedule>>,
        light: watch::Receiver<Option<Schedule>>,
    ) -> Self {
        Self { timetable: Timetable::new(config, full, light), ..self }
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The whole status.
    pub async fn status(&self) -> Status {
        let cache = &self.cache;
        let (overviews, blanks, refused, hints, passes, light, queues, letters, leases) = tokio::join!(
            self.read(|sources| async move { sources.overviews().await }),
            self.read(|sources| async move { blanks(&sources.store).await }),
            self.read(|sources| async move { refused(&sources.store).await }),
            self.read(|sources| async move { sources.store.hint_position().await }),
            self.read(|sources| async move { sources.store.last_passes(PassKind::Full, PASSES).await }),
            self.read(|sources| async move { sources.store.last_passes(PassKind::Light, 1).await }),
            self.read(|sources| async move { sources.queue_counts().await }),
            self.read(|sources| async move { letters(&sources.store).await }),
            self.read(|sources| async move { sources.leases().await }),
        );
        self.note_database(passes.is_ok() || leases.is_ok());
        // While the database is out, the queues are shown with the last number of letters.
        let letters = letters.map(|(count, oldest)| {
            cache.letters.store(count, Ordering::Relaxed);
            oldest
        });
        let count = cache.letters.load(Ordering::Relaxed);
        let asked_at = hints.as_ref().ok().and_then(|row| row.as_ref()).map(|row| row.asked_at);
        Status {
            at: clock::now(),
            database: self.database(),
            overviews: cache.overviews.reading(overviews),
            blank: cache.blanks.reading(blanks),
            refused: cache.refused.reading(refused),
            consumer: self.consumer(),
            queues: cache.queues.reading(queues.map(|counts| queues_of(&counts, count))),
            catalog: self.catalog(),
            hints: cache.hints.reading(hints.map(|row| row.map(Hints::from))),
            passes: cache.passes.reading(passes.map(|rows| rows.into_iter().map(Pass::from).collect())),
            light_pass: cache.light_pass.reading(light.map(|rows| rows.into_iter().next().map(Pass::from))),
            dead_letters: cache.dead_letters.reading(letters),
            next: self.timetable.next(asked_at),
            leases: cache.leases.reading(leases),
        }
    }

    /// The answer to a question if it comes in time, else why not.
    async fn read<T, E, F>(&self, ask: impl FnOnce(Self) -> F) -> Result<T, String>
    where
        T: Send + 'static,
        E: std::error::Error + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        with_deadline(LIMIT, ask(self.clone())).await?.map_err(|error| report(&error))
    }

    fn database(&self) -> Database {
        let unwritable = self.store.writes().read_only();
        Database::new(unwritable.map(|refused| (refused.since, refused.why)), *self.cache.silent_since.lock())
    }

    fn consumer(&self) -> Consumer {
        match &*self.attachment.borrow() {
            Attachment::Attached { since } => Consumer::Attached { attached_since: *since },
            Attachment::Detached { since, why } => {
                Consumer::Detached { detached_since: *since, why: why.clone() }
            }
        }
    }

    /// Notes whether the database has just answered.
    pub(crate) fn note_database(&self, answers: bool) {
        let mut since = self.cache.silent_since.lock();
        *since = if answers { None } else { since.or_else(|| Some(clock::now())) };
    }

    async fn leases(&self) -> Result<Leases, StoreError> {
        Ok(self.timetable.leases(self.store.leases().await?, self.store.now().await?))
    }

    /// How many overviews are linked and how many blank, as of a moment ago.
    pub(crate) async fn overviews(&self) -> Result<Overviews, StoreError> {
        let mut counted = self.cache.counted.lock().await;
        if let Some((at, cost, overviews)) = &*counted
            && at.elapsed() < *cost * COUNTING
        {
            return Ok(overviews.clone());
        }
        let begun = Instant::now();
        let counts = self.store.counts().await?;
        let overviews = Overviews {
            linked: counts.linked.unsigned_abs(),
            blank: counts.blank.unsigned_abs(),
            counted_at: clock::now(),
        };
        *counted = Some((Instant::now(), begun.elapsed(), overviews.clone()));
        Ok(overviews)
    }

    /// The number of messages in each queue.
    pub(crate) async fn queue_counts(&self) -> Result<Counts, BrokerError> {
        let connection = self.broker.open(Role::Operator).await?;
        let counts = self.topology.counts(&connection).await;
        connection.close().await;
        counts
    }

    /// Requests in the last hour, if there is a limit, and that limit.
    pub(crate) fn budget(&self) -> (Option<u64>, u32) {
        self.catalog.budget()
    }

    fn catalog(&self) -> Catalog {
        let circuit = self.catalog.circuit();
        let (requests_last_hour, requests_per_hour) = self.catalog.budget();
        Catalog {
            state: circuit.as_str(),
            until: circuit.until().map(clock::time_of),
            failing_since: self.catalog.failing_since().map(clock::time_of),
            requests_last_hour,
            requests_per_hour,
        }
    }
}

/// Those that should not be blank come first, however many others there are.
async fn blanks(store: &Store) -> Result<Blanks, StoreError> {
    let counts = store.blank_counts().await?;
    let reasons_that = |right: bool| -> Vec<Reason> {
        counts.iter().map(|count| count.reason).filter(|reason| reason.is_right() == right).collect()
    };
    let mut oldest = store.oldest_blanks(&reasons_that(false), BLANKS).await?;
    let room = BLANKS.saturating_sub(oldest.len() as u64);
    oldest.extend(store.oldest_blanks(&reasons_that(true), room).await?);
    let reason = |reason: Reason| {
        let count = counts.iter().find(|count| count.reason == reason);
        let count = BlankCount {
            overviews: count.map_or(0, |count| count.overviews.unsigned_abs()),
            oldest_since: count.map(|count| count.oldest),
            explained: reason.explained(),
            right: reason.is_right(),
        };
        (reason.as_str(), count)
    };
    let oldest = oldest.into_iter().map(|blank| Blank {
        course_id: blank.course_id,
        since: blank.since,
        reason: blank.reason.as_str(),
    });
    Ok(Blanks {
        reasons: Reason::VARIANTS.iter().copied().map(reason).collect::<BTreeMap<_, _>>(),
        oldest_since: counts.iter().filter(|count| !count.reason.is_right()).map(|count| count.oldest).min(),
        oldest: oldest.collect(),
    })
}

/// How many dead letters are in the table, and the first of them.
async fn letters(store: &Store) -> Result<(u64, Vec<DeadLetter>), StoreError> {
    let all = LetterFilter::default();
    let (count, first) = tokio::try_join!(store.count_letters(&all), store.letters(&all, 0, LETTERS))?;
    Ok((count, first.into_iter().map(DeadLetter::from).collect()))
}

async fn refused(store: &Store) -> Result<Refused, StoreError> {
    let overviews = store.refusal_count().await?;
    let oldest = if overviews > 0 { store.refusals(REFUSED).await? } else { Vec::new() };
    Ok(Refused { overviews, oldest })
}

/// `letters` are the dead letters in the table; others wait in the queue.
fn queues_of(counts: &Counts, letters: u64) -> Queues {
    let delayed = counts.delayed.iter();
    let delayed = delayed.map(|(seconds, n)| Delayed { seconds: *seconds, messages: u64::from(*n) });
    Queues {
        events: counts.events.into(),
        delayed: delayed.collect(),
        dead: letters + u64::from(counts.dead),
        consumers: counts.consumers.into(),
    }
}
