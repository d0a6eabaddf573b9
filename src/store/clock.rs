//! The database's clock, so that workers on machines whose clocks differ agree which answer is newer.
//!
//! A reading may be behind, never ahead. A worker ahead of the others would overwrite newer answers; one that is behind
//! has its answers refused by the ledger, reads the clock again, and asks the Catalog again.

use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use parking_lot::Mutex;
use sea_orm::{DbBackend, DbErr, Statement};

use super::StoreError;
use super::timeout::{Db, Limit};
use crate::clock;

/// How long the last reading is good for: clocks drift apart by some parts in a million.
const GOOD_FOR: Duration = Duration::from_secs(60);
const DOING: &str = "tell the time";

/// The last reading of the database's clock, and when its answer had come.
#[derive(Default)]
pub(super) struct DatabaseClock(Mutex<Option<Reading>>);

/// What the database's clock showed, some time before `answered`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    time: DateTime<Utc>,
    answered: Instant,
}

impl DatabaseClock {
    fn get(&self) -> Option<DateTime<Utc>> {
        let Reading { time, answered } = (*self.0.lock())?;
        let passed = answered.elapsed();
        (passed < GOOD_FOR).then(|| time + passed)
    }

    /// The time, to the microsecond, or a little earlier; costs a statement once a minute.
    pub(super) async fn now(&self, db: &Db) -> Result<DateTime<Utc>, StoreError> {
        if let Some(time) = self.get() {
            return Ok(time.trunc_subsecs(6));
        }
        let sql = match db.backend() {
            DbBackend::MySql => "SELECT UTC_TIMESTAMP(6)",
            DbBackend::Postgres => "SELECT clock_timestamp() AT TIME ZONE 'UTC'",
            // A file on this machine: its clock is ours.
            _ => return Ok(clock::now().trunc_subsecs(6)),
        };
        let ask = Statement::from_string(db.backend(), sql);
        let shown: Vec<NaiveDateTime> = db.values(DOING, Limit::Batch, ask).await?;
        // It showed this before the answer had come: the reading is behind by as long as that took.
        let answered = Instant::now();
        let shown = shown.first().ok_or_else(|| DbErr::RecordNotFound(DOING.to_owned()));
        let time = shown.map_err(StoreError::doing(DOING))?.and_utc();
        *self.0.lock() = Some(Reading { time, answered });
        Ok(time.trunc_subsecs(6))
    }

    /// Has the clock be read again before it is used.
    pub(super) fn doubt(&self) {
        *self.0.lock() = None;
    }
}
