//! The steps in their order: restore from the ledger; then look up, plan and apply. Doing it twice changes nothing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::Instrument;

use super::{Change, Outcome, Plan, Question, plan};
use crate::catalog::{CatalogError, Client, Defect, GateState, Observation, Purpose, Unknown};
use crate::course_key::{CourseKey, RunKey};
use crate::store::{Failure, Halving, MAX_ROWS, ObservedBy, Snapshot, Store, StoreError};
use crate::telemetry::report;

/// How often a run is asked for again whose answer the ledger refused.
pub const ASKED_AGAIN: u32 = 3;
/// Another worker's clock may be so much ahead of ours, after which our next question is the later one.
pub const BEFORE_ASKING_AGAIN: Duration = Duration::from_secs(1);

/// Joins the database and the Catalog; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    store: Store,
    catalog: Client,
    clear_after: Duration,
}

/// What the Catalog said to one question; to be handed to [`Engine::settle`].
#[derive(Debug)]
pub struct Answered {
    courses: Vec<CourseKey>,
    question: Question,
    observed: HashMap<RunKey, Observation>,
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

    /// Gives these courses' overviews the last known URL back where they lost it, and says which had. No Catalog is
    /// asked.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn restore(&self, courses: &[CourseKey]) -> Result<Vec<CourseKey>, StoreError> {
        self.store.restore(courses).await
    }

    /// Asks the Catalog for the runs of these courses, and writes what it says to ledger and overviews: both of the
    /// following, one after the other. Runs of which the ledger has a later answer are asked for again, a few times.
    ///
    /// # Errors
    /// Those of the database; a Catalog that fails is an [`Outcome::Unknown`].
    pub async fn refresh(
        &self,
        courses: Vec<CourseKey>,
        purpose: Purpose,
    ) -> Result<HashMap<CourseKey, Outcome>, StoreError> {
        let mut outcomes = HashMap::with_capacity(courses.len());
        let mut rest = courses;
        for asked in 0..=ASKED_AGAIN {
            if asked > 0 {
                tokio::time::sleep(BEFORE_ASKING_AGAIN).await;
            }
            let answered = self.ask(rest, purpose).await?;
            let ended = self.settle(vec![answered]).await?;
            let superseded = ended.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Superseded));
            rest = superseded.map(|(course, _)| course.clone()).collect();
            outcomes.extend(ended);
            if rest.is_empty() {
                break;
            }
        }
        Ok(outcomes)
    }

    /// Asks the Catalog for the runs of these courses, and writes nothing.
    ///
    /// # Errors
    /// If the database cannot tell the time; a Catalog that fails is an answer.
    pub async fn ask(&self, courses: Vec<CourseKey>, purpose: Purpose) -> Result<Answered, StoreError> {
        let runs: HashSet<RunKey> = courses.iter().map(CourseKey::run_key).collect();
        let runs: Vec<RunKey> = runs.into_iter().collect();
        let question = Question {
            asked_at: self.store.now().await?,
            by: asked_by(purpose),
            clear_after: self.clear_after,
        };
        let observed = self.catalog.look_up(&runs, purpose).instrument(tracing::info_span!("look_up")).await;
        Ok(Answered { courses, question, observed })
    }

    /// Writes what these answers say to ledger and overviews, in one transaction for each [`MAX_ROWS`] courses. Every
    /// course has an outcome, once; of two answers about one run the later counts.
    ///
    /// # Errors
    /// Those of the database; a row that it rejects is an [`Outcome::Rejected`].
    pub async fn settle(&self, answered: Vec<Answered>) -> Result<HashMap<CourseKey, Outcome>, StoreError> {
        let mut courses: Vec<CourseKey> = answered.iter().flat_map(|a| a.courses.iter().cloned()).collect();
        courses.sort_unstable();
        courses.dedup();
        let mut answers: HashMap<RunKey, (Question, Observation)> = HashMap::with_capacity(courses.len());
        for Answered { question, observed, .. } in answered {
            for (run, observation) in observed {
                let earlier = answers.get(&run);
                if earlier.is_none_or(|(earlier, _)| earlier.asked_at <= question.asked_at) {
                    answers.insert(run, (question, observation));
                }
            }
        }
        self.note_failures(answers.iter().map(|(run, (question, seen))| (run, seen, question.asked_at)))
            .await?;
        let mut outcomes = HashMap::with_capacity(courses.len());
        // Of what is not known nothing changes, so the database is not asked either.
        courses.retain(|course| {
            let unknown = why_unknown(answers.get(&course.run_key()).map(|(_, observation)| observation));
            unknown.is_none_or(|why| outcomes.insert(course.clone(), Outcome::Unknown(why)).is_some())
        });
        for courses in courses.chunks(MAX_ROWS) {
            let mut halving = Halving::new(courses.len());
            while let Some(part) = halving.next_part() {
                match self.settle_batch(&courses[part.clone()], &answers).await {
                    Ok(settled) => outcomes.extend(settled),
                    Err(error) if error.is_of_a_row() => {
                        let course = halving.rejected(part).and_then(|alone| courses.get(alone));
                        let rejected =
                            |course: &CourseKey| (course.clone(), Outcome::Rejected(report(&error)));
                        outcomes.extend(course.map(rejected));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(outcomes)
    }

    /// Keeps what the Catalog could not say of one run alone, for `explain`: run, answer, and when it was asked for.
    /// While requests are held back after failures in a row, it may be an outage: nothing is kept of that.
    pub async fn note_failures<'a>(
        &self,
        answers: impl Iterator<Item = (&'a RunKey, &'a Observation, DateTime<Utc>)>,
    ) -> Result<(), StoreError> {
        let failures: HashMap<RunKey, Failure> = answers
            .filter_map(|(run, observation, at)| match observation {
                Observation::Unknown(why) if why.is_of_the_run_alone() => {
                    Some((run.clone(), Failure { at, why: why.to_string() }))
                }
                _ => None,
            })
            .collect();
        if failures.is_empty() || self.catalog.gate() != GateState::Closed {
            return Ok(());
        }
        self.store.note_failures(failures).await
    }

    async fn settle_batch(
        &self,
        courses: &[CourseKey],
        answers: &HashMap<RunKey, (Question, Observation)>,
    ) -> Result<Vec<(CourseKey, Outcome)>, StoreError> {
        let snapshots = self.store.snapshots(courses).await?;
        let planning = tracing::info_span!("plan").entered();
        let mut plans: HashMap<RunKey, Plan> = HashMap::with_capacity(courses.len());
        for snapshot in &snapshots {
            let run = snapshot.course.run_key();
            let Some((question, observation)) = answers.get(&run).filter(|_| !plans.contains_key(&run))
            else {
                continue;
            };
            let plan = plan(&run, snapshot.entry.as_ref(), observation, *question);
            plans.extend(plan.map(|plan| (run, plan)));
        }
        let entries = plans.values().map(|plan| plan.entry.clone()).collect();
        drop(planning);
        let applying = self.store.apply(entries, courses.to_vec());
        let refused: HashSet<RunKey> =
            applying.instrument(tracing::info_span!("apply")).await?.refused.into_iter().collect();

        let ended = snapshots.into_iter().filter_map(|snapshot| {
            let run = snapshot.course.run_key();
            let plan = plans.get(&run)?;
            let outcome = if refused.contains(&run) { Outcome::Superseded } else { outcome(&snapshot, plan) };
            Some((snapshot.course, outcome))
        });
        Ok(ended.collect())
    }
}

/// Why nothing is known of a run, if nothing is. The client promises a word on every run; should it ever break that,
/// not knowing changes nothing.
fn why_unknown(observation: Option<&Observation>) -> Option<Unknown> {
    match observation {
        Some(Observation::Unknown(why)) => Some(why.clone()),
        Some(_) => None,
        None => Some(CatalogError::from(Defect::Odd("it says nothing of this run".to_owned())).into()),
    }
}

fn asked_by(purpose: Purpose) -> ObservedBy {
    match purpose {
        Purpose::Event => ObservedBy::Event,
        Purpose::Pass => ObservedBy::Pass,
        Purpose::Command => ObservedBy::Command,
    }
}

fn outcome(snapshot: &Snapshot, plan: &Plan) -> Outcome {
    // Nothing comes of waiting for an overview: there is no URL for it.
    if let Some(refused) = &plan.entry.refused {
        return Outcome::Refused(refused.what.clone());
    }
    let Some(overview) = &snapshot.overview else { return Outcome::NoOverview };
    let is_as_wanted = overview.marketing_url.as_deref() == plan.entry.in_force()
        && overview.also_changes(&plan.entry.also_after(snapshot.entry.as_ref())).is_empty();
    match plan.change {
        Change::Same | Change::Set if is_as_wanted => Outcome::Unchanged,
        Change::Same | Change::Set => Outcome::Updated,
        Change::Clear => Outcome::Cleared,
        // Refused is said above.
        Change::PendingClear | Change::NoPage | Change::Refused => Outcome::NoPage,
        Change::NotListed => Outcome::NotListed,
    }
}
