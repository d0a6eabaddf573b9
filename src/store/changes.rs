//! The history of links: each write of links leaves a row for every link that it changes, in its own transaction.
//!
//! On PostgreSQL the update itself says what it wrote, so that both are one statement. MySQL and SQLite do not say what
//! was there before: the rows are noted right before the links are written. On MySQL a link that the LMS writes between
//! the two is written without a row.

use chrono::{DateTime, TimeDelta, Utc};
pub use entity::change::{ChangedBy, Model as LinkChange};
use entity::change::{Column, Entity};
use sea_orm::sea_query::{
    CommonTableExpression, Condition, Expr, OnConflict, Query, SelectStatement, UpdateStatement, WithClause,
};
use sea_orm::{
    ColumnTrait, DbBackend, EntityName, EntityTrait, IdenStatic, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, Statement,
};

use super::timeout::Limit::{Batch, Table};
use super::{MAX_ROWS, Store, StoreError, keys};
use crate::telemetry::trace_id;

/// The LMS may have put anything in its column.
const MAX_CHARS: usize = 2_048;
const PRUNE: &str = "prune the history of links";

/// What is noted of a write beside the links.
#[derive(Debug, Clone)]
pub(super) struct Note {
    by: ChangedBy,
    at: DateTime<Utc>,
    trace_id: Option<String>,
}

impl Store {
    /// The same store, whose changes of links are noted as made by this.
    #[must_use]
    pub fn writing_as(self, by: ChangedBy) -> Self {
        Self { by, ..self }
    }

    /// For what is written now.
    pub(super) async fn note(&self) -> Result<Note, StoreError> {
        Ok(Note { by: self.by, at: self.now().await?, trace_id: trace_id() })
    }

    /// The newest changes of an overview's link, the newest first.
    pub async fn changes(&self, course_id: &str, limit: u64) -> Result<Vec<LinkChange>, StoreError> {
        let newest = Entity::find()
            .filter(Column::CourseId.eq(course_id))
            .order_by_desc(Column::ChangedAt)
            .limit(limit);
        self.db.all("read the history of a link", Batch, &newest.into_query()).await
    }

    /// Deletes changes older than `age`, and those older than the newest `count`. Returns how many.
    pub async fn prune_changes(&self, age: TimeDelta, count: u64) -> Result<u64, StoreError> {
        let last_kept = Entity::find()
            .select_only()
            .column(Column::ChangedAt)
            .order_by_desc(Column::ChangedAt)
            .offset(count.saturating_sub(1))
            .limit(1);
        let last_kept: Vec<DateTime<Utc>> = self.db.values(PRUNE, Table, &last_kept.into_query()).await?;
        let before = last_kept.into_iter().fold(self.now().await? - age, Ord::max);
        let old = || Condition::all().add(Column::ChangedAt.lt(before));
        let mut deleted = 0;
        loop {
            let some = Entity::find().select_only().column(Column::CourseId).filter(old());
            let some = some.order_by_asc(Column::ChangedAt).limit(MAX_ROWS as u64);
            let mut ids: Vec<String> = self.db.values(PRUNE, Batch, &some.into_query()).await?;
            if ids.is_empty() {
                return Ok(deleted);
            }
            ids.sort_unstable();
            ids.dedup();
            for ids in keys::fitting(&ids, |id| keys::key_bytes(id)) {
                let of_ids =
                    keys::one_of(self.backend(), Expr::col(Column::CourseId), ids.iter().map(String::as_str));
                let delete = Entity::delete_many().filter(old()).filter(of_ids);
                deleted += self.db.execute(PRUNE, Batch, &delete.into_query()).await?;
            }
        }
    }
}

/// The columns in the order of [`Note::rows`].
const COLUMNS: [Column; 6] =
    [Column::CourseId, Column::OldUrl, Column::NewUrl, Column::ChangedBy, Column::ChangedAt, Column::TraceId];

impl Note {
    /// Rows of the history, from `links` with the id, the link before and the link after.
    fn rows(&self, links: SelectStatement) -> SelectStatement {
        let mut rows = Query::select();
        rows.column(Column::CourseId)
            .expr(Expr::cust(format!("NULLIF(substr(old_url, 1, {MAX_CHARS}), '')")))
            .column(Column::NewUrl)
            .expr(Expr::val(self.by.as_str()))
            .expr(Expr::val(self.at))
            .expr(Expr::val(self.trace_id.clone()))
            .from_subquery(links, "links");
        rows
    }

    /// On PostgreSQL the update, which returns id, link before and link after of each row, with the rows of the history that
    /// follow from it. Returns the ids.
    pub(super) fn insert_what(&self, update: UpdateStatement) -> Statement {
        let columns = [Column::CourseId, Column::OldUrl, Column::NewUrl];
        let mut written = CommonTableExpression::new();
        written.table_name("written").columns(columns).query(update);
        let links = Query::select()
            .columns(columns)
            .from("written")
            // A row may have been written for a column of `sync.also` only.
            .and_where(Expr::cust("COALESCE(old_url, '') <> COALESCE(new_url, '')"))
            .take();
        let mut insert = Query::insert();
        insert.into_table(Entity).columns(COLUMNS).on_conflict(OnConflict::new().do_nothing().to_owned());
        // Refused only where the numbers of columns and values differ.
        let _ = insert.select_from(self.rows(links));
        let mut noted = CommonTableExpression::new();
        noted.table_name("noted").query(insert);
        let ids = Query::select().column(Column::CourseId).from("written").take();
        DbBackend::Postgres.build(&WithClause::new().cte(written).cte(noted).to_owned().query(ids))
    }

    /// What is in the way of a row does not keep a link from being written.
    pub(super) fn insert_or_ignore(&self, backend: DbBackend, links: SelectStatement) -> Statement {
        let mut rows = backend.build(&self.rows(links));
        let ignore = if backend == DbBackend::MySql { "INSERT IGNORE" } else { "INSERT OR IGNORE" };
        let names = COLUMNS.map(|column| column.as_str()).join(", ");
        rows.sql = format!("{ignore} INTO {} ({names}) {}", Entity.table_name(), rows.sql);
        rows
    }
}
