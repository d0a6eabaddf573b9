//! Moves dead letters from their queue to the database: a letter is committed first and then acknowledged. Discards
//! letters whose course is fine again, and the oldest.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::decode;
use super::shutdown::sleeps;
use super::trace;
use crate::broker::{self, BrokerError, DeadLetters, Feed, Received};
use crate::clock;
use crate::jobs::{Job, Jobs};
use crate::store::{Letter, MAX_ROWS, Snapshot, Store, StoreError};
use crate::telemetry::metrics::{self, EventOutcome};
use crate::telemetry::{Latch, report};

/// How long letters are kept.
const MAX_AGE: TimeDelta = TimeDelta::days(90);
/// How many letters are kept.
const MAX_LETTERS: u64 = 100_000;
/// How often old letters are discarded, at least.
const DISCARD_EVERY: Duration = Duration::from_secs(600);
/// After so many new letters, old ones are discarded at once.
const DISCARD_AFTER: usize = 1_000;
/// How long letters are held unacknowledged while the database is down. Less than RabbitMQ's limit of half an hour; and
/// long, as each return to the queue counts as a delivery.
const HOLD: Duration = Duration::from_secs(20 * 60);
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(5);
/// The longest time without progress, for the health check.
pub(super) const INTERVAL: Duration = Duration::from_secs(60);

/// Takes over dead letters.
pub(super) struct TakeOver {
    letters: DeadLetters,
    store: Store,
    job: Job,
    latch: Latch,
    /// When old letters were last discarded, and how many have come since.
    discarded: Option<Instant>,
    since: usize,
}

impl TakeOver {
    /// A job among `jobs`.
    pub(super) fn new(letters: DeadLetters, store: Store, jobs: &Jobs) -> Self {
        let job = jobs.add("dead letters", INTERVAL);
        Self { letters, store, job, latch: Latch::default(), discarded: None, since: 0 }
    }

    /// Takes over letters until `stop`. While the broker or the database is down, letters wait in their queue.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.job.progress();
            if let Err(error) = self.take_over(&stop).await {
                // A warning comes from the consumer of events.
                tracing::debug!(error = report(&error), "dead letters are not taken over");
            }
            if !sleeps(PAUSE, &stop).await {
                return;
            }
        }
    }

    /// Takes over letters on one connection, until `stop` or a failure.
    async fn take_over(&mut self, stop: &CancellationToken) -> Result<(), BrokerError> {
        // Before any letter is delivered: one that goes back to the queue counts as delivered.
        let Some(schema) = stop.run_until_cancelled(self.store.check_schema()).await else { return Ok(()) };
        if let Err(error) = schema {
            self.failed(&error);
            return Ok(());
        }
        let Some(feed) = stop.run_until_cancelled(self.letters.consume()).await else { return Ok(()) };
        let mut feed = feed?;
        self.recovered();
        let ended = self.take_from(&mut feed, stop).await;
        feed.close().await;
        ended
    }

    /// The same from this feed. A stop waits for the letters that were taken: one that is committed and not acknowledged
    /// comes again, also where it was discarded meanwhile.
    async fn take_from(&mut self, feed: &mut Feed, stop: &CancellationToken) -> Result<(), BrokerError> {
        loop {
            self.job.progress();
            let next = tokio::time::timeout(INTERVAL / 2, feed.next());
            let Some(next) = stop.run_until_cancelled(next).await else { return Ok(()) };
            if let Ok(letters) = next {
                let letters = letters?;
                self.since += letters.len();
                let span = trace::taken_over(self.letters.queue(), &letters);
                if !self.keep(&letters, stop).instrument(span.clone()).await {
                    return Ok(());
                }
                broker::ack_many(letters).instrument(span).await?;
            }
            if let Err(error) = self.discard_old().await {
                tracing::debug!(event = "dead_letter.not_discarded", error = report(&error));
            }
        }
    }

    /// Holds the letters until they are committed. False if that takes too long, or at `stop`.
    async fn keep(&mut self, letters: &[broker::Delivery], stop: &CancellationToken) -> bool {
        let held = Instant::now();
        while let Err(error) = keep(&self.store, letters.iter().map(|letter| &**letter)).await {
            self.failed(&error);
            self.job.progress();
            if held.elapsed() > HOLD || !sleeps(PAUSE, stop).await {
                return false;
            }
        }
        self.recovered();
        true
    }

    async fn discard_old(&mut self) -> Result<(), StoreError> {
        let due = self.discarded.is_none_or(|at| at.elapsed() > DISCARD_EVERY);
        if !due && self.since < DISCARD_AFTER {
            return Ok(());
        }
        let discarded = self.store.discard_old_letters(MAX_AGE, MAX_LETTERS).await?;
        (self.discarded, self.since) = (Some(Instant::now()), 0);
        if discarded > 0 {
            metrics::get().event("unknown", EventOutcome::Expired, discarded);
            tracing::warn!(event = "dead_letter.expired", discarded, "the oldest dead letters are discarded");
        }
        Ok(())
    }

    /// Logs the first failure.
    fn failed(&self, error: &dyn std::error::Error) {
        if self.latch.fails() {
            let why = report(error);
            tracing::warn!(event = "dead_letter.waiting", why, "dead letters wait in their queue");
        }
    }

    /// Logs the recovery.
    fn recovered(&self) {
        if self.latch.recovers() {
            tracing::info!(event = "dead_letter.recovered", "dead letters are taken over again");
        }
    }
}

