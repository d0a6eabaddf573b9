//! Which row of the ledger an overview follows: that of its run; and a custom course its parent's or, where that serves
//! better, its own. Once in Rust, and once in SQL.

use sea_orm::DbBackend;
use sea_orm::sea_query::Expr;

use super::Entry;

const ID: &str = "course_overviews_courseoverview.id";

/// Whose ledger row an overview takes its URL from. Each overview follows one of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FollowedRow {
    /// That of its run; of a custom course its parent's, unless its own serves better.
    Run,
    /// Of a custom course its own, where that serves better than its parent's. The columns of `sync.also` stay.
    Own,
}

impl Entry {
    /// How well it serves a custom course that may take its URL here or elsewhere, the best first: by a URL of a run
    /// that is listed, by a last known one, by a clear. The same as [`rank`] in SQL.
    fn rank(&self) -> u8 {
        match (self.in_force(), self.cleared_at, self.listed) {
            (Some(_), _, true) => 1,
            (Some(_), _, false) => 2,
            (None, Some(_), _) => 3,
            (None, None, true) => 4,
            (None, None, false) => 5,
        }
    }

    /// The one whose URL a custom course takes, of its parent's and its own; the parent's where both serve alike.
    pub fn choose<'e>(parent: Option<&'e Self>, own: Option<&'e Self>) -> Option<&'e Self> {
        match (parent, own) {
            (Some(parent), Some(own)) if own.rank() < parent.rank() => Some(own),
            (None, own) => own,
            (parent, _) => parent,
        }
    }
}

/// Joins an overview to the row that it follows; each overview has one at the most, of both kinds together.
///
/// The other row is looked at for custom courses only, which are few.
pub(super) fn follows(backend: DbBackend, from: FollowedRow) -> Expr {
    let (own, parent) = (own_key(backend), parent_or_own_key(backend));
    Expr::cust(match from {
        FollowedRow::Run => {
            format!("course_sharing_ledger.run_key = {parent} AND NOT {}", own_serves(backend))
        }
        FollowedRow::Own => format!(
            "course_sharing_ledger.run_key = {own} AND {} AND {} AND {} AND NOT {}",
            listing_of_ccx(backend),
            by_index(backend),
            is_ccx(backend),
            parent_serves(backend),
        ),
    })
}

/// Whether a custom course follows its parent's row, `other`, where its own is joined to it.
pub(super) fn parent_serves(backend: DbBackend) -> String {
    let (parent, other, own) = (parent_or_own_key(backend), rank("other"), rank("course_sharing_ledger"));
    format!(
        "EXISTS (SELECT 1 FROM course_sharing_ledger other WHERE other.run_key = {parent} AND {other} <= {own})"
    )
}

/// Whether a custom course follows a row of its own, where its parent's is joined to it.
fn own_serves(backend: DbBackend) -> String {
    has_own(backend, &own_is_better())
}

/// Whether `other`, a custom course's own row, serves better than its parent's.
pub(super) fn own_is_better() -> String {
    let (other, parent) = (rank("other"), rank("course_sharing_ledger"));
    format!("(course_sharing_ledger.run_key IS NULL OR {other} < {parent})")
}

/// Whether the overview is a custom course's with a row of its own, `other`, of which this holds.
pub(super) fn has_own(backend: DbBackend, holds: &str) -> String {
    let (is_ccx, own) = (is_ccx(backend), own_key(backend));
    format!(
        "({is_ccx} AND EXISTS (SELECT 1 FROM course_sharing_ledger other WHERE other.run_key = {own} AND {holds}))"
    )
}

/// How well a row serves, the best first; the same as `Entry::rank`.
pub(super) fn rank(row: &str) -> String {
    format!(
        "(CASE WHEN {row}.cleared_at IS NOT NULL THEN 3 WHEN {row}.marketing_url IS NOT NULL THEN CASE WHEN \
         {row}.listed THEN 1 ELSE 2 END WHEN {row}.listed THEN 4 ELSE 5 END)"
    )
}

/// Whether a row of the ledger is a custom course's own; by a condition that its primary key answers.
fn listing_of_ccx(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Sqlite => "course_sharing_ledger.run_key GLOB 'ccx-v1:*'",
        _ => "course_sharing_ledger.run_key LIKE 'ccx-v1:%'",
    }
}

/// Whether an overview may be a custom course's, by a condition that its index answers. On MySQL the index on its id
/// does not answer the join, as the collations differ: without this each row of the one is compared with all of the other.
fn by_index(backend: DbBackend) -> &'static str {
    match backend {
        DbBackend::Sqlite => "course_overviews_courseoverview.id GLOB 'ccx-v1:*'",
        _ => "course_overviews_courseoverview.id LIKE 'ccx-v1:%'",
    }
}

/// Whether an overview is a custom course's.
pub(super) fn is_ccx(backend: DbBackend) -> String {
    match backend {
        DbBackend::MySql => format!("(BINARY LEFT({ID}, 7) = 'ccx-v1:')"),
        DbBackend::Postgres => format!("({ID} LIKE 'ccx-v1:%')"),
        _ => format!("(substr({ID}, 1, 7) = 'ccx-v1:')"),
    }
}

/// The run key of an overview: the parent's for a custom course; the same as `CourseKey::run_key`.
pub(super) fn run_of_overview(backend: DbBackend) -> Expr {
    Expr::cust(parent_or_own_key(backend))
}

fn parent_or_own_key(backend: DbBackend) -> String {
    match backend {
        // The collation is said because a join of two different ones is an error. CONVERT, as old tables are utf8mb3.
        DbBackend::MySql => format!(
            "CONVERT(CASE WHEN BINARY LEFT({ID}, 7) = 'ccx-v1:' THEN CONCAT('course-v1:', \
             SUBSTRING_INDEX(SUBSTRING({ID}, 8), '+ccx@', 1)) ELSE {ID} END USING utf8mb4) COLLATE utf8mb4_bin"
        ),
        DbBackend::Postgres => format!(
            "(CASE WHEN {ID} LIKE 'ccx-v1:%' THEN 'course-v1:' || split_part(substr({ID}, 8), '+ccx@', 1) ELSE {ID} END)"
        ),
        _ => format!(
            "(CASE WHEN substr({ID}, 1, 7) = 'ccx-v1:' THEN 'course-v1:' || substr({ID}, 8, instr({ID}, '+ccx@') - 8) \
             ELSE {ID} END)"
        ),
    }
}

/// The overview's id as the ledger compares it.
pub(super) fn own_key(backend: DbBackend) -> String {
    match backend {
        DbBackend::MySql => format!("CONVERT({ID} USING utf8mb4) COLLATE utf8mb4_bin"),
        _ => ID.to_owned(),
    }
}
