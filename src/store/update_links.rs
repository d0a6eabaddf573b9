//! The one statement that writes overviews: it copies the ledger's URL to those that differ from it, and where
//! `sync.also` asks for more columns, those with it. Besides it only the restore trigger writes links, where a site has
//! set it up: in the LMS's own transaction (`migration/src/restore_trigger`).

use sea_orm::sea_query::{
    Alias, Condition, Expr, ExprTrait, IntoIden, LockType, Order, Query, SelectStatement, TableRef,
    UpdateStatement,
};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use chrono::{DateTime, Utc};
use entity::{ledger, overview};

use super::changes::Note;
use super::choice::{FollowedRow, follows, is_ccx};
use super::custom_courses::{CustomCourses, of_custom_courses};
use super::keys::{self, one_of};
use super::statement::query;
use super::timeout::execute;
use super::{Store, StoreError};
use crate::model::course_key::{CourseKey, RunKey};
use crate::model::extra_columns::AlsoColumn;

/// Which overviews a statement is about. An update is about some courses; the others are only read.
#[derive(Clone, Copy)]
pub(super) enum Scope<'a> {
    /// Those of these courses.
    Courses(&'a [CourseKey], CustomCourses),
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

/// One update of links.
#[derive(Clone, Copy)]
pub(super) struct LinkUpdate<'a> {
    backend: DbBackend,
    from: FollowedRow,
    scope: Scope<'a>,
    clears: Clears,
    /// The columns of `sync.also` that are copied too. Where there are none, no statement names another column than the URL's.
    also: &'a [AlsoColumn],
}

impl Store {
    pub(super) fn link_update<'a>(
        &'a self,
        from: FollowedRow,
        scope: Scope<'a>,
        clears: Clears,
    ) -> LinkUpdate<'a> {
        let also = if from == FollowedRow::Own { &[][..] } else { &self.also };
        LinkUpdate { backend: self.backend(), from, scope, clears, also }
    }
}

impl LinkUpdate<'_> {
    /// The update, for one database.
    fn update(self) -> UpdateStatement {
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
    pub(super) fn differing_ids(self) -> SelectStatement {
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
    fn differing_links(self) -> SelectStatement {
        let mut differing = LinkUpdate { also: &[], ..self }.differing_ids();
        differing
            .clear_selects()
            .expr_as(col_o("id"), "course_id")
            .expr_as(col_o("marketing_url"), OLD_URL)
            .expr_as(in_force(), "new_url")
            .take()
    }

    /// Writes the links, and their history. On PostgreSQL it is one statement, whose rows are the ids of the overviews that
    /// were written.
    pub(super) fn write(self, note: &Note) -> Write {
        let backend = self.backend;
        if backend != DbBackend::Postgres {
            let noted = note.insert_or_ignore(backend, self.differing_links());
            return Write { note: Some(noted), update: backend.build(&self.update()) };
        }
        let mut update = self.update();
        update.returning(Query::returning().exprs([col_o("id"), col_l(OLD_URL), col_o("marketing_url")]));
        Write { note: None, update: note.insert_what(update) }
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
            Scope::Courses(courses, custom) => {
                let custom = of_custom_courses(backend, &custom.runs(courses));
                let overviews = Condition::any().add(of_courses(backend, courses)).add_option(custom);
                Condition::all().add(overviews).add(of_runs(backend, self.from, courses))
            }
            Scope::ChangedSince(since) => Condition::all().add(col_l("changed_at").gte(since)),
            Scope::All => Condition::all(),
        }
    }
}

/// The statements of one update of links, and of its history.
#[derive(Debug, Clone)]
pub(super) struct Write {
    /// Notes what the update is about to change, where that does not note it itself.
    note: Option<Statement>,
    pub(super) update: Statement,
}

impl Write {
    /// Writes, within a transaction. Returns how many overviews were written.
    pub(super) async fn execute(
        &self,
        db: &impl ConnectionTrait,
        doing: &'static str,
    ) -> Result<u64, StoreError> {
        let Some(note) = &self.note else {
            let written = query(db, doing, self.update.clone()).await.map_err(StoreError::doing(doing))?;
            return Ok(written.len() as u64);
        };
        execute(db, doing, note.clone()).await?;
        execute(db, doing, self.update.clone()).await
    }
}

impl Scope<'_> {
    /// The bytes of a course in a copy to these overviews: they are named, and their runs.
    pub(super) fn course_bytes(custom: CustomCourses) -> impl Fn(&CourseKey) -> usize {
        keys::course_bytes(custom.lists() + 1)
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
fn of_runs(backend: DbBackend, from: FollowedRow, courses: &[CourseKey]) -> Expr {
    let mut runs: Vec<RunKey> = match from {
        FollowedRow::Run => courses.iter().map(CourseKey::run_key).collect(),
        FollowedRow::Own => courses.iter().map(CourseKey::own_key).collect(),
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
        for custom in [CustomCourses::Without, CustomCourses::With] {
            let bytes = |courses: &[CourseKey]| -> usize {
                let (backend, scope) = (DbBackend::Postgres, Scope::Courses(courses, custom));
                let update =
                    LinkUpdate { backend, from: FollowedRow::Run, scope, clears: Clears::Leave, also: &[] };
                let values = backend.build(&update.update()).values.unwrap().0;
                let lists = values.iter().filter_map(|value| match value {
                    Value::Array(_, Some(texts)) => Some(texts.iter().map(length).sum::<usize>()),
                    _ => None,
                });
                lists.sum()
            };
            let longest = keys::fitting(&courses, Scope::course_bytes(custom)).map(bytes).max().unwrap();
            assert!((10_000..14_000).contains(&longest), "{longest} bytes");
        }
    }

    #[test]
    fn the_statement_is_one_update_with_a_join_on_every_database() {
        for also in [&[][..], &AlsoColumn::ALL] {
            for backend in [DbBackend::MySql, DbBackend::Postgres, DbBackend::Sqlite] {
                for from in [FollowedRow::Run, FollowedRow::Own] {
                    let also = if from == FollowedRow::Own { &[][..] } else { also };
                    let update = LinkUpdate { backend, from, scope: Scope::All, clears: Clears::Leave, also };
                    let sql = backend.build(&update.update()).to_string();
                    assert!(sql.starts_with("UPDATE") && !sql.contains(';'), "{sql}");
                    for column in AlsoColumn::ALL {
                        let named = !also.is_empty() && from == FollowedRow::Run;
                        assert_eq!(sql.contains(column.name()), named, "{sql}");
                    }
                }
            }
        }
    }
}