/// Stores letters; one that the database rejects is stored without its texts.
async fn keep<'a>(store: &Store, letters: impl Iterator<Item = &'a Received>) -> Result<(), StoreError> {
    let letters: Vec<Letter> = letters.map(new_letter).collect();
    let Err(error) = store.keep_letters(&letters).await else { return Ok(()) };
    if !error.is_of_a_row() {
        return Err(error);
    }
    for letter in letters {
        match store.keep_letters(std::slice::from_ref(&letter)).await {
            Err(error) if error.is_of_a_row() => {
                let error = report(&error);
                tracing::warn!(event = "dead_letter.bare", error, "a dead letter is kept without its texts");
                store.keep_letters(&[bare(letter)]).await?;
            }
            kept => kept?,
        }
    }
    Ok(())
}

fn new_letter(letter: &Received) -> Letter {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    for part in [letter.routing_key.as_bytes(), &letter.senders_properties(), &letter.body] {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    Letter {
        digest: hex(digest.finish().as_ref()),
        body_sha256: hex(ring::digest::digest(&ring::digest::SHA256, &letter.body).as_ref()),
        body: letter.body.clone(),
        properties: letter.properties(),
        routing_key: letter.routing_key.clone(),
        content_type: letter.content_type.clone(),
        reason: letter.reason.clone().unwrap_or_else(|| "(no reason)".to_owned()),
        course_id: decode::named(letter).map(|course| course.as_str().to_owned()),
        understood: decode::course(letter).is_some(),
        attempt: letter.attempt.into(),
        first_seen: letter.first_seen,
        ..Letter::default()
    }
}

/// The letter without anything that a database may reject.
fn bare(letter: Letter) -> Letter {
    let ascii = |text: &str| text.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect();
    Letter {
        routing_key: ascii(&letter.routing_key),
        reason: ascii(&letter.reason),
        content_type: None,
        course_id: None,
        understood: false,
        first_seen: clock::now(),
        ..letter
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Discards the letters whose course now has the URL that the Catalog gives, and returns how many.
pub(super) async fn drop_settled(store: &Store) -> Result<u64, StoreError> {
    let courses = store.courses_of_letters().await?;
    let mut dropped = 0;
    for courses in courses.chunks(MAX_ROWS) {
        for snapshot in store.snapshots(courses).await? {
            if let Some(seen) = seen_right(&snapshot) {
                dropped += store.discard_letters_of(&snapshot.course, seen).await?;
            }
        }
    }
    Ok(dropped)
}

/// When the Catalog gave the URL of the overview. None if the overview has another URL or none.
fn seen_right(snapshot: &Snapshot) -> Option<DateTime<Utc>> {
    let (overview, entry) = (snapshot.overview.as_ref()?, snapshot.followed()?);
    let link = overview.marketing_url.as_deref()?;
    (entry.listed && entry.in_force() == Some(link)).then_some(entry.observed_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::course_key::{CourseKey, RunKey};
    use crate::model::extra_columns::Also;
    use crate::store::{Entry, ObservedBy, Overview};

    fn entry(run: RunKey, url: Option<&str>, seconds: i64) -> Entry {
        Entry {
            run,
            url: url.map(str::to_owned),
            listed: true,
            pending_clear_since: None,
            cleared_at: None,
            changed_at: None,
            observed_at: DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds),
            observed_by: ObservedBy::Pass,
            also: Also::NOTHING,
            refused: None,
        }
    }

    #[test]
    fn a_custom_course_is_right_with_the_url_of_its_own_listing_where_its_parent_has_none() {
        let course = CourseKey::parse("ccx-v1:a+b+c+ccx@1").unwrap();
        let url = Some("https://e/own");
        let overview = Overview {
            course: course.clone(),
            marketing_url: url.map(str::to_owned),
            social_sharing_url: None,
            also: Also::NOTHING,
        };
        let (parent, own) = (entry(course.run_key(), None, 1), entry(course.own_key(), url, 2));
        let right =
            Snapshot { course, overview: Some(overview), entry: Some(parent), own: Some(own.clone()) };
        assert_eq!(seen_right(&right), Some(own.observed_at));
        let not_listed = Entry { listed: false, ..own };
        assert_eq!(seen_right(&Snapshot { own: Some(not_listed), ..right.clone() }), None);
        assert_eq!(seen_right(&Snapshot { own: None, ..right }), None);
    }
}
