//! A statement that is planned: how it is printed, and how it is executed on a database that an LMS is using.
//!
//! A statement that waits for a lock on the LMS's table makes the LMS's own statements wait in line behind it. So the
//! wait is short, and what follows it is what was said beforehand, or an error.

use sea_orm_migration::sea_orm::{
    ConnectionTrait, DbBackend, DbErr, RuntimeErr, TransactionSession, TransactionTrait,
};

/// The longest that anybody waits in line behind our ALTER.
const LOCK_WAIT_SECONDS: u32 = 5;

/// A statement that is to be executed, and what there is to know before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Planned {
    /// Statements for the same, to be tried in this order where the server refuses the first.
    pub or: Vec<String>,
    /// What it locks and for how long, where that is more than our own tables; a line each.
    pub note: Vec<String>,
    /// One statement, without a semicolon.
    pub sql: String,
}

impl Planned {
    pub(crate) fn plain(sql: String) -> Self {
        Self { sql, ..Self::default() }
    }
}

/// As SQL, all but the first statement in comments.
impl std::fmt::Display for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.note {
            writeln!(f, "-- {line}")?;
        }
        // The `mysql` client would cut a compound statement at its semicolons.
        if self.sql.contains("HANDLER FOR") {
            writeln!(f, "DELIMITER //\n{}//\nDELIMITER ;", self.sql)?;
        } else {
            writeln!(f, "{};", self.sql)?;
        }
        for other in &self.or {
            writeln!(f, "-- If the server refuses that: {other}")?;
        }
        Ok(())
    }
}

/// Why a migration did not go through.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Somebody uses the LMS's table, and went on using it.
    #[error(
        "a transaction has used course_overviews_courseoverview for all of the {LOCK_WAIT_SECONDS} s that migrate waits, and \
         nothing has changed: find it (MySQL, MariaDB: SELECT * FROM information_schema.innodb_trx; PostgreSQL: SELECT * \
         FROM pg_stat_activity WHERE state <> 'idle'), let it end, and run migrate again"
    )]
    Locked(#[source] DbErr),
    /// The server refuses every way.
    #[error(
        "the server will not add the column in any of the ways that --dry-run prints, the last of which was {alter}, and \
         nothing has changed: at a quiet time add the column yourself, and then run migrate again"
    )]
    Refused {
        /// The statement.
        alter: String,
        /// The server's words.
        source: DbErr,
    },
    /// Anything else.
    #[error(transparent)]
    Db(#[from] DbErr),
}

impl MigrateError {
    fn of(source: DbErr, sql: &str) -> Self {
        let (code, message) = said(&source);
        // PostgreSQL and SQLite by number; MySQL has no number of its own for it in the standard's code.
        if ["55P03", "5"].contains(&code.as_str()) || message.contains("Lock wait timeout") {
            return Self::Locked(source);
        }
        if is_refusal(&code, &message) {
            return Self::Refused { alter: sql.to_owned(), source };
        }
        Self::Db(source)
    }
}

/// These statements about the LMS's table, with a limit on how long the LMS's own wait in line behind them. `about` is
/// noted at the first of them, a line each.
pub(crate) fn bounded(backend: DbBackend, mut about: Vec<String>, mut planned: Vec<Planned>) -> Vec<Planned> {
    let (limit, back, lock) = match backend {
        DbBackend::MySql => (
            format!("SET SESSION lock_wait_timeout = {LOCK_WAIT_SECONDS}"),
            "SET SESSION lock_wait_timeout = DEFAULT",
            "a metadata lock",
        ),
        DbBackend::Postgres => {
            (format!("SET lock_timeout = '{LOCK_WAIT_SECONDS}s'"), "RESET lock_timeout", "ACCESS EXCLUSIVE")
        }
        _ => {
            planned.iter_mut().take(1).for_each(|first| first.note = std::mem::take(&mut about));
            return planned;
        }
    };
    about.extend([
        format!(
            "It needs the table to itself for that moment ({lock}), so it waits for transactions that use it,"
        ),
        format!(
            "and the LMS's own statements wait behind it: {LOCK_WAIT_SECONDS} s at most, then it gives up and"
        ),
        "nothing has changed.".to_owned(),
    ]);
    planned.insert(0, Planned { note: about, ..Planned::plain(limit) });
    planned.push(Planned::plain(back.to_owned()));
    planned
}

/// Executes what was planned, on one connection, as a limit is the connection's. Returns the statement by which the
/// LMS's table got its column, where there was one.
pub(crate) async fn execute<C: TransactionTrait>(
    db: &C,
    planned: &[Planned],
) -> Result<Option<String>, MigrateError> {
    if planned.is_empty() {
        return Ok(None);
    }
    // On MySQL the ALTER commits by itself; elsewhere a failure takes the limit back with the rest.
    let connection = db.begin().await?;
    let mut altered = None;
    for step in planned {
        match first_taken(&connection, step).await {
            Ok(taken) if taken.starts_with("ALTER") => altered = Some(taken.to_owned()),
            Ok(_) => {}
            Err(error) => {
                if let (DbBackend::MySql, Some(back)) = (connection.get_database_backend(), planned.last()) {
                    let _ = connection.execute_unprepared(&back.sql).await;
                }
                let _ = connection.rollback().await;
                return Err(error);
            }
        }
    }
    connection.commit().await?;
    Ok(altered)
}

/// Executes the first of the step's statements that the server does not refuse. Returns that one.
async fn first_taken<'s, C: ConnectionTrait>(db: &C, step: &'s Planned) -> Result<&'s str, MigrateError> {
    let mut sql = step.sql.as_str();
    let mut others = step.or.iter();
    loop {
        let Err(error) = db.execute_unprepared(sql).await else { return Ok(sql) };
        match (MigrateError::of(error, sql), others.next()) {
            // Nothing has changed, so the next way may be tried.
            (MigrateError::Refused { .. }, Some(next)) => sql = next,
            (error, _) => return Err(error),
        }
    }
}

/// The server's code and message.
fn said(error: &DbErr) -> (String, String) {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return Default::default();
    };
    let Some(error) = error.as_database_error() else { return Default::default() };
    (error.code().unwrap_or_default().into_owned(), error.message().to_owned())
}

/// Whether the server refuses this way: by the SQLSTATE "feature not supported"; by MySQL's 4092, which has none of its
/// own; and a server that does not know the word at all (1064, 1800).
fn is_refusal(state: &str, message: &str) -> bool {
    state == "0A000"
        || message.starts_with("Maximum row versions")
        || message.starts_with("Unknown ALGORITHM")
        || (state == "42000" && message.contains("ALGORITHM"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_that_is_refused_is_told_from_a_failure() {
        for (state, message) in [
            ("0A000", "ALGORITHM=INSTANT is not supported. Reason: INPLACE ADD or DROP of virtual columns …"),
            ("0A000", "LOCK=NONE is not supported for this operation. Try LOCK=SHARED"),
            (
                "HY000",
                "Maximum row versions reached for table lms/t. No more columns can be added or dropped instantly.",
            ),
            ("HY000", "Unknown ALGORITHM 'INSTANT'"),
        ] {
            assert!(is_refusal(state, message), "{message}");
        }
        for (state, message) in [
            ("HY000", "Lock wait timeout exceeded; try restarting transaction"),
            ("42000", "ALTER command denied to user 'u'@'%' for table 't'"),
            ("42S21", "Duplicate column name 'marketing_url'"),
        ] {
            assert!(!is_refusal(state, message), "{message}");
        }
    }
}
