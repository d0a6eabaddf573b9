//! How things stand, gathered from database, broker and the worker itself: each part for itself and not for long, so
//! that one that is out does not hide the others; and what was last heard of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::port::Port;
use crate::broker::{Attachment, Counts};
use crate::http::bounded;
use crate::http::status::{
    Blank, BlankCount, Blanks, Catalog, Consumer, Database, Delayed, Last, Overviews, Pass, Queues, Refused,
    RefusedUrl, Status, Told,
};
use crate::store::{LetterFilter, PassRow, Reason, RefusedCourse, Store, StoreError};
use crate::telemetry::report;

/// For each part.
const LIMIT: Duration = Duration::from_secs(3);
/// Passes shown: two weeks of nights.
const PASSES: u64 = 14;
/// Blank overviews shown.
const BLANKS: u64 = 50;
/// Refused URLs shown.
const REFUSED: u64 = 20;
/// Counting the overviews reads the LMS's whole table: it takes at most this part of the database's time.
const COUNTING: u32 = 20;

/// What was last heard of each part.
#[derive(Default)]
pub(super) struct Heard {
    counted: tokio::sync::Mutex<Option<(Instant, Duration, Overviews)>>,
    overviews: Memory<Overviews>,
    blanks: Memory<Blanks>,
    refused: Memory<Refused>,
    queues: Memory<Queues>,
    letters: AtomicU64,
    passes: Memory<Vec<Pass>>,
}

/// The last answer to one question.
struct Memory<T>(Mutex<Option<Last<T>>>);

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> Memory<T> {
    fn told(&self, heard: Result<T, String>) -> Told<T> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match heard {
            Ok(value) => {
                *last = Some(Last { as_of: Utc::now(), value: value.clone() });
                Told::Now(value)
            }
            Err(error) => Told::Not { error, last: last.clone() },
        }
    }
}

impl Port {
    /// Everything the status shows.
    pub(super) async fn look(&self) -> Status {
        let heard = &self.heard;
        let [for_overviews, for_blanks, for_refused, for_passes, for_queues, for_letters] =
            [(); 6].map(|()| self.clone());
        let (overviews, blanks, refused, passes, queues, letters) = tokio::join!(
            asked(async move { for_overviews.overviews().await }),
            asked(async move { blanks(for_blanks.engine.store()).await }),
            asked(async move { refused(for_refused.engine.store()).await }),
            asked(async move { for_passes.engine.store().last_passes(PASSES).await }),
            asked(async move { for_queues.counts().await }),
            asked(async move { for_letters.engine.store().count_letters(&LetterFilter::default()).await }),
        );
        let unwritable = self.engine.store().writes().refused();
        // The queues are shown without the database too: then with as many letters as there last were.
        if let Ok(letters) = letters {
            heard.letters.store(letters, Ordering::Relaxed);
        }
        let letters = heard.letters.load(Ordering::Relaxed);
        Status {
            at: Utc::now(),
            database: Database::of(unwritable.map(|refused| (refused.since, refused.why))),
            overviews: heard.overviews.told(overviews),
            blank: heard.blanks.told(blanks),
            refused: heard.refused.told(refused),
            consumer: match &*self.attachment.borrow() {
                Attachment::Attached { since } => Consumer::Attached { attached_since: *since },
                Attachment::Detached { since, why } => {
                    Consumer::Detached { detached_since: *since, why: why.clone() }
                }
            },
            queues: heard.queues.told(queues.map(|counts| queues_of(&counts, letters))),
            catalog: self.catalog(),
            passes: heard.passes.told(passes.map(|rows| rows.into_iter().map(pass_of).collect())),
        }
    }

