//! Which overviews are blank, since when and why: kept in a table of our own, so that a reader need not go
//! through the LMS's.
//!
//! Keeping it is two statements that read the overviews, by whichever worker does the scheduled jobs; nothing is
//! written while nothing changes. It locks none of the LMS's rows.

use std::time::Duration;

use chrono::{DateTime, Utc};
use entity::blank::{Column, Entity};
pub use entity::blank::{Model as Blank, Reason};
use entity::{dead_letter, ledger, overview};
use sea_orm::sea_query::{
    Alias, Condition, Expr, ExprTrait, Func, InsertStatement, OnConflict, Query, SelectStatement,
};
use sea_orm::{
    ColumnTrait, DbBackend, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
};

use super::choice::{is_ccx, own_is_better, own_key, run_of_overview};
use super::timeout::Limit::{Batch, Table};
use super::{MAX_ROWS, Store, StoreError};

/// Rows noted, or forgotten, in one go, at most; the rest has its turn a round later.
const ROUND: u64 = 100_000;

/// The blank overviews of one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct BlankCount {
    /// Why they are blank.
    pub reason: Reason,
    /// How many they are; at least one.
    pub overviews: i64,
    /// Since when the oldest is blank.
    pub oldest: DateTime<Utc>,
}

/// Which blank overviews are meant: those to which all of this applies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlankFilter {
    /// Blank for this reason.
    pub reason: Option<Reason>,
    /// With this text in the id, in capitals or not.
    pub part: Option<String>,
}

impl BlankFilter {
    fn condition(&self, backend: DbBackend) -> Condition {
        let part = self.part.as_deref().map(|part| has_part(backend, "course_id", part));
        Condition::all().add_option(self.reason.map(|reason| Column::Reason.eq(reason))).add_option(part)
    }
}

/// Whether a column has this text in it, in capitals or not.
pub(super) fn has_part(backend: DbBackend, column: &str, part: &str) -> Expr {
    let sql = match backend {
        DbBackend::Postgres => format!("strpos(LOWER({column}), LOWER($1)) > 0"),
        _ => format!("INSTR(LOWER({column}), LOWER(?)) > 0"),
    };
    Expr::cust_with_values(sql, [part])
}

impl Store {
    /// How many blank overviews there are of these; as last noted.
    pub async fn count_blanks(&self, filter: &BlankFilter) -> Result<u64, StoreError> {
        let counted = Entity::find().select_only().filter(filter.condition(self.backend()));
        self.db.count("count blank overviews", Batch, counted.into_query()).await
    }

    /// The first `limit` of these after the one that became blank `after` that time and has that id, the oldest first; a
    /// page of a list.
    pub async fn blanks(
        &self,
        filter: &BlankFilter,
        after: Option<(DateTime<Utc>, &str)>,
        limit: u64,
    ) -> Result<Vec<Blank>, StoreError> {
        let after = after.map(|(since, id)| {
            let same = Condition::all().add(Column::Since.eq(since)).add(Column::CourseId.gt(id));
            Condition::any().add(Column::Since.gt(since)).add(same)
        });
        let page = Entity::find()
            .filter(filter.condition(self.backend()).add_option(after))
            .order_by_asc(Column::Since)
            .order_by_asc(Column::CourseId)
            .limit(limit);
        self.db.all("read blank overviews", Batch, &page.into_query()).await
    }

    /// Notes which overviews have become blank or are so for another reason now, and forgets those that are linked
    /// again or gone. Events wait for `waiting` until their run is listed. Returns how many rows that wrote.
    pub async fn note_blanks(&self, waiting: Duration) -> Result<u64, StoreError> {
        let (now, backend) = (self.now().await?, self.backend());
        let note = note(backend, now, waiting);
        let noted = self.db.execute("note blank overviews", Table, &note).await?;
        let forgotten = self.gone().await?;
        for ids in forgotten.chunks(MAX_ROWS) {
            let forget = Entity::delete_many().filter(Column::CourseId.is_in(ids));
            self.db.execute("forget linked overviews", Batch, &forget.into_query()).await?;
        }
        Ok(noted + forgotten.len() as u64)
    }

    /// The noted overviews that are blank no longer, sorted.
    async fn gone(&self) -> Result<Vec<String>, StoreError> {
        let doing = "find overviews that are linked again";
        let mut ids = self.db.values(doing, Table, &gone(self.backend())).await?;
        ids.sort_unstable();
        Ok(ids)
    }

