//! The scheduled jobs: when the passes run next, when links were last healed, and which worker has which job.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use tokio::sync::watch;

use crate::clock;
use crate::config::{Config, Schedule};
use crate::jobs::HEAL;
use crate::store::LeaseRow;

/// The schedule that is in force; a reload of the configuration may replace it.
type InForce = watch::Receiver<Option<Schedule>>;

/// What this worker's configuration says of scheduled jobs. By default there are none.
#[derive(Debug, Clone, Default)]
pub(super) struct Timetable {
    full: Option<InForce>,
    light: Option<InForce>,
    heal: Option<Duration>,
    hints: Option<Duration>,
}

/// When the passes run next, by this worker's configuration.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Next {
    /// The next full pass. `None`: a worker runs none.
    pub full_pass: Option<DateTime<Utc>>,
    /// The next light pass. `None`: a worker runs none.
    pub light_pass: Option<DateTime<Utc>>,
    /// When the Catalog is to be asked next what has changed. `None`: it is not, or was never.
    pub hints: Option<DateTime<Utc>>,
}

/// Which worker has which job.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Leases {
    /// When a worker last began to heal, whichever it was.
    pub last_heal: Option<DateTime<Utc>>,
    /// The leases that are held.
    pub held: Vec<Lease>,
}

/// One job, and its holder.
#[derive(Debug, Clone, Serialize)]
pub struct Lease {
    /// The job.
    pub job: String,
    /// The worker or command that has it.
    pub holder: String,
    /// When another may take it, unless it is renewed.
    pub until: DateTime<Utc>,
}

impl Timetable {
    pub(super) fn new(config: &Config, full: InForce, light: InForce) -> Self {
        let (heal, hints) = (config.heal.interval, config.reconcile.delta_interval);
        Self { full: Some(full), light: Some(light), heal, hints }
    }

    /// `hinted` is when the Catalog was last asked what has changed.
    pub(super) fn next(&self, hinted: Option<DateTime<Utc>>) -> Next {
        let now = clock::now();
        let interval = self.hints.and_then(|interval| TimeDelta::from_std(interval).ok());
        let hints = hinted.zip(interval).map(|(asked_at, interval)| asked_at + interval);
        let next = |schedule: &Option<InForce>| {
            schedule.as_ref()?.borrow().as_ref()?.0.find_next_occurrence(&now, false).ok()
        };
        Next { full_pass: next(&self.full), light_pass: next(&self.light), hints }
    }

    /// `now` is the database's time.
    pub(super) fn leases(&self, rows: Vec<LeaseRow>, now: DateTime<Utc>) -> Leases {
        // The lease is taken right before, and for as long as the interval.
        let interval = self.heal.and_then(|interval| TimeDelta::from_std(interval).ok());
        let heal = rows.iter().find(|row| row.job == HEAL);
        let last_heal = heal.zip(interval).map(|(row, interval)| row.expires_at - interval);
        let held = rows.into_iter().filter(|row| row.expires_at > now);
        let held = held.map(|row| Lease { job: row.job, holder: row.holder, until: row.expires_at });
        Leases { last_heal, held: held.collect() }
    }
}