    /// How many overviews are linked and how many blank, as of a moment ago.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn overviews(&self) -> Result<Overviews, StoreError> {
        let mut counted = self.heard.counted.lock().await;
        if let Some((at, cost, overviews)) = &*counted
            && at.elapsed() < *cost * COUNTING
        {
            return Ok(overviews.clone());
        }
        let begun = Instant::now();
        let counts = self.engine.store().counts().await?;
        let overviews = Overviews {
            linked: counts.linked.unsigned_abs(),
            blank: counts.blank.unsigned_abs(),
            counted_at: Utc::now(),
        };
        *counted = Some((Instant::now(), begun.elapsed(), overviews.clone()));
        Ok(overviews)
    }

    fn catalog(&self) -> Catalog {
        let catalog = self.engine.catalog();
        let circuit = catalog.circuit();
        let (requests_last_hour, requests_per_hour) = catalog.budget();
        let (state, until) = (circuit.as_str(), circuit.until().map(by_the_clock));
        Catalog { state, until, requests_last_hour, requests_per_hour }
    }
}

/// The answer to a question, if it comes in time; else why not.
async fn asked<T, E>(question: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, String>
where
    T: Send + 'static,
    E: std::error::Error + Send + 'static,
{
    bounded(LIMIT, question).await?.map_err(|error| report(&error))
}

/// Those that should not be blank first, whatever else there is.
async fn blanks(store: &Store) -> Result<Blanks, StoreError> {
    let counts = store.blank_counts().await?;
    let reasons_that = |right: bool| -> Vec<Reason> {
        counts.iter().map(|count| count.reason).filter(|reason| reason.is_right() == right).collect()
    };
    let mut oldest = store.oldest_blanks(&reasons_that(false), BLANKS).await?;
    let room = BLANKS.saturating_sub(oldest.len() as u64);
    oldest.extend(store.oldest_blanks(&reasons_that(true), room).await?);
    let mut reasons: BTreeMap<&'static str, BlankCount> = Reason::ALL
        .into_iter()
        .map(|reason| {
            let (explained, right) = (reason.explained(), reason.is_right());
            (reason.as_str(), BlankCount { overviews: 0, oldest_since: None, explained, right })
        })
        .collect();
    for count in &counts {
        if let Some(reason) = reasons.get_mut(count.reason.as_str()) {
            (reason.overviews, reason.oldest_since) = (count.overviews, Some(count.oldest));
        }
    }
    Ok(Blanks {
        reasons,
        oldest_since: counts.iter().filter(|count| !count.reason.is_right()).map(|count| count.oldest).min(),
        oldest: oldest
            .into_iter()
            .map(|blank| Blank {
                course_id: blank.course_id,
                since: blank.since,
                reason: blank.reason.as_str(),
            })
            .collect(),
    })
}

async fn refused(store: &Store) -> Result<Refused, StoreError> {
    let overviews = store.refusal_count().await?;
    let oldest = if overviews > 0 { store.refusals(REFUSED).await? } else { Vec::new() };
    let oldest = oldest.into_iter().map(|course| {
        let RefusedCourse { course_id, since, url, why } = course;
        RefusedUrl { course_id, since, url, why }
    });
    Ok(Refused { overviews, oldest: oldest.collect() })
}

/// `letters` are those in the table; the others wait to be taken over.
fn queues_of(counts: &Counts, letters: u64) -> Queues {
    let delayed = counts.delayed.iter();
    let delayed = delayed.map(|(seconds, n)| Delayed { seconds: *seconds, messages: u64::from(*n) });
    Queues {
        events: counts.events.into(),
        delayed: delayed.collect(),
        dead: letters + u64::from(counts.dead),
    }
}

fn pass_of(row: PassRow) -> Pass {
    Pass {
        started_at: row.started_at,
        finished_at: row.finished_at,
        progress_at: row.progress_at,
        verdict: row.verdict,
        listed: row.listed,
        updated: row.updated,
        cleared: row.cleared,
        held_back: row.held_back,
        failures: row.failures,
    }
}

/// A moment of this process's clock, which has no name outside of it.
fn by_the_clock(moment: Instant) -> DateTime<Utc> {
    let ahead = TimeDelta::from_std(moment.saturating_duration_since(Instant::now())).unwrap_or_default();
    Utc::now() + ahead
}