    /// How many overviews are blank by each reason, where there are any, in the order of [`Reason`]; as last
    /// noted.
    pub async fn blank_counts(&self) -> Result<Vec<BlankCount>, StoreError> {
        let counted = Entity::find()
            .select_only()
            .column(Column::Reason)
            .expr_as(Expr::cust("COUNT(*)"), "overviews")
            .expr_as(Expr::col(Column::Since).min(), "oldest")
            .group_by(Column::Reason)
            .into_query();
        let mut counts: Vec<BlankCount> = self.db.all("count blank overviews", Batch, &counted).await?;
        counts.sort_unstable_by_key(|count| count.reason);
        Ok(counts)
    }

    /// The `limit` overviews that have been blank for the longest by one of these reasons, the oldest first. A short
    /// statement a reason, by an index; as last noted.
    pub async fn oldest_blanks(&self, reasons: &[Reason], limit: u64) -> Result<Vec<Blank>, StoreError> {
        let mut oldest = Vec::new();
        for reason in reasons {
            let of_reason =
                Entity::find().filter(Column::Reason.eq(*reason)).order_by_asc(Column::Since).limit(limit);
            oldest
                .extend(self.db.all::<Blank>("read blank overviews", Batch, &of_reason.into_query()).await?);
        }
        oldest.sort_by(|a, b| (a.since, &a.course_id).cmp(&(b.since, &b.course_id)));
        oldest.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(oldest)
    }

    /// Since when and why the overview of this id is blank, as last noted; none if it is not.
    pub async fn blank(&self, course_id: &str) -> Result<Option<Blank>, StoreError> {
        let find = Entity::find_by_id(course_id).into_query();
        self.db.one("read a blank overview", Batch, &find).await
    }
}

/// The rows of overviews that are blank and not noted so, or noted with another reason; the time when it was first
/// noted stays.
fn note(backend: DbBackend, now: DateTime<Utc>, waiting: Duration) -> InsertStatement {
    let reason = reason_of_overview(backend, now, waiting);
    let noted = |column: Column| Expr::col((Entity, column));
    let mut found = Query::select();
    found
        .column((overview::Entity, overview::Column::Id))
        .expr(Expr::val(now))
        .expr(reason.clone())
        .from(overview::Entity)
        .left_join(
            ledger::Entity,
            Expr::col((ledger::Entity, ledger::Column::RunKey)).eq(run_of_overview(backend)),
        )
        .left_join(Entity, noted(Column::CourseId).eq(Expr::cust(own_key(backend))))
        .and_where(is_blank())
        .and_where(noted(Column::CourseId).is_null().or(noted(Column::Reason).ne(reason)))
        .limit(ROUND);
    let mut insert = Query::insert();
    insert
        .into_table(Entity)
        .columns([Column::CourseId, Column::Since, Column::Reason])
        .on_conflict(OnConflict::column(Column::CourseId).update_column(Column::Reason).to_owned());
    // As many columns as values, as written here.
    insert.select_from(found).map(|insert| insert.to_owned()).unwrap_or_default()
}

/// The ids that are noted and of which no overview is blank.
fn gone(backend: DbBackend) -> SelectStatement {
    let mut blank = Query::select();
    blank.from(overview::Entity).and_where(is_blank());
    let mut gone = Query::select();
    gone.column((Entity, Column::CourseId)).from(Entity).limit(ROUND);
    let noted = Expr::col((Entity, Column::CourseId));
    if backend == DbBackend::MySql {
        // The overviews' own collation is not known, so that their index is of no use here: they are read once.
        blank.expr(Expr::cust(own_key(backend)));
        gone.and_where(noted.not_in_subquery(blank));
    } else {
        blank.expr(Expr::cust("1")).and_where(Expr::cust(own_key(backend)).eq(noted));
        gone.and_where(Expr::exists(blank).not());
    }
    gone
}

fn is_blank() -> Expr {
    Expr::cust("COALESCE(course_overviews_courseoverview.marketing_url, '') = ''")
}

/// The reason of an overview that is blank, in SQL, where its rows of ledger and blanks are joined to it or NULL.
/// `waiting` is for how long events wait for a run that is not listed.
fn reason_of_overview(backend: DbBackend, now: DateTime<Utc>, waiting: Duration) -> Expr {
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
    let blank = |column: Column| Expr::col((Entity, column));
    let in_force = || ledger(L::MarketingUrl).is_not_null().and(ledger(L::ClearedAt).is_null());
    let not_asked_since = ledger(L::ObservedAt).is_null().or(ledger(L::ObservedAt).lt(dead_since(backend)));
    let dead = dead_since(backend).is_not_null().and(not_asked_since);
    let waits = blank(Column::Since).is_null().or(blank(Column::Since).gt(now - waiting));
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
            Expr::col((dead_letter::Entity, dead_letter::Column::CourseId)).eq(Expr::cust(own_key(backend))),
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
