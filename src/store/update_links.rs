//! The one statement that writes overviews: it copies the ledger's URL to those that differ from it, and where
//! `sync.also` asks for more columns, those with it.

use sea_orm::DbBackend;
use sea_orm::sea_query::{
    Alias, Condition, Expr, ExprTrait, IntoIden, LockType, Order, Query, ReturningClause, SelectStatement,
    TableRef, UpdateStatement,
};

use chrono::{DateTime, Utc};
use entity::{ledger, overview};

use super::Store;
use super::choice::{From, follows, is_ccx};
use super::custom_courses::{Of, of_custom_courses};
use super::keys::{self, one_of};
use crate::model::course_key::{CourseKey, RunKey};
use crate::model::extra_columns::AlsoColumn;

/// Which overviews a statement is about. An update is about some courses; the others are only read.
#[derive(Clone, Copy)]
pub(super) enum Scope<'a> {
    /// Those of these courses.
    Courses(&'a [CourseKey], Of),
    /// Those whose ledger row changed since then.
    ChangedSince(DateTime<Utc>),
    /// All.
    All,
}

/// Whether a clear is copied too. Only what has just been observed may blank a link: healing never does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Clears {
    Copy,
    Leave,
}

/// One copy.
#[derive(Clone, Copy)]
pub(super) struct Copying<'a> {
    pub(super) backend: DbBackend,
    from: From,
    scope: Scope<'a>,
    clears: Clears,
    /// The columns of `sync.also` that are copied too. Without any, no column but the URL's is so much as named.
    also: &'a [AlsoColumn],
}

impl Store {
    pub(super) fn copying<'a>(&'a self, from: From, scope: Scope<'a>, clears: Clears) -> Copying<'a> {
        let also = if from == From::Own { &[][..] } else { &self.also };
        Copying { backend: self.backend(), from, scope, clears, also }
    }
}

impl Copying<'_> {
    /// The update, for one database.
    pub(super) fn update(self) -> UpdateStatement {
        let Self { backend, from, clears, also, .. } = self;
        let mut update = Query::update();
        update.table(overview::Entity);
        if backend == DbBackend::Postgres {
            update.from(self.locked_ledger()).cond_where(col_o("id").eq(col_l(OVERVIEW_ID)));
        } else {
            update.from(ledger::Entity).cond_where(follows(backend, from)).cond_where(self.in_scope());
        }
        // A row may be here for one column only: the others keep what they have.
        let url = Expr::case(is_due(backend, clears), in_force()).finally(col_o("marketing_url"));
        update.cond_where(is_due_any(backend, clears, also)).value(overview::Column::MarketingUrl, url);
        for column in also {
            let (new, old) = (col_l(column.name()), col_o(column.name()));
            let differs = also_differs(backend, *column);
            update.value(Alias::new(column.name()), Expr::case(differs, new).finally(old));
        }
        update
    }

    /// The ids of the overviews that the update would write.
    pub(super) fn due(self) -> SelectStatement {
        Query::select()
            .column((overview::Entity, overview::Column::Id))
            .from(overview::Entity)
            .from(ledger::Entity)
            .cond_where(follows(self.backend, self.from))
            .cond_where(is_due_any(self.backend, self.clears, self.also))
            .cond_where(self.in_scope())
            .take()
    }

    /// The links that the update would change: `course_id`, `old_url` and `new_url`.
    pub(super) fn due_links(self) -> SelectStatement {
        let mut due = Copying { also: &[], ..self }.due();
        due.clear_selects()
            .expr_as(col_o("id"), "course_id")
            .expr_as(col_o("marketing_url"), OLD_URL)
            .expr_as(in_force(), "new_url")
            .take()
    }

    /// What the update says of each row on PostgreSQL: the same.
    pub(super) fn written() -> ReturningClause {
        Query::returning().exprs([col_o("id"), col_l(OLD_URL), col_o("marketing_url")])
    }

    /// The ledger's rows that differ from an overview, locked. Without the lock an update that waits for another's
    /// commit goes on with the overview as it is then and the ledger as it was before: an older URL over a newer one.
    /// MySQL and SQLite read what they join as it is now.
    fn locked_ledger(self) -> TableRef {
        let also = self.also.iter().map(|column| also_differs(self.backend, *column));
        let mut select = Query::select();
        select
            .column((ledger::Entity, sea_orm::sea_query::Asterisk))
            .expr_as(col_o("id"), Alias::new(OVERVIEW_ID))
            .expr_as(col_o("marketing_url"), Alias::new(OLD_URL))
            .from(ledger::Entity)
            .from(overview::Entity)
            .cond_where(follows(self.backend, self.from))
            .cond_where(also.fold(Condition::any().add(differs(self.backend)), Condition::add))
            .cond_where(self.in_scope())
            .order_by((ledger::Entity, ledger::Column::RunKey), Order::Asc)
            .lock_with_tables(LockType::Share, [ledger::Entity]);
        TableRef::SubQuery(Box::new(select), Alias::new("course_sharing_ledger").into_iden())
    }

    fn in_scope(self) -> Condition {
        let backend = self.backend;
        match self.scope {
            Scope::Courses(courses, of) => {
                let custom = of_custom_courses(backend, &of.custom_of(courses));
                let overviews = Condition::any().add(of_courses(backend, courses)).add_option(custom);
                Condition::all().add(overviews).add(of_runs(backend, self.from, courses))
            }
            Scope::ChangedSince(since) => Condition::all().add(col_l("changed_at").gte(since)),
            Scope::All => Condition::all(),
        }
    }
}

