//! Whether the database rejects a row, or cannot do its work at all: the one is to blame on the row, the other is an
//! outage, which waiting ends.

use sea_orm::{DbErr, RuntimeErr};
use sqlx::error::DatabaseError;

use super::StoreError;
use crate::model::course_key::CourseKey;

/// A course whose row the database rejects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The course.
    pub course: CourseKey,
    /// What the database says.
    pub why: String,
}

impl StoreError {
    /// True if a row among those of the statement is what the database rejects: a constraint, a trigger, a value that
    /// its column cannot hold, a key that cannot be compared. False for an outage, and for what no row can help: no
    /// connection, a deadlock, a limit of time, a full disk, a read-only server, no right, a table that is not there.
    pub fn is_of_a_row(&self) -> bool {
        let Self::Statement { source: DbErr::Exec(e) | DbErr::Query(e), .. } = self else { return false };
        let RuntimeErr::SqlxError(e) = e else { return false };
        e.as_database_error().is_some_and(is_of_a_row)
    }
}

fn is_of_a_row(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
        return code.parse().is_ok_and(sqlite);
    }
    match error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        Some(error) => mysql(&code, error.number()),
        None => postgres(&code),
    }
}

/// By the primary code, the low byte: too big, a constraint (a trigger's `RAISE` too), a wrong type.
fn sqlite(code: i32) -> bool {
    matches!(code & 0xff, 18..=20)
}

/// By the class of the SQLSTATE: a trigger or a function may say anything, so all but the server's own troubles.
fn postgres(state: &str) -> bool {
    const OF_THE_SERVER: [&str; 19] = [
        "00", "01", "08", "0A", "25", "26", "28", "34", "3B", "3D", "3F", "40", "42", "53", "55", "57", "58",
        "F0", "XX",
    ];
    state.get(..2).is_some_and(|class| !OF_THE_SERVER.contains(&class))
}

/// Likewise. `HY000` stands for whatever has no class of its own, on MySQL and MariaDB: of those by number.
fn mysql(state: &str, number: u16) -> bool {
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
    fn a_row_is_told_from_an_outage() {
        for of_a_row in ["23514", "23502", "22001", "22P05", "P0001", "44000", "54000", "CS001"] {
            assert!(postgres(of_a_row), "{of_a_row}");
        }
        for of_the_server in
            ["57P01", "25006", "42501", "42P01", "40P01", "55P03", "53100", "57014", "08006", ""]
        {
            assert!(!postgres(of_the_server), "{of_the_server}");
        }
        for (state, number) in [
            ("HY000", 1267),
            ("23000", 4025),
            ("HY000", 3819),
            ("22001", 1406),
            ("45000", 1644),
            ("AB001", 1644),
        ] {
            assert!(mysql(state, number), "{state} {number}");
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
            assert!(!mysql(state, number), "{state} {number}");
        }
        assert!([19, 275, 1299, 1811, 18, 20].into_iter().all(sqlite));
        assert!(![1, 5, 6, 8, 10, 13, 14, 517, 261, 7].into_iter().any(sqlite));
    }
}
