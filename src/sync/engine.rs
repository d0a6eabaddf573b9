//! The steps in their order: restore from the ledger; then look up, plan and apply. Doing it twice changes nothing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::Instrument;

use super::{Change, Outcome, Plan, Question, plan};
use crate::catalog::{CatalogError, Circuit, Client, Defect, Observation, Purpose, Unknown};
use crate::course_key::{CourseKey, RunKey};
use crate::store::{Entry, Failure, Halving, MAX_ROWS, ObservedBy, Snapshot, Store, StoreError};
use crate::telemetry::report;

/// How often a run is asked for again whose answer the ledger refused.
pub const ASKED_AGAIN: u32 = 3;
/// Another worker's clock may be so much ahead of ours, after which our next question is the later one.
pub const BEFORE_ASKING_AGAIN: Duration = Duration::from_secs(1);

/// The answer about each run, and the question.
type Answers = HashMap<RunKey, (Question, Observation)>;

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
        let question = Question {
            asked_at: self.store.now().await?,
            by: asked_by(purpose),
            clear_after: self.clear_after,
        };
        let looking = self.look_up(&courses, purpose);
        let observed = looking.instrument(tracing::info_span!("look_up")).await;
        Ok(Answered { courses, question, observed })
    }

    /// Asks the Catalog for the runs of these courses. For custom courses it asks for their parent alone; only where
    /// that gives no URL it asks for listings of their own too.
    pub async fn look_up(&self, courses: &[CourseKey], purpose: Purpose) -> HashMap<RunKey, Observation> {
        let runs: HashSet<RunKey> = courses.iter().map(CourseKey::run_key).collect();
        let runs: Vec<RunKey> = runs.into_iter().collect();
        let mut observed = self.catalog.look_up(&runs, purpose).await;
        let own = courses.iter().filter(|course| observed.get(&course.run_key()).is_some_and(gives_no_url));
        let own: Vec<RunKey> = own.filter(|course| course.is_ccx()).map(CourseKey::own_key).collect();
        if !own.is_empty() {
            observed.extend(self.catalog.look_up(&own, purpose).await);
        }
        observed
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
        let mut answers: Answers = HashMap::with_capacity(courses.len());
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
            let answer = |run: &RunKey| answers.get(run).map(|(_, observation)| observation);
            let of_run = answer(&course.run_key());
            let by_own = course.is_ccx() && of_run.is_some_and(gives_no_url);
            let unknown = why_unknown(of_run)
                .or_else(|| if by_own { why_unknown(answer(&course.own_key())) } else { None });
            unknown.is_none_or(|why| outcomes.insert(course.clone(), Outcome::Unknown(why)).is_some())
        });
        for courses in courses.chunks(MAX_ROWS) {
            let mut halving = Halving::new(courses.len());
            while let Some(part) = halving.next_part() {
                match self.settle_batch(&courses[part.clone()], &answers, true).await {
                    Ok(settled) => outcomes.extend(settled),
                    Err(error) if error.is_of_a_row() => {
                        let alone = halving.rejected(part).and_then(|alone| courses.get(alone));
                        let Some(course) = alone else { continue };
                        outcomes.extend(self.settle_rejected(course, &answers, error).await?);
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
        if failures.is_empty() || self.catalog.circuit() != Circuit::Closed {
            return Ok(());
        }
        self.store.note_failures(failures).await
    }

    /// For a course that was rejected alone: one of its custom courses may be to blame, which is left to heal then.
    async fn settle_rejected(
        &self,
        course: &CourseKey,
        answers: &Answers,
        why: StoreError,
    ) -> Result<Vec<(CourseKey, Outcome)>, StoreError> {
        match self.settle_batch(std::slice::from_ref(course), answers, false).await {
            Err(error) if error.is_of_a_row() => {
                Ok(vec![(course.clone(), Outcome::Rejected(report(&error)))])
            }
            Ok(settled) => {
                let error = report(&why);
                tracing::warn!(event = "overview.ccx_rejected", %course, error, "the database rejects a custom course's row");
                Ok(settled)
            }
            other => other,
        }
    }

    /// `with_ccx`: the overviews of custom courses of these courses follow in the same transaction.
    async fn settle_batch(
        &self,
        courses: &[CourseKey],
        answers: &Answers,
        with_ccx: bool,
    ) -> Result<Vec<(CourseKey, Outcome)>, StoreError> {
        let custom =
            async { if with_ccx { self.store.custom_courses_of(courses).await } else { Ok(Vec::new()) } };
        let (snapshots, custom) = tokio::try_join!(self.store.snapshots(courses), custom)?;
        let planning = tracing::info_span!("plan").entered();
        let mut plans: HashMap<RunKey, Plan> = HashMap::with_capacity(courses.len());
        for snapshot in &snapshots {
            let own = snapshot.course.is_ccx().then(|| (snapshot.course.own_key(), snapshot.own.as_ref()));
            for (run, known) in [(snapshot.course.run_key(), snapshot.entry.as_ref())].into_iter().chain(own)
            {
                let answer = answers.get(&run).filter(|_| !plans.contains_key(&run));
                let plan =
                    answer.and_then(|(question, observation)| plan(&run, known, observation, *question));
                plans.extend(plan.map(|plan| (run, plan)));
            }
        }
        let entries = plans.values().map(|plan| plan.entry.clone()).collect();
        drop(planning);
        let applying = self.store.apply(entries, [courses, &custom].concat());
        let refused: HashSet<RunKey> =
            applying.instrument(tracing::info_span!("apply")).await?.refused.into_iter().collect();

        let ended = snapshots.into_iter().filter_map(|snapshot| {
            let plan = followed(&snapshot, &plans)?;
            let runs = [snapshot.course.run_key(), snapshot.course.own_key()];
            let is_superseded = runs.iter().any(|run| refused.contains(run));
            let outcome = if is_superseded { Outcome::Superseded } else { outcome(&snapshot, plan) };
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

/// Whether an answer is known and brings no URL that may be shared, so that a custom course's own listing counts.
fn gives_no_url(observation: &Observation) -> bool {
    matches!(observation, Observation::NoUrl(_) | Observation::Refused(_) | Observation::NotListed)
}

/// What was planned for the row that an overview follows now; none if nothing was.
fn followed<'p>(snapshot: &Snapshot, plans: &'p HashMap<RunKey, Plan>) -> Option<&'p Plan> {
    let of_run = plans.get(&snapshot.course.run_key());
    let own = plans.get(&snapshot.course.own_key()).filter(|_| snapshot.course.is_ccx());
    let entry = |plan: Option<&'p Plan>| plan.map(|plan| &plan.entry);
    match Entry::choose(entry(of_run), entry(own)) {
        Some(chosen) if own.is_some_and(|own| own.entry == *chosen) => own,
        _ => of_run,
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