impl Scope<'_> {
    /// The bytes of a course in a copy to these overviews: they are named, and their runs.
    pub(super) fn course_bytes(of: Of) -> impl Fn(&CourseKey) -> usize {
        keys::course_bytes(of.lists() + 1)
    }
}

/// The overview that a locked row of the ledger is for.
const OVERVIEW_ID: &str = "overview_id";
/// Its link as it was when that row was locked.
const OLD_URL: &str = "old_url";

/// The overviews of these courses.
fn of_courses(backend: DbBackend, courses: &[CourseKey]) -> Expr {
    // Sorted, as two workers that lock rows in one order cannot deadlock.
    let mut ids: Vec<&str> = courses.iter().map(CourseKey::as_str).collect();
    ids.sort_unstable();
    ids.dedup();
    one_of(backend, col_o("id"), ids)
}

/// The ledger's rows of their runs. They follow from the overviews, but a planner cannot see through the join, and one
/// without statistics would read the whole ledger.
fn of_runs(backend: DbBackend, from: From, courses: &[CourseKey]) -> Expr {
    let mut runs: Vec<RunKey> = match from {
        From::Run => courses.iter().map(CourseKey::run_key).collect(),
        From::Own => courses.iter().map(CourseKey::own_key).collect(),
    };
    runs.sort_unstable();
    runs.dedup();
    one_of(backend, col_l("run_key"), runs.iter().map(RunKey::as_str))
}

fn col_o(name: &'static str) -> Expr {
    Expr::col((overview::Entity, Alias::new(name)))
}

fn col_l(name: &'static str) -> Expr {
    Expr::col((ledger::Entity, Alias::new(name)))
}

/// The URL that the ledger says an overview should have.
fn in_force() -> Expr {
    Expr::cust(
        "CASE WHEN course_sharing_ledger.cleared_at IS NULL THEN course_sharing_ledger.marketing_url END",
    )
}

/// `''` and NULL are one to every reader; all else is compared byte for byte, which the LMS's collations do not.
fn differs(backend: DbBackend) -> Expr {
    let binary = if backend == DbBackend::MySql { "BINARY " } else { "" };
    Expr::cust(format!(
        "{binary}COALESCE(course_overviews_courseoverview.marketing_url, '') <> {binary}COALESCE(CASE WHEN \
         course_sharing_ledger.cleared_at IS NULL THEN course_sharing_ledger.marketing_url END, '')"
    ))
}

