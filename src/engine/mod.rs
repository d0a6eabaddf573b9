//! The engine that events, commands and the pass share: ask, and observe what was answered.
//!
//! ```text
//! ask ─▶ Answered ─▶ observe: snapshot ─▶ decide (plan, brake; pure) ─▶ apply ─▶ Observed
//! ```
//!
//! Doing it twice changes nothing.

mod answers;
mod brake;
mod decide;
mod observe;
mod outcome;
mod plan;

pub use self::answers::{Answered, Policy};
pub use self::brake::allowance;
pub use self::outcome::{Change, Observed, Outcome, Risky, Settled, Why};
pub use self::plan::{Question, plan};

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::catalog::{Client, Observation, Purpose};
use crate::model::course_key::{CourseKey, RunKey};
use crate::store::{ChangedBy, ObservedBy, Store, StoreError};
use crate::telemetry::traces::count;

/// How often a run is asked for again whose answer the ledger refused.
const ASKED_AGAIN: u32 = 3;
/// Another worker's clock may be so much ahead of ours, after which our next question is the later one.
const BEFORE_ASKING_AGAIN: Duration = Duration::from_secs(1);

/// Joins the database and the Catalog; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    store: Store,
    catalog: Client,
    clear_after: Duration,
}

impl Engine {
    /// An engine on this database and this Catalog; `clear_after` as in `sync.clear_after`.
    pub fn new(store: Store, catalog: Client, clear_after: Duration) -> Self {
        Self { store, catalog, clear_after }
    }

    /// The same engine, asking the Catalog past its cache.
    #[must_use]
    pub fn past_cache(&self) -> Self {
        Self { catalog: self.catalog.past_cache(), ..self.clone() }
    }

    /// The same engine, to which no null is old enough to clear a link.
    #[must_use]
    pub fn clearing_nothing(&self) -> Self {
        Self { clear_after: Duration::MAX, ..self.clone() }
    }

    /// The same engine, whose changes of links are noted as made by this.
    #[must_use]
    pub fn writing_as(&self, by: ChangedBy) -> Self {
        Self { store: self.store.clone().writing_as(by), ..self.clone() }
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The Catalog.
    pub fn catalog(&self) -> &Client {
        &self.catalog
    }

    /// Asks the Catalog for the runs of these courses, and applies what it says. Runs of which the ledger has a later
    /// answer are asked for again, a few times. Once `halt` is cancelled it stops early, and leaves out what was not
    /// answered.
    ///
    /// # Errors
    /// Those of the database; a Catalog that fails is an [`Outcome::Unknown`].
    pub async fn refresh(
        &self,
        courses: Vec<CourseKey>,
        purpose: Purpose,
        policy: Policy,
        halt: &CancellationToken,
    ) -> Result<Observed, StoreError> {
        let (mut observed, mut rest) = (Observed::default(), courses);
        for asked in 0..=ASKED_AGAIN {
            let ask = async {
                if asked > 0 {
                    tokio::time::sleep(BEFORE_ASKING_AGAIN).await;
                }
                self.ask(std::mem::take(&mut rest), purpose).await
            };
            let Some(answered) = halt.run_until_cancelled(ask).await else { break };
            let mut round = self.observe(vec![answered?], policy).await?;
            if asked < ASKED_AGAIN {
                rest = round.take_superseded();
            }
            observed.add(round);
            if rest.is_empty() {
                break;
            }
        }
        Ok(observed)
    }

    /// Asks the Catalog for the runs of these courses, and writes nothing.
    ///
    /// # Errors
    /// If the database's clock cannot be read; a Catalog that fails is an answer.
    pub async fn ask(&self, courses: Vec<CourseKey>, purpose: Purpose) -> Result<Answered, StoreError> {
        let by = match purpose {
            Purpose::Event | Purpose::Hint => ObservedBy::Event,
            Purpose::Pass => ObservedBy::Pass,
            Purpose::Command => ObservedBy::Command,
        };
        let question = Question { asked_at: self.store.now().await?, by, clear_after: self.clear_after };
        let span = tracing::info_span!(
            "look_up",
            course_sharing.courses = count(courses.len()),
            course_sharing.keys_asked = Empty,
        );
        let observed = self.look_up(&courses, purpose).instrument(span).await;
        Ok(Answered::new(courses, question, observed))
    }

    /// Of custom courses the parent alone is asked for; only where that gives no URL listings of their own are, too.
    async fn look_up(&self, courses: &[CourseKey], purpose: Purpose) -> HashMap<RunKey, Observation> {
        let runs: HashSet<RunKey> = courses.iter().map(CourseKey::run_key).collect();
        let runs: Vec<RunKey> = runs.into_iter().collect();
        Span::current().record("course_sharing.keys_asked", count(runs.len()));
        let mut observed = self.catalog.look_up(&runs, purpose).await;
        let own = courses.iter().filter(|course| {
            course.is_ccx() && observed.get(&course.run_key()).is_some_and(Observation::gives_no_url)
        });
        let own: Vec<RunKey> = own.map(CourseKey::own_key).collect();
        if !own.is_empty() {
            Span::current().record("course_sharing.keys_asked", count(runs.len() + own.len()));
            observed.extend(self.catalog.look_up(&own, purpose).await);
        }
        observed
    }

    /// A page of the Catalog's list as answers to one question.
    pub fn listed(
        &self,
        asked_at: chrono::DateTime<chrono::Utc>,
        courses: Vec<CourseKey>,
        observed: HashMap<RunKey, Observation>,
    ) -> Answered {
        let question = Question { asked_at, by: ObservedBy::Pass, clear_after: self.clear_after };
        Answered::new(courses, question, observed)
    }
}
