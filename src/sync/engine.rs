//! The steps in their order: restore from the ledger; then look up, plan and apply. Doing it twice changes nothing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tracing::Instrument;

use super::{Change, Outcome, Plan, Question, plan};
use crate::catalog::{CatalogError, Client, Defect, Observation, Purpose};
use crate::course_key::{CourseKey, RunKey};
use crate::store::{Entry, MAX_ROWS, ObservedBy, Snapshot, Store, StoreError};

/// Joins the database and the Catalog; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    store: Store,
    catalog: Client,
    clear_after: Duration,
}

/// What restoring found and did.
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// The courses whose overviews differed from the ledger.
    pub wiped: Vec<CourseKey>,
    /// Overviews written.
    pub overviews: u64,
}

impl Engine {
    /// An engine on this database and this Catalog; `clear_after` as in `sync.clear_after`.
    pub fn new(store: Store, catalog: Client, clear_after: Duration) -> Self {
        Self { store, catalog, clear_after }
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The Catalog.
    pub fn catalog(&self) -> &Client {
        &self.catalog
    }

    /// Gives these courses' overviews the last known URL back where they lost it. No Catalog is asked.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn restore(&self, courses: &[CourseKey]) -> Result<Restored, StoreError> {
        let mut restored = Restored::default();
        for courses in courses.chunks(MAX_ROWS) {
            let snapshots = self.store.snapshots(courses).await?;
            let wiped: Vec<CourseKey> =
                snapshots.into_iter().filter(Snapshot::is_wiped).map(|s| s.course).collect();
            if !wiped.is_empty() {
                restored.overviews += self.store.restore(&wiped).await?;
                restored.wiped.extend(wiped);
            }
        }
        Ok(restored)
    }

    /// Asks the Catalog for the runs of these courses, and writes what it says to ledger and overviews, in one
    /// transaction for each [`MAX_ROWS`] of them. Every course has an outcome, once.
    ///
    /// # Errors
    /// Those of the database; a Catalog that fails is an [`Outcome::Unknown`].
    pub async fn refresh(
        &self,
        courses: &[CourseKey],
        purpose: Purpose,
    ) -> Result<HashMap<CourseKey, Outcome>, StoreError> {
        let mut outcomes = HashMap::with_capacity(courses.len());
        for courses in courses.chunks(MAX_ROWS) {
            outcomes.extend(self.refresh_batch(courses, purpose).await?);
        }
        Ok(outcomes)
    }

    async fn refresh_batch(
        &self,
        courses: &[CourseKey],
        purpose: Purpose,
    ) -> Result<HashMap<CourseKey, Outcome>, StoreError> {
        let runs: HashSet<RunKey> = courses.iter().map(CourseKey::run_key).collect();
        let runs: Vec<RunKey> = runs.into_iter().collect();
        let question = Question {
            asked_at: self.store.now().await?,
            by: asked_by(purpose),
            clear_after: self.clear_after,
        };
        let mut observed =
            self.catalog.look_up(&runs, purpose).instrument(tracing::info_span!("look_up")).await;
        let snapshots = self.store.snapshots(courses).await?;

        let planning = tracing::info_span!("plan").entered();
        let mut decided: HashMap<RunKey, Decided> = HashMap::with_capacity(runs.len());
        for snapshot in &snapshots {
            decided.entry(snapshot.course.run_key()).or_insert_with_key(|run| {
                let observation = observed.remove(run).unwrap_or_else(nothing_said);
                let plan = plan(run, snapshot.entry.as_ref(), &observation, question);
                Decided { plan, observation }
            });
        }
        let entries = decided.values().filter_map(|decided| decided.plan.entry.clone()).collect();
        drop(planning);
        let is_known =
            |s: &&Snapshot| decided.get(&s.course.run_key()).is_some_and(|d| d.plan.entry.is_some());
        let known = snapshots.iter().filter(is_known).map(|s| s.course.clone()).collect();
        self.store.apply(entries, known).instrument(tracing::info_span!("apply")).await?;

        Ok(snapshots
            .into_iter()
            .filter_map(|snapshot| {
                let outcome = outcome(&snapshot, decided.get(&snapshot.course.run_key())?);
                Some((snapshot.course, outcome))
            })
            .collect())
    }
}

/// One run's answer, and what follows from it.
struct Decided {
    plan: Plan,
    observation: Observation,
}

/// The client promises a word on every run; should it ever break that, not knowing changes nothing.
fn nothing_said() -> Observation {
    let error = CatalogError::from(Defect::Odd("it says nothing of this run".to_owned()));
    Observation::Unknown(error.into())
}

fn asked_by(purpose: Purpose) -> ObservedBy {
    match purpose {
        Purpose::Event => ObservedBy::Event,
        Purpose::Pass => ObservedBy::Pass,
        Purpose::Command => ObservedBy::Command,
    }
}

fn outcome(snapshot: &Snapshot, decided: &Decided) -> Outcome {
    if let Observation::Unknown(why) = &decided.observation {
        return Outcome::Unknown(why.clone());
    }
    let Some(overview) = &snapshot.overview else { return Outcome::NoOverview };
    let wanted = decided.plan.entry.as_ref().and_then(Entry::in_force);
    let also = decided.plan.entry.as_ref().map(|entry| overview.also_changes(&entry.also));
    let is_as_wanted =
        overview.marketing_url.as_deref() == wanted && also.is_none_or(|changes| changes.is_empty());
    match decided.plan.change {
        Change::Same | Change::Set if is_as_wanted => Outcome::Unchanged,
        Change::Same | Change::Set => Outcome::Updated,
        Change::Clear => Outcome::Cleared,
        Change::PendingClear | Change::NoPage => Outcome::NoPage,
        Change::NotListed | Change::Unknown => Outcome::NotListed,
    }
}
