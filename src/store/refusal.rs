//! Whether a database that answers refuses to write: no right, a server that only reads, a full disk.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::{DbErr, RuntimeErr};
use tokio::sync::watch;

use super::StoreError;
use super::timeout::COMMIT;
use crate::clock;
use crate::telemetry::report;

/// Why a statement is refused that the database understands and could carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The user may not.
    Right,
    /// The server, the session or the file only reads.
    ReadOnly,
    /// There is no room left on the disk.
    DiskFull,
}

/// A database that reads, and does not write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Since when this is known.
    pub since: DateTime<Utc>,
    /// Why, and where it can be said, what to do.
    pub why: String,
}

/// Whether the database writes, as far as is known; shared by the clones of a store.
#[derive(Debug, Clone)]
pub struct Writes(Arc<watch::Sender<Known>>);

/// What is known, each until the opposite is.
#[derive(Debug, Default)]
pub struct Known {
    /// By a statement that was refused, or by a look at the rights.
    refused: Option<Refused>,
    /// By a COMMIT that failed. No look finds that, as what is looked at need not be what fails.
    uncommitted: Option<Refused>,
}

impl Default for Writes {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Known::default())))
    }
}

impl Writes {
    /// Why it does not, if it does not.
    pub fn refused(&self) -> Option<Refused> {
        let known = self.0.borrow();
        known.refused.as_ref().or(known.uncommitted.as_ref()).cloned()
    }

    /// Returns at the next change, and at once for one that the receiver has not seen.
    pub fn watch(&self) -> watch::Receiver<Known> {
        self.0.subscribe()
    }

    /// Notes a statement that was refused, or a COMMIT that failed; what is known already stays.
    pub(super) fn note(&self, error: &StoreError) {
        let refused = || Some(Refused { since: clock::now(), why: report(error) });
        let note = |known: &mut Option<Refused>| {
            let is_new = known.is_none();
            if is_new {
                *known = refused();
            }
            is_new
        };
        if error.refusal().is_some() {
            self.0.send_if_modified(|known| note(&mut known.refused));
        } else if error.is_failed_commit() {
            self.0.send_if_modified(|known| note(&mut known.uncommitted));
        }
    }

    /// Notes that links or answers were committed.
    pub(super) fn committed(&self) {
        self.0.send_if_modified(|known| known.uncommitted.take().is_some());
    }

    /// Notes what a look at the rights came to: none, that it writes; else why not.
    pub(super) fn set(&self, why: Option<String>) {
        self.0.send_if_modified(|known| {
            let is_new = known.refused.as_ref().map(|refused| &refused.why) != why.as_ref();
            if is_new {
                let since = known.refused.take().map_or_else(clock::now, |refused| refused.since);
                known.refused = why.map(|why| Refused { since, why });
            }
            is_new
        });
    }
}

impl StoreError {
    /// Why the database refuses the statement, if that is what it does.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Statement { source, .. } => refusal(source),
            _ => None,
        }
    }

    /// True if the database took the statements and failed to commit them, for no row's sake; an outage is shown
    /// elsewhere.
    fn is_failed_commit(&self) -> bool {
        matches!(self, Self::Statement { doing: COMMIT, .. })
            && !self.is_of_a_row()
            && !self.is_broken_connection()
    }
}

/// The same for what SeaORM says.
fn refusal(error: &DbErr) -> Option<Refusal> {
    let (DbErr::Exec(e) | DbErr::Query(e) | DbErr::Conn(e)) = error else { return None };
    let RuntimeErr::SqlxError(e) = e else { return None };
    let error = e.as_database_error()?;
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        return sqlite(code.parse().ok()?);
    }
    match error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        Some(error) => mysql(error.number(), error.message()),
        None => postgres(&code),
    }
}

/// By the primary code, the low byte.
fn sqlite(code: i32) -> Option<Refusal> {
    match code & 0xff {
        8 => Some(Refusal::ReadOnly),
        13 => Some(Refusal::DiskFull),
        _ => None,
    }
}

fn postgres(state: &str) -> Option<Refusal> {
    match state {
        "42501" => Some(Refusal::Right),
        "25006" => Some(Refusal::ReadOnly),
        "53100" => Some(Refusal::DiskFull),
        _ => None,
    }
}

fn mysql(number: u16, message: &str) -> Option<Refusal> {
    match number {
        // On a database, a table, a column; a privilege of the server's.
        1044 | 1142 | 1143 | 1227 => Some(Refusal::Right),
        // A table, a transaction, InnoDB; and the options --read-only and --super-read-only, the number of which stands
        // for every option that forbids something.
        1036 | 1792 | 1836 => Some(Refusal::ReadOnly),
        1290 if message.contains("read-only") || message.contains("read_only") => Some(Refusal::ReadOnly),
        // A full disk, a full table (of which InnoDB speaks when its file system is full).
        1021 | 1114 => Some(Refusal::DiskFull),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_is_told_from_what_fails() {
        let by_number = |number| mysql(number, "running with the --read-only option");
        assert_eq!([1142, 1143].map(by_number), [Some(Refusal::Right); 2]);
        assert_eq!([1290, 1792, 1836, 1036].map(by_number), [Some(Refusal::ReadOnly); 4]);
        assert_eq!(mysql(1290, "running with the --skip-grant-tables option"), None);
        assert_eq!([1021, 1114].map(by_number), [Some(Refusal::DiskFull); 2]);
        assert_eq!([1205, 1213, 1054, 1146, 1364].map(by_number), [None; 5]);
        assert_eq!([8, 264, 1032, 13].map(|code| sqlite(code).is_some()), [true; 4]);
        assert_eq!([5, 1, 10, 19].map(sqlite), [None; 4]);
        assert_eq!(["42P01", "40P01", "57014", ""].map(postgres), [None; 4]);
    }

    #[test]
    fn the_first_reason_stays_until_a_look_finds_another_or_none() {
        let writes = Writes::default();
        writes.set(Some("no right".to_owned()));
        let first = writes.refused().unwrap();
        writes.set(Some("read-only".to_owned()));
        let second = writes.refused().unwrap();
        assert_eq!((second.why.as_str(), second.since), ("read-only", first.since));
        writes.set(None);
        assert_eq!(writes.refused(), None);
    }
}
