//! Dead letters become rows: taken from their queue, committed, and only then acknowledged. And rows go again: those
//! that have lost their point, and the oldest.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::jobs::sleeps;
use super::reading;
use crate::broker::{self, BrokerError, DeadLetters, Received};
use crate::course_key::CourseKey;
use crate::jobs::{Job, Jobs};
use crate::store::{MAX_ROWS, NewLetter, Snapshot, Store, StoreError};
use crate::telemetry::{Latch, metrics, report};

/// Rows are kept for so long.
const MAX_AGE: TimeDelta = TimeDelta::days(90);
/// And so many of them.
const MAX_LETTERS: u64 = 100_000;
/// How often the oldest are looked for, at least.
const DISCARD_EVERY: Duration = Duration::from_secs(600);
/// And after so many new ones.
const DISCARD_AFTER: usize = 1_000;
/// How long letters that the database does not take are held. Less than the half hour after which RabbitMQ takes them
/// back, and more than a moment, as each time that they go back counts as a delivery.
const HOLD: Duration = Duration::from_secs(20 * 60);
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest that this job does nothing, for whoever watches it.
pub(super) const INTERVAL: Duration = Duration::from_secs(60);

/// Takes dead letters over.
pub(super) struct TakeOver {
    letters: DeadLetters,
    store: Store,
    job: Job,
    latch: Latch,
    /// When the oldest were last looked for, and how many have come since.
    discarded: Option<Instant>,
    since: usize,
}

/// What keeps letters in their queue, and why.
enum Out {
    Broker(String),
    Database(String),
}

impl From<BrokerError> for Out {
    fn from(error: BrokerError) -> Self {
        Self::Broker(report(&error))
    }
}

impl TakeOver {
    /// A job among `jobs`.
    pub(super) fn new(letters: DeadLetters, store: Store, jobs: &Jobs) -> Self {
        let job = jobs.add("dead letters", INTERVAL);
        Self { letters, store, job, latch: Latch::default(), discarded: None, since: 0 }
    }

    /// Takes over whatever is in the queue until told to stop. While broker or database are out, letters wait in
    /// their queue.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut pause = SHORTEST_PAUSE;
        while !stop.is_cancelled() {
            self.job.progress();
            let begun = Instant::now();
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.take_over(&stop) => ended,
            };
            match ended {
                Ok(()) => return,
                Err(Out::Database(why)) => self.failed(&why),
                // The consumer of events says so.
                Err(Out::Broker(why)) => tracing::debug!(why, "not taking dead letters over"),
            }
            if begun.elapsed() > LONGEST_PAUSE {
                pause = SHORTEST_PAUSE;
            }
            if !sleeps(pause, &stop).await {
                return;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One connection's time: ends when told to stop, or with what ended it.
    async fn take_over(&mut self, stop: &CancellationToken) -> Result<(), Out> {
        // Before any is taken: those that go back because of a database that is out count as delivered.
        self.store.check_schema().await.map_err(|error| Out::Database(report(&error)))?;
        let mut feed = self.letters.consume().await?;
        self.recovered();
        while !stop.is_cancelled() {
            self.job.progress();
            let next = tokio::time::timeout(INTERVAL / 2, feed.next()).await;
            if let Ok(letters) = next {
                let letters = letters?;
                self.since += letters.len();
                self.keep(&letters, stop).await?;
                broker::ack_many(letters).await?;
            }
            if let Err(error) = self.discard_old().await {
                tracing::debug!(event = "dead_letter.not_discarded", error = report(&error));
            }
        }
        Ok(())
    }

    /// Holds the letters until they are rows.
    async fn keep(&mut self, letters: &[broker::Delivery], stop: &CancellationToken) -> Result<(), Out> {
        let (held, mut pause) = (Instant::now(), SHORTEST_PAUSE);
        loop {
            let kept = keep(&self.store, letters.iter().map(|letter| &**letter)).await;
            let Err(error) = kept else { break };
            self.failed(&report(&error));
            self.job.progress();
            if held.elapsed() > HOLD || !sleeps(pause, stop).await {
                return Err(Out::Database(report(&error)));
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.recovered();
        Ok(())
    }

    async fn discard_old(&mut self) -> Result<(), StoreError> {
        let due = self.discarded.is_none_or(|at| at.elapsed() > DISCARD_EVERY);
        if !due && self.since < DISCARD_AFTER {
            return Ok(());
        }
        let discarded = self.store.discard_old_letters(MAX_AGE, MAX_LETTERS).await?;
        (self.discarded, self.since) = (Some(Instant::now()), 0);
        if discarded > 0 {
            metrics::dead_letters_expired(discarded);
            tracing::warn!(event = "dead_letter.expired", discarded, "the oldest dead letters are discarded");
        }
        Ok(())
    }

    /// One line when it begins to fail.
    fn failed(&self, why: &str) {
        if self.latch.fails() {
            tracing::warn!(event = "dead_letter.waiting", why, "dead letters wait in their queue");
        }
    }

    /// One line when it works again.
    fn recovered(&self) {
        if self.latch.recovers() {
            tracing::info!(event = "dead_letter.recovered", "dead letters are taken over again");
        }
    }
}

/// Keeps these as rows; one that the database rejects, as bare as it can be.
async fn keep<'a>(store: &Store, letters: impl Iterator<Item = &'a Received>) -> Result<(), StoreError> {
    let letters: Vec<NewLetter> = letters.map(new_letter).collect();
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

fn new_letter(letter: &Received) -> NewLetter {
    let properties = letter.properties();
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    for part in [letter.routing_key.as_bytes(), &properties, &letter.body] {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    NewLetter {
        digest: hex(digest.finish().as_ref()),
        body_sha256: hex(ring::digest::digest(&ring::digest::SHA256, &letter.body).as_ref()),
        body: letter.body.clone(),
        properties,
        routing_key: letter.routing_key.clone(),
        content_type: letter.content_type.clone(),
        reason: letter.reason.clone().unwrap_or_else(|| "(no reason)".to_owned()),
        course: reading::named(letter),
        understood: reading::course(letter).is_some(),
        attempt: letter.attempt,
        first_seen: letter.first_seen,
    }
}

/// The letter without what a database could have something against.
fn bare(letter: NewLetter) -> NewLetter {
    let ascii = |text: &str| text.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).collect();
    NewLetter {
        routing_key: ascii(&letter.routing_key),
        reason: ascii(&letter.reason),
        content_type: None,
        course: None,
        understood: false,
        first_seen: Utc::now(),
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

/// Discards the dead letters whose course has since been found in the Catalog and shares the URL found there. Returns
/// how many.
pub(super) async fn drop_settled(store: &Store) -> Result<u64, StoreError> {
    let died: HashMap<CourseKey, DateTime<Utc>> = store.courses_of_letters().await?;
    let courses: Vec<CourseKey> = died.into_keys().collect();
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

/// When the Catalog gave the URL that the overview has; none if it has another, or none.
fn seen_right(snapshot: &Snapshot) -> Option<DateTime<Utc>> {
    let (overview, entry) = (snapshot.overview.as_ref()?, snapshot.entry.as_ref()?);
    let link = overview.marketing_url.as_deref()?;
    (entry.listed && entry.in_force() == Some(link)).then_some(entry.observed_at)
}
