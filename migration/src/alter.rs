//! How MySQL and MariaDB add a column to a table that an LMS is using: at once where they can, and what it costs
//! where they cannot. Pure: facts in, clause and words out.

/// Bytes that a server writes a second when it builds a table anew; disks of databases do more, most of the time.
const BYTES_A_SECOND: u64 = 20_000_000;

/// What the server says of itself and of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// As `VERSION()` gives it.
    pub(crate) version: String,
    /// As in `information_schema.TABLES`.
    pub(crate) engine: String,
    /// The same.
    pub(crate) row_format: String,
    /// An estimate of the server's.
    pub(crate) rows: u64,
    /// Data and indexes.
    pub(crate) bytes: u64,
    /// Whether the table has an index of that kind.
    pub(crate) fulltext: bool,
    /// MariaDB's `innodb_instant_alter_column_allowed` is `never`.
    pub(crate) instant_forbidden: bool,
}

/// The end of the ALTER, by which the server refuses rather than do something slower than was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Only the catalogue changes.
    Instant,
    /// The table is built anew, while the LMS reads and writes it.
    Rebuild,
    /// The same, and writes wait until it is done.
    RebuildWithoutWrites,
    /// The table is copied, and writes wait until it is done.
    Copy,
}

impl How {
    /// The clause.
    pub(crate) fn clause(self) -> &'static str {
        match self {
            Self::Instant => ", ALGORITHM=INSTANT",
            Self::Rebuild => ", ALGORITHM=INPLACE, LOCK=NONE",
            Self::RebuildWithoutWrites => ", ALGORITHM=INPLACE, LOCK=SHARED",
            Self::Copy => ", ALGORITHM=COPY",
        }
    }
}

/// The quickest way that this server has for this table, and why there is no quicker one.
pub(crate) fn how(facts: &Facts) -> (How, Option<String>) {
    let (mariadb, version) = server(&facts.version);
    let since = if mariadb { (10, 3, 2) } else { (8, 0, 12) };
    let slow = |how, why: &str| (how, Some(why.to_owned()));
    if !facts.engine.eq_ignore_ascii_case("innodb") {
        return slow(How::Copy, &format!("its engine is {}, not InnoDB", facts.engine));
    }
    if facts.fulltext {
        return slow(How::RebuildWithoutWrites, "it has a FULLTEXT index");
    }
    if version < since {
        let (major, minor, patch) = since;
        let name = if mariadb { "MariaDB" } else { "MySQL" };
        return slow(How::Rebuild, &format!("that takes {name} {major}.{minor}.{patch} or later"));
    }
    if facts.row_format.eq_ignore_ascii_case("compressed") {
        return slow(How::Rebuild, "its row format is COMPRESSED");
    }
    if facts.instant_forbidden {
        return slow(How::Rebuild, "innodb_instant_alter_column_allowed is never");
    }
    (How::Instant, None)
}

/// What it locks, and for how long; a line each.
pub(crate) fn words(facts: &Facts, how: How, why: Option<&str>) -> Vec<String> {
    let version = &facts.version;
    let Some(why) = why else {
        return vec![format!(
            "{version} changes its catalogue only (INSTANT): some milliseconds, whatever the table's size."
        )];
    };
    let seconds = facts.bytes / BYTES_A_SECOND + 1;
    let megabytes = facts.bytes.div_ceil(1_000_000);
    let meanwhile = match how {
        How::Instant | How::Rebuild => "the LMS reads and writes it meanwhile",
        How::RebuildWithoutWrites | How::Copy => {
            "the LMS reads it meanwhile, and its writes WAIT until the end"
        }
    };
    vec![
        format!("{version} cannot add the column to this table at once: {why}."),
        format!(
            "It builds the table anew: about {} rows, {megabytes} MB, so some {seconds} s on a slow disk; {meanwhile}.",
            facts.rows
        ),
    ]
}

/// Whether it is MariaDB, and which version; as in `10.11.19-MariaDB-0+deb12u1`, `8.0.36-28`, `5.5.5-10.4.1-MariaDB`.
fn server(version: &str) -> (bool, (u32, u32, u32)) {
    let mariadb = version.to_ascii_lowercase().contains("mariadb");
    // So MariaDB once called itself, lest old replicas refuse it.
    let version = if mariadb { version.strip_prefix("5.5.5-").unwrap_or(version) } else { version };
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (mariadb, (next(), next(), next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(version: &str) -> Facts {
        Facts {
            version: version.to_owned(),
            engine: "InnoDB".to_owned(),
            row_format: "Dynamic".to_owned(),
            rows: 14_000,
            bytes: 210_000_000,
            ..Facts::default()
        }
    }

    #[test]
    fn a_column_comes_at_once_from_the_versions_on_that_can() {
        for (version, expected) in [
            ("8.0.12", How::Instant),
            ("8.0.36-28", How::Instant),
            ("8.4.0", How::Instant),
            ("9.1.0-log", How::Instant),
            ("8.0.11", How::Rebuild),
            ("5.7.44-log", How::Rebuild),
            ("5.6.51", How::Rebuild),
            ("10.11.19-MariaDB-0+deb12u1", How::Instant),
            ("11.4.2-MariaDB", How::Instant),
            ("10.3.2-MariaDB", How::Instant),
            ("5.5.5-10.4.1-MariaDB", How::Instant),
            ("10.2.44-MariaDB", How::Rebuild),
            ("5.5.5-10.1.48-MariaDB", How::Rebuild),
            ("nonsense", How::Rebuild),
        ] {
            assert_eq!(how(&facts(version)).0, expected, "{version}");
        }
    }

    #[test]
    fn what_prevents_it_is_named_and_what_it_costs_is_told() {
        let new = facts("10.11.19-MariaDB");
        for (facts, expected, words_) in [
            (Facts { row_format: "Compressed".into(), ..new.clone() }, How::Rebuild, "COMPRESSED"),
            (Facts { instant_forbidden: true, ..new.clone() }, How::Rebuild, "never"),
            (Facts { fulltext: true, ..new.clone() }, How::RebuildWithoutWrites, "FULLTEXT"),
            (Facts { engine: "MyISAM".into(), ..new.clone() }, How::Copy, "MyISAM"),
        ] {
            let (how, why) = how(&facts);
            assert_eq!(how, expected, "{facts:?}");
            let told = words(&facts, how, why.as_deref()).join("\n");
            for word in [words_, "14000 rows", "210 MB", "11 s"] {
                assert!(told.contains(word), "no {word} in {told}");
            }
            assert_eq!(told.contains("WAIT"), expected != How::Rebuild, "{told}");
        }
        for row_format in ["Compact", "Redundant", "Dynamic"] {
            // As tables of 2016 are.
            assert_eq!(how(&Facts { row_format: row_format.into(), ..new.clone() }).0, How::Instant);
        }
    }
}
