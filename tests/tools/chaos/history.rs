//! What happened, as the harness and the database saw it: the only evidence that the checker looks at.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds since 1970 on this machine's clock, which the harness and its local databases share.
pub(crate) type Micros = u64;

/// Where all good URLs are; a run's number and a version make each one unique.
pub(crate) const HOST: &str = "www.campus.example";

/// The time now.
pub(crate) fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The key of a run.
pub(crate) fn key(run: usize) -> String {
    format!("course-v1:ChaosX+C{run}+2026")
}

/// The run of a key of ours.
pub(crate) fn run_of(key: &str) -> Option<usize> {
    key.strip_prefix("course-v1:ChaosX+C")?.strip_suffix("+2026")?.parse().ok()
}

/// A run's URL in a version.
pub(crate) fn url(run: usize, version: u32) -> String {
    format!("https://{HOST}/course/r{run}-v{version}")
}

/// What the column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    /// There is no such overview.
    Absent,
    /// NULL, or the empty text that readers take for it.
    Blank,
    /// The run's own URL in this version.
    Version(u32),
    /// Anything else.
    Foreign(String),
}

impl Cell {
    /// Reads the column of a run's row.
    pub(crate) fn read(run: usize, column: Option<&str>) -> Self {
        let Some(text) = column.filter(|text| !text.is_empty()) else { return Self::Blank };
        let version = text.strip_prefix(&format!("https://{HOST}/course/r{run}-v")).map(str::parse);
        match version {
            Some(Ok(version)) => Self::Version(version),
            _ => Self::Foreign(text.to_owned()),
        }
    }

    /// The version, if it is one.
    pub(crate) fn version(&self) -> Option<u32> {
        if let Self::Version(version) = self { Some(*version) } else { None }
    }
}

/// Who changed a row: told by the user of its database session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hand {
    /// The program that is judged.
    Worker,
    /// The LMS, played by us.
    Lms,
}

/// One change of one row, as the database's own trigger noted it down, in the order of commits for each row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    /// When, on the database's clock.
    pub(crate) at: Micros,
    /// Who.
    pub(crate) by: Hand,
    /// Which run's row.
    pub(crate) run: usize,
    /// What it was before.
    pub(crate) old: Cell,
    /// What it was after.
    pub(crate) new: Cell,
}

/// A good event that the broker has confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Ours, in a header that stays with it.
    pub(crate) id: u64,
    /// Whose.
    pub(crate) run: usize,
    /// The Catalog's version when it was sent.
    pub(crate) version: u32,
    /// When it was first sent.
    pub(crate) sent_at: Micros,
    /// Whether the LMS had wiped the row just before.
    pub(crate) wiped: bool,
}

/// A message that can never be understood, which the broker has confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Poison {
    /// Ours.
    pub(crate) id: u64,
    /// What is wrong with it.
    pub(crate) kind: &'static str,
}

/// A message found in a queue at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Ours; none if somebody else's, or the header was lost.
    pub(crate) id: Option<u64>,
    /// Why it is there, as the worker says.
    pub(crate) reason: Option<String>,
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Good events, in the order of their confirmation.
    pub(crate) events: Vec<Event>,
    /// Bad ones.
    pub(crate) poison: Vec<Poison>,
    /// All changes of all rows.
    pub(crate) writes: Vec<Write>,
    /// The Catalog's last version of each run.
    pub(crate) catalog: Vec<u32>,
    /// The column of each run at the end.
    pub(crate) columns: Vec<Cell>,
    /// What is in the events queue and the delay queues at the end.
    pub(crate) waiting: Vec<Found>,
    /// The dead letters at the end, in the table and in the queue.
    pub(crate) dead: Vec<Found>,
    /// When it ended.
    pub(crate) ended_at: Micros,
}
