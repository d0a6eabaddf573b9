//! Why an overview has no link: the one expression of SQL that finds the word.

use std::time::Duration;

use chrono::{DateTime, Utc};
pub use entity::blank::Reason;
use entity::{blank, dead_letter, ledger};
use sea_orm::DbBackend;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Func, Query};

use super::blanks::id_of_overview;
use super::choice::{is_ccx, own_is_better, own_key};

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
/// [`crate::model::course_key`]. A key of that form with a strange character counts as one that got no answer.
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
