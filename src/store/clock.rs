//! The database's clock, so that workers on machines whose clocks differ agree which answer is newer.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::limit::within;
use super::{Store, StoreError};

/// How long the last reading is good for: clocks drift apart by some parts in a million.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// The last reading of the database's clock, and when it was taken.
#[derive(Default)]
pub(super) struct DatabaseClock(Mutex<Option<(Instant, DateTime<Utc>)>>);

impl DatabaseClock {
    fn get(&self) -> Option<DateTime<Utc>> {
        let reading = *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (at, time) = reading?;
        let passed = at.elapsed();
        (passed < GOOD_FOR).then(|| time + passed)
    }

    fn set(&self, at: Instant, time: DateTime<Utc>) {
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some((at, time));
    }
}

impl Store {
    /// The time on the database's clock, to the microsecond; costs a statement once a minute.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        if let Some(time) = self.clock.get() {
            return Ok(time.trunc_subsecs(6));
        }
        let asked = Instant::now();
        let time = self.read_clock().await?;
        // The reading is from somewhere between question and answer: the middle is off by half of that at most.
        let at = asked + asked.elapsed() / 2;
        self.clock.set(at, time);
        Ok((time + at.elapsed()).trunc_subsecs(6))
    }

    async fn read_clock(&self) -> Result<DateTime<Utc>, StoreError> {
        let sql = match self.backend() {
            DbBackend::MySql => "SELECT UTC_TIMESTAMP(6) AS t",
            DbBackend::Postgres => "SELECT clock_timestamp() AT TIME ZONE 'UTC' AS t",
            // A file on this machine: its clock is ours.
            _ => return Ok(Utc::now()),
        };
        let doing = "tell the time";
        let row = within(doing, self.db.query_one_raw(Statement::from_string(self.backend(), sql))).await?;
        let time = row
            .ok_or_else(|| sea_orm::DbErr::RecordNotFound(sql.to_owned()))
            .and_then(|row| row.try_get::<NaiveDateTime>("", "t"))
            .map_err(StoreError::doing(doing))?;
        Ok(time.and_utc())
    }
}