/// Whether the URL is to be copied.
fn is_due(backend: DbBackend, clears: Clears) -> Condition {
    let has_url = col_l("marketing_url").is_not_null();
    let decided = match clears {
        // A URL that is refused says nothing about a link that came back after a clear.
        Clears::Copy => Condition::any()
            .add(has_url.and(col_l("cleared_at").is_null()))
            .add(col_l("cleared_at").is_not_null().and(col_l("refused_since").is_null())),
        Clears::Leave => Condition::all().add(has_url).add(col_l("cleared_at").is_null()),
    };
    Condition::all().add(differs(backend)).add(decided)
}

/// Whether any column is to be copied.
fn is_due_any(backend: DbBackend, clears: Clears, also: &[AlsoColumn]) -> Condition {
    let also = also.iter().map(|column| also_differs(backend, *column));
    also.fold(Condition::any().add(is_due(backend, clears)), Condition::add)
}

/// Whether the ledger knows another value for this column. A custom course has values of its own, not its parent's.
fn also_differs(backend: DbBackend, column: AlsoColumn) -> Expr {
    let name = column.name();
    let (o, l) = (format!("course_overviews_courseoverview.{name}"), format!("course_sharing_ledger.{name}"));
    let differs = match (column, backend) {
        (AlsoColumn::EligibleForFinancialAid, _) => format!("{o} <> {l}"),
        (AlsoColumn::Language, DbBackend::MySql) => format!("BINARY COALESCE({o}, '') <> BINARY {l}"),
        (AlsoColumn::Language, _) => format!("COALESCE({o}, '') <> {l}"),
    };
    // Where the ledger knows none, this is NULL and no difference.
    Expr::cust(format!("({differs} AND NOT {})", is_ccx(backend)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sea_orm::sea_query::Value;

    #[test]
    fn a_copy_to_courses_fits_one_tls_record() {
        let courses: Vec<CourseKey> = (0..500)
            .map(|n| CourseKey::parse(&format!("course-v1:AcmeX+CS{n:04}+2026_T1")).unwrap())
            .collect();
        let length = |value: &Value| match value {
            Value::String(text) => text.as_deref().map_or(0, |text| text.len() + 4),
            _ => 8,
        };
        for of in [Of::Courses, Of::CoursesAndCustom] {
            let bytes = |courses: &[CourseKey]| -> usize {
                let (backend, scope) = (DbBackend::Postgres, Scope::Courses(courses, of));
                let copying = Copying { backend, from: From::Run, scope, clears: Clears::Leave, also: &[] };
                let values = backend.build(&copying.update()).values.unwrap().0;
                let lists = values.iter().filter_map(|value| match value {
                    Value::Array(_, Some(texts)) => Some(texts.iter().map(length).sum::<usize>()),
                    _ => None,
                });
                lists.sum()
            };
            let longest = keys::fitting(&courses, Scope::course_bytes(of)).map(bytes).max().unwrap();
            assert!((10_000..14_000).contains(&longest), "{longest} bytes");
        }
    }

    #[test]
    fn the_statement_is_one_update_with_a_join_on_every_database() {
        for also in [&[][..], &AlsoColumn::ALL] {
            for backend in [DbBackend::MySql, DbBackend::Postgres, DbBackend::Sqlite] {
                for from in [From::Run, From::Own] {
                    let also = if from == From::Own { &[][..] } else { also };
                    let copying = Copying { backend, from, scope: Scope::All, clears: Clears::Leave, also };
                    let sql = backend.build(&copying.update()).to_string();
                    assert!(sql.starts_with("UPDATE") && !sql.contains(';'), "{sql}");
                    for column in AlsoColumn::ALL {
                        let named = !also.is_empty() && from == From::Run;
                        assert_eq!(sql.contains(column.name()), named, "{sql}");
                    }
                }
            }
        }
    }
}
