//! Why an overview has no link: the words, and the one expression of SQL that finds the word.

use std::time::Duration;

use chrono::{DateTime, Utc};
use entity::{blank, dead_letter, ledger};
use sea_orm::DbBackend;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Func, Query};

use super::blanks::id_of_overview;
use super::choice::{is_ccx, own_is_better, own_key};

/// Why an overview has no link. Each blank one has exactly one reason, by the first of these that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Its id is the key of no course run: it can have no page.
    NoRun,
    /// As [`Self::Restorable`], and the Catalog has said once that the page is gone.
    PendingClear,
    /// The ledger has a URL for it, which the next heal brings.
    Restorable,
    /// A dead letter is about it, and the Catalog has not been asked since.
    DeadLettered,
    /// The Catalog has never said anything of it that could be used: not asked yet, or out.
    NoAnswer,
    /// The Catalog lists it with a URL that must not be shared.
    Refused,
    /// The Catalog lists it, explicitly without a page.
    NoPage,
    /// The Catalog does not list it, and an event about it may still be waiting for that.
    NotListedYet,
    /// The Catalog does not list it, and no event waits for it any more.
    NotInCatalog,
}

impl Reason {
    /// All of them, in the order of their deciding.
    pub const ALL: [Self; 9] = [
        Self::NoRun,
        Self::PendingClear,
        Self::Restorable,
        Self::DeadLettered,
        Self::NoAnswer,
        Self::Refused,
        Self::NoPage,
        Self::NotListedYet,
        Self::NotInCatalog,
    ];

    /// The word in the table, in metrics and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoRun => "no_run",
            Self::PendingClear => "pending_clear",
            Self::Restorable => "restorable",
            Self::DeadLettered => "dead_lettered",
            Self::NoAnswer => "no_answer",
            Self::Refused => "refused",
            Self::NoPage => "no_page",
            Self::NotListedYet => "not_listed_yet",
            Self::NotInCatalog => "not_in_catalog",
        }
    }

    /// True where it is right that there is no link: there is no page that it could lead to.
    pub fn is_right(self) -> bool {
        matches!(self, Self::NoRun | Self::NoPage)
    }

    /// For people: what it means, and what comes of it.
    pub fn explained(self) -> &'static str {
        match self {
            Self::NoRun => "the id is no course run's; there is no page to link to",
            Self::PendingClear => {
                "heal brings the last known URL back; the Catalog has said once that the page is gone"
            }
            Self::Restorable => "heal brings the last known URL back",
            Self::DeadLettered => "a message about it is a dead letter, and the Catalog was not asked since",
            Self::NoAnswer => "the Catalog has not been asked, or gave no answer that can be used",
            Self::Refused => "the Catalog lists a URL that must not be shared; it has to be mended there",
            Self::NoPage => "the Catalog lists the run without a page",
            Self::NotListedYet => "the Catalog does not list the run yet; it is asked again",
            Self::NotInCatalog => "the Catalog does not list the run",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}

/// The reason of an overview that is blank, in SQL, where its rows of ledger and blanks are joined to it or NULL.
/// `waiting` is for how long events wait for a run that is not listed.
pub(super) fn of_overview(backend: DbBackend, now: DateTime<Utc>, waiting: Duration) -> Expr {
    let of_run = of_row(backend, "course_sharing_ledger", now, waiting);
    // A custom course that follows a row of its own, `other`, has its reason from there.
    let own = Query::select()
        .expr(of_row(backend, "other", now, waiting))
        .from_as(ledger::Entity, "other")
        .and_where(Expr::cust(format!("other.run_key = {}", own_key(backend))))
        .and_where(Expr::cust(own_is_better()))
        .to_owned();
    let own = Expr::SubQuery(None, Box::new(own.into()));
    let of_own = Expr::case(Expr::cust(is_ccx(backend)), own).finally(Expr::cust("NULL"));
    Func::coalesce([of_own.into(), of_run]).into()
}

/// The same by the row of the ledger that is read under this name.
fn of_row(backend: DbBackend, row: &'static str, now: DateTime<Utc>, waiting: Duration) -> Expr {
    use ledger::Column as L;
    let ledger = |column: L| Expr::col((Alias::new(row), column));
    let blank = |column: blank::Column| Expr::col((blank::Entity, column));
    let in_force = || ledger(L::MarketingUrl).is_not_null().and(ledger(L::ClearedAt).is_null());
    let not_asked_since = ledger(L::ObservedAt).is_null().or(ledger(L::ObservedAt).lt(dead_since(backend)));
    let dead = dead_since(backend).is_not_null().and(not_asked_since);
    let waits = blank(blank::Column::Since).is_null().or(blank(blank::Column::Since).gt(now - waiting));
    let word = |reason: Reason| Expr::cust(format!("'{}'", reason.as_str()));
    Expr::case(Expr::cust(format!("NOT {}", is_run(backend))), word(Reason::NoRun))
        .case(in_force().and(ledger(L::PendingClearSince).is_not_null()), word(Reason::PendingClear))
        .case(in_force(), word(Reason::Restorable))
        .case(dead, word(Reason::DeadLettered))
        .case(ledger(L::RunKey).is_null(), word(Reason::NoAnswer))
        .case(ledger(L::RefusedSince).is_not_null(), word(Reason::Refused))
        .case(ledger(L::Listed).eq(true), word(Reason::NoPage))
        .case(ledger(L::ClearedAt).is_null().and(waits), word(Reason::NotListedYet))
        .finally(word(Reason::NotInCatalog))
        .into()
}

/// When the newest dead letter about an overview, or naming it, was first seen.
fn dead_since(backend: DbBackend) -> Expr {
    let newest = Query::select()
        .expr(Expr::col((dead_letter::Entity, dead_letter::Column::FirstSeen)).max())
        .from(dead_letter::Entity)
        .and_where(
            Expr::col((dead_letter::Entity, dead_letter::Column::CourseId)).eq(id_of_overview(backend)),
        )
        .to_owned();
    Expr::SubQuery(None, Box::new(newest.into()))
}

/// Whether an overview's id looks like a course run's: its form alone, as no SQL knows the alphabet of
/// [`crate::course_key`]. A key of that form with a strange character counts as one that got no answer.
fn is_run(backend: DbBackend) -> String {
    let id = "course_overviews_courseoverview.id";
    // Byte for byte: LIKE goes by the column's collation on MySQL, and ignores case on SQLite.
    let (id, like, any) = match backend {
        DbBackend::MySql => (format!("BINARY {id}"), "LIKE", '%'),
        DbBackend::Postgres => (id.to_owned(), "LIKE", '%'),
        _ => (id.to_owned(), "GLOB", '*'),
    };
    let is = |form: &str| format!("{id} {like} '{}'", form.replace('?', &any.to_string()));
    format!(
        "({} OR {} OR ({} AND NOT {}))",
        is("course-v1:?+?+?"),
        is("ccx-v1:?+?+?+ccx@?"),
        is("?/?/?"),
        is("?/?/?/?"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_reason_has_a_word_and_an_explanation_of_its_own() {
        let words: HashSet<&str> = Reason::ALL.into_iter().map(Reason::as_str).collect();
        let explained: HashSet<&str> = Reason::ALL.into_iter().map(Reason::explained).collect();
        assert_eq!((words.len(), explained.len()), (9, 9));
        for reason in Reason::ALL {
            assert_eq!(Reason::from_word(reason.as_str()), Some(reason));
            assert!(reason.as_str().len() <= 16, "the column's length");
        }
        assert_eq!(Reason::from_word("another"), None);
    }
}
