//! What can go wrong with the database, and what follows by the database's own codes: whether trying again may help,
//! whether the database refuses to write, and whether a row is to blame.

use sea_orm::{DbErr, RuntimeErr};
use sqlx::error::DatabaseError;

/// What a transaction does at its end, in errors.
pub(super) const COMMIT: &str = "commit";

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
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
            Some("40001" | "40P01" | "55P03" | "5" | "517") => true,
            _ => error.message().contains("Lock wait timeout"),
        });
        in_the_way || self.is_broken_connection()
    }

    /// True if the connection is of no more use, as after a restart of the server.
    pub(super) fn is_broken_connection(&self) -> bool {
        match self.sqlx() {
            Some(sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed) => true,
            // The server's last words on it: PostgreSQL's shutdown and crash, MySQL's shutdown and KILL, MariaDB's KILL.
            Some(sqlx::Error::Database(error)) => match error.code().as_deref() {
                // Its limit for a statement has the same code as a KILL.
                Some("70100") => !error.message().contains("max_statement_time"),
                code => matches!(code, Some("57P01" | "57P02" | "08S01")),
            },
            _ => false,
        }
    }

    /// Why the database refuses the statement, if that is what it does.
    pub fn refusal(&self) -> Option<Refusal> {
        self.by_code(refusal_of_sqlite, refusal_of_postgres, refusal_of_mysql)
    }

    /// True if a row among those of the statement is what the database rejects: a constraint, a trigger, a value that
    /// its column cannot hold, a key that cannot be compared. False for an outage, and for what no row can help: no
    /// connection, a deadlock, a limit of time, a full disk, a read-only server, no right, a table that is not there.
    pub fn is_of_a_row(&self) -> bool {
        self.by_code(is_row_of_sqlite, is_row_of_postgres, is_row_of_mysql)
    }

    /// True if the database took the statements and failed to commit them, for no row's sake; an outage is shown
    /// elsewhere.
    pub(super) fn is_failed_commit(&self) -> bool {
        matches!(self, Self::Statement { doing: COMMIT, .. })
            && !self.is_of_a_row()
            && !self.is_broken_connection()
    }

    /// True if a table or a column is not there: PostgreSQL and MySQL say so by number; SQLite says no more than
    /// «error», and the query that looks for them has no other.
    pub(super) fn is_absent(&self) -> bool {
        let code = self.reported().and_then(DatabaseError::code);
        matches!(code.as_deref(), Some("42P01" | "42703" | "3F000" | "42S02" | "42S22" | "1"))
    }

    /// What the code says by which the database answered, if it did.
    fn by_code<T: Default>(
        &self,
        sqlite: fn(i32) -> T,
        postgres: fn(&str) -> T,
        mysql: fn(&str, u16, &str) -> T,
    ) -> T {
        let Some(error) = self.reported() else { return T::default() };
        let code = error.code().unwrap_or_default();
        if let Some(error) = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
            mysql(&code, error.number(), error.message())
        } else if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
            code.parse().map_or_else(|_| T::default(), |code| sqlite(primary(code)))
        } else {
            postgres(&code)
        }
    }

    fn reported(&self) -> Option<&dyn DatabaseError> {
        self.sqlx().and_then(sqlx::Error::as_database_error)
    }

    fn sqlx(&self) -> Option<&sqlx::Error> {
        let Self::Statement { source, .. } = self else { return None };
        sqlx(source)
    }
}

/// The code by which the database answered with an error, if it did.
pub(super) fn code(error: &DbErr) -> Option<String> {
    sqlx(error)?.as_database_error()?.code().map(|code| code.into_owned())
}

fn sqlx(error: &DbErr) -> Option<&sqlx::Error> {
    let (DbErr::Exec(error) | DbErr::Query(error) | DbErr::Conn(error)) = error else { return None };
    let RuntimeErr::SqlxError(error) = error else { return None };
    Some(error.as_ref())
}

/// The driver says so in words for programmers.
pub(super) fn wants_tls(error: &DbErr) -> bool {
    error.to_string().contains("mysql-rsa")
}

/// The low byte of a code of SQLite's.
fn primary(code: i32) -> i32 {
    code & 0xff
}

fn refusal_of_sqlite(code: i32) -> Option<Refusal> {
    match code {
        8 => Some(Refusal::ReadOnly),
        13 => Some(Refusal::DiskFull),
        _ => None,
    }
}

