//! A statement that is planned: how it is printed, and how it is executed on a database that an LMS is using.
//!
//! A statement that waits for a lock on the LMS's table makes the LMS's own statements wait in line behind it. So the
//! wait is short.

use sea_orm_migration::sea_orm::{
    ConnectionTrait, DbBackend, DbErr, RuntimeErr, TransactionSession, TransactionTrait,
};

/// The longest that anybody waits in line behind our ALTER.
const LOCK_WAIT_SECONDS: u32 = 5;

/// A statement that is to be executed, and what there is to know before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Planned {
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

/// As SQL, with the notes as comments.
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
    /// Anything else.
    #[error(transparent)]
    Db(#[from] DbErr),
}

impl MigrateError {
    fn of(source: DbErr) -> Self {
        let reported = match &source {
            DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => {
                error.as_database_error()
            }
            _ => None,
        };
        // PostgreSQL and SQLite by number; MySQL has no number of its own for it in the standard's code.
        let is_lock = reported.is_some_and(|error| {
            matches!(error.code().as_deref(), Some("55P03" | "5"))
                || error.message().contains("Lock wait timeout")
        });
        if is_lock { Self::Locked(source) } else { Self::Db(source) }
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

/// Executes what was planned, on one connection, as a limit is the connection's.
pub(crate) async fn execute<C: TransactionTrait>(db: &C, planned: &[Planned]) -> Result<(), MigrateError> {
    if planned.is_empty() {
        return Ok(());
    }
    // On MySQL the ALTER commits by itself; elsewhere a failure takes the limit back with the rest.
    let connection = db.begin().await?;
    for step in planned {
        if let Err(error) = connection.execute_unprepared(&step.sql).await {
            if let (DbBackend::MySql, Some(back)) = (connection.get_database_backend(), planned.last()) {
                let _ = connection.execute_unprepared(&back.sql).await;
            }
            let _ = connection.rollback().await;
            return Err(MigrateError::of(error));
        }
    }
    Ok(connection.commit().await?)
}
