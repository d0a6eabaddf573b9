//! What becomes of the runs that a page of the list shows.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::PassError;
use super::progress::Phase;
use super::report::push;
use super::running::Running;
use crate::catalog::{ListedRun, Observation};
use crate::engine::{Outcome, Policy, Settled};
use crate::model::course_key::{CourseKey, RunKey};
use crate::store::PassKind;

impl Running<'_> {
    /// Settles the runs of a page whose first one stands at offset `start`; the list is read to `read_to` by it.
    pub(super) async fn settle_page(
        &mut self,
        start: u64,
        read_to: u64,
        asked_at: DateTime<Utc>,
        runs: Vec<ListedRun>,
    ) -> Result<(), PassError> {
        let (courses, observed) = self.sort_out(start, runs);
        let answered = self.engine.listed(asked_at, courses, observed);
        let policy = Policy { page: true, cached: self.is_light(), ..self.policy() };
        for settled in self.observe(answered, policy).await? {
            // Whether a custom course is settled depends on its parent, too.
            if !settled.course.is_ccx() || matches!(settled.outcome, Outcome::Superseded) {
                self.count_listed_run(settled);
            }
        }
        self.settled_to = read_to;
        self.tick(Phase::Crawl).await
    }

    fn count_listed_run(&mut self, settled: Settled) {
        let Settled { course, outcome, has_overview, seen_before } = settled;
        let report = &mut self.report;
        let is_light = report.kind == PassKind::Light;
        match outcome {
            // A full pass asks again by key, as for a run that was not shown; a light one only for what it remembers.
            Outcome::Unknown(_) | Outcome::Rejected(_) if is_light => self.ask_for(course),
            Outcome::Unknown(_) | Outcome::Rejected(_) | Outcome::NotListed => {}
            // What only the ledger would know is for a full pass.
            Outcome::Superseded if is_light && !has_overview => {
                report.without_overview += 1;
            }
            Outcome::Superseded => self.ask_for(course),
            _ if seen_before.is_some_and(|at| at >= report.started_at) => report.seen_twice += 1,
            _ if !has_overview => {
                report.without_overview += 1;
                tracing::debug!(
                    event = "reconcile.without_overview",
                    course_id = course.as_str(),
                    "listed run without overview"
                );
            }
            Outcome::Refused(refused) => {
                report.settled_by_crawl += 1;
                report.refused(&course, &refused);
            }
            _ => report.settled_by_crawl += 1,
        }
    }

    /// Counts the rows of a page, and leaves out those whose key is of no run, and those seen before.
    fn sort_out(
        &mut self,
        start: u64,
        runs: Vec<ListedRun>,
    ) -> (Vec<CourseKey>, HashMap<RunKey, Observation>) {
        let report = &mut self.report;
        let mut courses = Vec::with_capacity(runs.len());
        let mut answers = HashMap::with_capacity(runs.len());
        for (position, listed) in (start..).zip(runs) {
            report.listed += 1;
            let key = match listed.key {
                Ok(key) => key,
                Err(error) => {
                    report.odd_rows += 1;
                    push(&mut report.odd, format!("position {position}: {error}"));
                    continue;
                }
            };
            report.ccx_listed += u64::from(key.is_ccx());
            if key.is_ccx() && self.options.dry_run {
                // It is asked for by key, with its parent, as nothing is noted of either.
                continue;
            }
            if let Observation::Unknown(why) = &listed.observation {
                report.odd_rows += 1;
                push(&mut report.odd, format!("{key}: {why}"));
            } else if let Some(column) = listed.odd.first() {
                report.odd_rows += 1;
                let field = column.field();
                push(&mut report.odd, format!("{key}: its {field} is not valid and is ignored"));
            }
            let run = key.own_key();
            let again = self.options.dry_run && !self.seen.insert(run.clone());
            if again || answers.contains_key(&run) {
                report.seen_twice += 1;
                continue;
            }
            answers.insert(run, listed.observation);
            courses.push(key);
        }
        (courses, answers)
    }
}