fn refusal_of_postgres(state: &str) -> Option<Refusal> {
    match state {
        "42501" => Some(Refusal::Right),
        "25006" => Some(Refusal::ReadOnly),
        "53100" => Some(Refusal::DiskFull),
        _ => None,
    }
}

fn refusal_of_mysql(_: &str, number: u16, message: &str) -> Option<Refusal> {
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

/// Too big, a constraint (a trigger's `RAISE` too), a wrong type.
fn is_row_of_sqlite(code: i32) -> bool {
    matches!(code, 18..=20)
}

/// By the class of the SQLSTATE: a trigger or a function may say anything, so all but the server's own troubles.
fn is_row_of_postgres(state: &str) -> bool {
    const OF_THE_SERVER: [&str; 19] = [
        "00", "01", "08", "0A", "25", "26", "28", "34", "3B", "3D", "3F", "40", "42", "53", "55", "57", "58",
        "F0", "XX",
    ];
    state.get(..2).is_some_and(|class| !OF_THE_SERVER.contains(&class))
}

/// Likewise. `HY000` stands for whatever has no class of its own, on MySQL and MariaDB: of those by number.
fn is_row_of_mysql(state: &str, number: u16, _: &str) -> bool {
    const OF_THE_SERVER: [&str; 13] =
        ["00", "01", "02", "08", "0A", "25", "28", "3D", "40", "42", "70", "HY", "XA"];
    const OF_A_ROW: [u16; 12] = [
        1267, // Illegal mix of collations, of two
        1270, // of three
        1271, // of more
        1364, // no default
        1366, // a value that the column's character set cannot hold
        1442, // a trigger updates the table that fires it
        1526, // no partition for the value
        1748, // the row does not match the partition
        3819, // CHECK, on MySQL
        3854, // a text that cannot be converted to the column's character set
        3988, // the same of a parameter
        4025, // CHECK, on MariaDB
    ];
    OF_A_ROW.contains(&number) || state.get(..2).is_some_and(|class| !OF_THE_SERVER.contains(&class))
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
    #[test]
    fn what_is_refused_is_told_from_what_fails() {
        let by_number = |number| refusal_of_mysql("", number, "running with the --read-only option");
        assert_eq!([1142, 1143].map(by_number), [Some(Refusal::Right); 2]);
        assert_eq!([1290, 1792, 1836, 1036].map(by_number), [Some(Refusal::ReadOnly); 4]);
        assert_eq!(refusal_of_mysql("", 1290, "running with the --skip-grant-tables option"), None);
        assert_eq!([1021, 1114].map(by_number), [Some(Refusal::DiskFull); 2]);
        assert_eq!([1205, 1213, 1054, 1146, 1364].map(by_number), [None; 5]);
        assert_eq!([8, 264, 1032, 13].map(|code| refusal_of_sqlite(primary(code)).is_some()), [true; 4]);
        assert_eq!([5, 1, 10, 19].map(refusal_of_sqlite), [None; 4]);
        assert_eq!(["42P01", "40P01", "57014", ""].map(refusal_of_postgres), [None; 4]);
    }

    #[test]
    fn a_row_is_told_from_an_outage() {
        for of_a_row in ["23514", "23502", "22001", "22P05", "P0001", "44000", "54000", "CS001"] {
            assert!(is_row_of_postgres(of_a_row), "{of_a_row}");
        }
        for of_the_server in
            ["57P01", "25006", "42501", "42P01", "40P01", "55P03", "53100", "57014", "08006", ""]
        {
            assert!(!is_row_of_postgres(of_the_server), "{of_the_server}");
        }
        for (state, number) in [
            ("HY000", 1267),
            ("23000", 4025),
            ("HY000", 3819),
            ("22001", 1406),
            ("45000", 1644),
            ("AB001", 1644),
        ] {
            assert!(is_row_of_mysql(state, number, ""), "{state} {number}");
        }
        for (state, number) in [
            ("40001", 1213),
            ("HY000", 1205),
            ("HY000", 1290),
            ("HY000", 1836),
            ("HY000", 1021),
            ("HY000", 1114),
            ("42000", 1142),
            ("42S02", 1146),
            ("70100", 1317),
            ("70100", 1969),
            ("08S01", 1053),
            ("28000", 1045),
        ] {
            assert!(!is_row_of_mysql(state, number, ""), "{state} {number}");
        }
        assert!([19, 275, 1299, 1811, 18, 20].into_iter().map(primary).all(is_row_of_sqlite));
        assert!(![1, 5, 6, 8, 10, 13, 14, 517, 261, 7].into_iter().map(primary).any(is_row_of_sqlite));
    }
}
