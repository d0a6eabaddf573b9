//! How MySQL and MariaDB add a column to a table that an LMS is using. Nobody can know beforehand what a server will
//! do: that depends on its version, the row format, the indexes and how often columns were added before. So it is
//! asked for the cheapest way first, with the clause by which it refuses rather than do something slower.

use sea_orm_migration::sea_orm::{DbErr, RuntimeErr};

/// Bytes that a server writes a second when it builds a table again; disks of databases do more, most of the time.
const BYTES_A_SECOND: u64 = 20_000_000;

/// What the server says of the table: estimates of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) rows: u64,
    /// Data and indexes.
    pub(crate) bytes: u64,
}

/// The ways, the cheapest first: the clause, and what it costs.
pub(crate) const WAYS: [(&str, &str); 4] = [
    ("ALGORITHM=INSTANT", "only the catalogue changes: some milliseconds, whatever the table's size"),
    ("ALGORITHM=INPLACE, LOCK=NONE", "the table is built again, and the LMS reads and writes it meanwhile"),
    ("ALGORITHM=INPLACE, LOCK=SHARED", "the same, and the LMS's writes WAIT until the end"),
    ("ALGORITHM=COPY", "the table is copied, and the LMS's writes WAIT until the end"),
];

/// What is going to be tried, and what it costs; a line each.
pub(crate) fn words(size: Size) -> Vec<String> {
    let (rows, megabytes) = (size.rows, size.bytes.div_ceil(1_000_000));
    let seconds = size.bytes / BYTES_A_SECOND + 1;
    let mut lines = vec![
        "The server is asked for these ways, in this order, and takes the first that it can go:".to_owned(),
    ];
    lines.extend(WAYS.iter().map(|(clause, cost)| format!("  {clause}: {cost}.")));
    lines.push(format!(
        "The table has about {rows} rows and {megabytes} MB, so all but the first take some {seconds} s on a slow disk."
    ));
    lines
}

/// Whether the server refuses this way, so that the next one may be tried; nothing has changed then.
pub(crate) fn is_refused(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) = error
    else {
        return false;
    };
    let Some(error) = error.as_database_error() else { return false };
    is_refusal(error.code().as_deref().unwrap_or_default(), error.message())
}

/// By the SQLSTATE «feature not supported»; by MySQL's 4092, which has none of its own; and a server that does not know
/// the word at all (1064, 1800).
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
    fn the_ways_and_what_they_cost_are_said_beforehand() {
        let text = words(Size { rows: 14_000, bytes: 210_000_000 }).join("\n");
        for word in ["INSTANT", "LOCK=NONE", "LOCK=SHARED", "COPY", "WAIT", "14000 rows", "210 MB", "11 s"] {
            assert!(text.contains(word), "no {word} in {text}");
        }
    }

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
