//! What can go wrong with the database, and whether trying again may help.

use sea_orm::{DbErr, RuntimeErr};

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or lets nobody in.
    #[error("cannot connect to the database {url}: {source}")]
    Connect {
        /// The URL without its password.
        url: String,
        /// What the driver said.
        source: DbErr,
    },
    /// MySQL wants the password encrypted, and the connection is plain.
    #[error(
        "the database's way of logging in (caching_sha2_password, sha256_password) sends no password over a plain \
         connection: let it use TLS (?ssl-mode=REQUIRED in database.url; the server's own certificate will do), or, up to \
         MySQL 8.4, have the user made with mysql_native_password"
    )]
    PlainLogin,
    /// A statement failed.
    #[error("the database failed to {doing}")]
    Statement {
        /// What was being done.
        doing: &'static str,
        /// What the driver said.
        #[source]
        source: DbErr,
    },
    /// A lease that was to be given back had been taken over.
    #[error("the lease {job:?} was no longer held by {holder:?}")]
    LeaseLost {
        /// The job.
        job: String,
        /// Who thought to hold it.
        holder: String,
    },
    /// The row of a pass has an end, or another process has written it since.
    #[error("pass {pass} was taken over by another process")]
    PassTakenOver {
        /// Its id.
        pass: i64,
    },
    /// No answer within the time that any statement may take.
    #[error("the database did not answer in time to {doing}")]
    Silent {
        /// What was being done.
        doing: &'static str,
    },
    /// The work itself died.
    #[error("a database task was aborted")]
    Aborted,
}

impl StoreError {
    /// True if the database answered, and what it answered is that it will not do this.
    pub(super) fn is_reported(&self) -> bool {
        self.reported().is_some()
    }

    pub(super) fn doing(doing: &'static str) -> impl FnOnce(DbErr) -> Self {
        move |source| if wants_tls(&source) { Self::PlainLogin } else { Self::Statement { doing, source } }
    }

    /// True if the same statements may well succeed at once when sent again: a deadlock or a lock not got in time,
    /// in which the database has rolled back our transaction, or a pooled connection that had died.
    pub(super) fn is_transient(&self) -> bool {
        // MySQL reports deadlocks as SQLSTATE 40001 and lock time-outs as HY000 with number 1205.
        let in_the_way = self.reported().is_some_and(|error| match error.code().as_deref() {
            Some("40001" | "40P01" | "5" | "517") => true,
            _ => error.message().contains("Lock wait timeout"),
        });
        in_the_way || self.is_broken_connection()
    }

    /// True if the connection is of no more use, as after a restart of the server.
    pub(super) fn is_broken_connection(&self) -> bool {
        match self.sqlx() {
            Some(sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed) => true,
            // The server's last words on it: PostgreSQL's shutdown and crash, MySQL's shutdown and KILL, MariaDB's KILL.
            Some(sqlx::Error::Database(error)) => {
                matches!(error.code().as_deref(), Some("57P01" | "57P02" | "08S01" | "70100"))
            }
            _ => false,
        }
    }

    fn reported(&self) -> Option<&dyn sqlx::error::DatabaseError> {
        self.sqlx().and_then(sqlx::Error::as_database_error)
    }

    fn sqlx(&self) -> Option<&sqlx::Error> {
        let Self::Statement { source: DbErr::Exec(e) | DbErr::Query(e) | DbErr::Conn(e), .. } = self else {
            return None;
        };
        let RuntimeErr::SqlxError(e) = e else { return None };
        Some(e.as_ref())
    }
}

/// The driver says so in words for programmers.
pub(super) fn wants_tls(error: &DbErr) -> bool {
    error.to_string().contains("mysql-rsa")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_wants_tls_says_what_an_operator_can_do() {
        let said = "RSA auth backend disabled; enable feature `mysql-rsa` (or `rsa` if using sqlx-mysql directly) or use TLS.";
        let error = sqlx::Error::Configuration(said.into());
        let error = StoreError::doing("answer")(DbErr::Conn(RuntimeErr::SqlxError(error.into())));
        let told = crate::telemetry::report(&error);
        assert!(told.contains("ssl-mode=REQUIRED") && !told.contains("feature"), "{told}");
    }
}
