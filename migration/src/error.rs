//! What can stop a migration.

use sea_orm_migration::sea_orm::{DbErr, RuntimeErr};

use crate::alter::is_refused;
use crate::overview::LOCK_WAIT_SECONDS;

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
    pub(crate) fn of_alter(source: DbErr, alter: &str) -> Self {
        let (code, text) = match &source {
            DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => {
                let error = error.as_database_error();
                (error.and_then(|error| error.code()), error.map(|error| error.message().to_owned()))
            }
            _ => (None, None),
        };
        // PostgreSQL and SQLite by number; MySQL has no number of its own for it in the standard's code.
        let locked = matches!(code.as_deref(), Some("55P03" | "5"))
            || text.as_deref().is_some_and(|text| text.contains("Lock wait timeout"));
        if locked {
            return Self::Locked(source);
        }
        if is_refused(&source) {
            return Self::Refused { alter: alter.to_owned(), source };
        }
        Self::Db(source)
    }
}
