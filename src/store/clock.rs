//! The database's clock, so that workers on machines whose clocks differ agree which answer is newer.
//!
//! A reading may be behind, never ahead: who believes to be ahead overwrites newer answers, and who is behind is
//! refused by the ledger and asks again.

use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use parking_lot::Mutex;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};

use super::StoreError;
use super::timeout::{Db, Limit};
use crate::clock;

/// How long the last reading is good for: clocks drift apart by some parts in a million.
const GOOD_FOR: Duration = Duration::from_secs(60);
/// A reading that took longer is taken again, as it may be behind by as much.
const PROMPT: Duration = Duration::from_millis(20);
const READINGS: u32 = 3;
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
        // In a transaction, as that has a connection: waiting for one, or opening it, is no part of a reading.
        let reading = db
            .transaction(DOING, Limit::Batch, move |transaction| {
                Box::pin(async move { read(transaction, sql).await.map_err(StoreError::doing(DOING)) })
            })
            .await?;
        *self.0.lock() = Some(reading);
        Ok((reading.time + reading.answered.elapsed()).trunc_subsecs(6))
    }

    /// Has the clock be read again before it is used.
    pub(super) fn doubt(&self) {
        *self.0.lock() = None;
    }
}

async fn read(transaction: &DatabaseTransaction, sql: &'static str) -> Result<Reading, DbErr> {
    let mut best = Best::default();
    while best.wants_another() {
        let asked = Instant::now();
        let ask = Statement::from_string(transaction.get_database_backend(), sql);
        let row = transaction.query_one_raw(ask).await?;
        let answered = Instant::now();
        let row = row.ok_or_else(|| DbErr::RecordNotFound(DOING.to_owned()))?;
        best.add(asked, row.try_get_by_index(0)?, answered);
    }
    best.reading.map(|(_, reading)| reading).ok_or_else(|| DbErr::RecordNotFound(DOING.to_owned()))
}

/// The quickest of a few readings; one that is quick enough ends it.
#[derive(Default)]
struct Best {
    readings: u32,
    /// How long it took.
    reading: Option<(Duration, Reading)>,
}

impl Best {
    fn wants_another(&self) -> bool {
        let is_prompt = self.reading.is_some_and(|(took, _)| took <= PROMPT);
        !is_prompt && self.readings < READINGS
    }

    /// The clock showed `time` at some moment between `asked` and `answered`. The latest is taken: so the reading is
    /// behind by as long as it took, at most, and never ahead.
    fn add(&mut self, asked: Instant, time: NaiveDateTime, answered: Instant) {
        self.readings += 1;
        let took = answered - asked;
        if self.reading.is_none_or(|(quickest, _)| took < quickest) {
            self.reading = Some((took, Reading { time: time.and_utc(), answered }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_of_three_readings_counts_and_is_never_ahead() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let time = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let mut best = Best::default();
        for (asked, answered) in [(0, 3_000), (3_000, 3_050), (3_050, 4_000)] {
            assert!(best.wants_another());
            // The server answers at once; the answer is what is slow.
            let shown = time + Duration::from_millis(asked);
            best.add(at(asked), shown.naive_utc(), at(answered));
        }
        assert!(!best.wants_another());
        let (took, reading) = best.reading.unwrap();
        assert_eq!(took, Duration::from_millis(50));
        let now = time + Duration::from_millis(3_050);
        let believed = reading.time + (at(3_050) - reading.answered);
        assert!(believed <= now && now - believed <= chrono::TimeDelta::milliseconds(50));
    }

    #[test]
    fn a_prompt_reading_needs_no_other() {
        let start = Instant::now();
        let mut best = Best::default();
        best.add(start, NaiveDateTime::default(), start + PROMPT);
        assert!(!best.wants_another());
    }
}
