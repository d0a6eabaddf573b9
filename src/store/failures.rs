//! What the Catalog cannot say of single runs: look-ups that failed, so that `explain` can say what came, and when; and
//! courses whose URL is refused. An outage leaves no row.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use entity::failure::{ActiveModel, Column, Entity, Model};
use entity::{ledger, overview};
use sea_orm::sea_query::{Alias, Condition, Expr, ExprTrait, OnConflict, Order, Query, SelectStatement};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QuerySelect, QueryTrait,
};

use super::choice::{is_ccx, own_key, parent_serves};
use super::timeout::Limit::{Batch, Table};
use super::{MAX_ROWS, Store, StoreError};
use crate::model::course_key::RunKey;
use crate::model::text::shown;

/// Days for which a failure is kept that no answer followed.
const KEPT: i64 = 30;

/// The last failure of a look-up of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// When the Catalog was asked, on the database's clock.
    pub at: DateTime<Utc>,
    /// What came, in a line.
    pub why: String,
}

/// A course of the LMS whose URL in the Catalog is refused.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult, serde::Serialize)]
pub struct RefusedCourse {
    /// The overview's id.
    pub course_id: String,
    /// Since when the Catalog lists this URL, as far as it was seen.
    pub since: DateTime<Utc>,
    /// The URL, fit to be shown.
    pub url: String,
    /// Why it is refused.
    pub why: String,
}

impl Store {
    /// Keeps these failures, each over the one before of its run.
    pub async fn note_failures(&self, failures: HashMap<RunKey, Failure>) -> Result<(), StoreError> {
        let mut rows: Vec<(RunKey, Failure)> = failures.into_iter().collect();
        // Sorted, as two workers that lock rows in one order cannot deadlock.
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for rows in rows.chunks(MAX_ROWS) {
            let rows = rows.iter().map(|(run, failure)| ActiveModel {
                run_key: Set(run.as_str().to_owned()),
                failed_at: Set(failure.at),
                why: Set(shown(&failure.why)),
            });
            let newer =
                OnConflict::column(Column::RunKey).update_columns([Column::FailedAt, Column::Why]).to_owned();
            let insert = Entity::insert_many(rows).on_conflict(newer);
            self.db.execute("note failed look-ups", Batch, &insert.into_query()).await?;
        }
        Ok(())
    }

    /// The last failure of a look-up of this run, if none has been answered since.
    pub async fn failure(&self, run: &RunKey) -> Result<Option<Failure>, StoreError> {
        let find = Entity::find_by_id(run.as_str()).into_query();
        let row = self.db.one::<Model>("read a failed look-up", Batch, &find).await?;
        let Some(row) = row else { return Ok(None) };
        let answered = self.entries(std::slice::from_ref(run)).await?;
        let is_last = answered.get(run).is_none_or(|entry| entry.observed_at < row.failed_at);
        Ok(is_last.then_some(Failure { at: row.failed_at, why: row.why }))
    }

    /// Forgets the failures that an answer followed, and those of more than 30 days ago; what a pass does at its end.
    pub async fn forget_failures(&self) -> Result<u64, StoreError> {
        let old = self.now().await? - TimeDelta::days(KEPT);
        let mut later = Query::select();
        later
            .expr(Expr::cust("1"))
            .from(ledger::Entity)
            .and_where(Expr::col((ledger::Entity, ledger::Column::RunKey)).equals((Entity, Column::RunKey)))
            .and_where(
                Expr::col((ledger::Entity, ledger::Column::ObservedAt))
                    .gt(Expr::col((Entity, Column::FailedAt))),
            );
        let forget = Entity::delete_many()
            .filter(Condition::any().add(Column::FailedAt.lt(old)).add(Expr::exists(later)));
        self.db.execute("forget failed look-ups", Table, &forget.into_query()).await
    }

    /// How many courses have a refused URL. If any run has one, this reads the whole table of overviews.
    pub async fn refusal_count(&self) -> Result<u64, StoreError> {
        let any = ledger::Entity::find().filter(ledger::Column::RefusedSince.is_not_null()).limit(1);
        if self.db.rows("look for refused URLs", Batch, &any.into_query()).await?.is_empty() {
            return Ok(0);
        }
        self.db.count("count refused URLs", Table, self.refused_overviews()).await
    }

    /// The `limit` courses whose URL has been refused for the longest, the oldest first.
    pub async fn refusals(&self, limit: u64) -> Result<Vec<RefusedCourse>, StoreError> {
        use ledger::Column as L;
        let ledger = |column: L| Expr::col((ledger::Entity, column));
        let mut oldest = self.refused_overviews();
        oldest
            .expr_as(Expr::col((overview::Entity, overview::Column::Id)), Alias::new("course_id"))
            .expr_as(ledger(L::RefusedSince), Alias::new("since"))
            .expr_as(ledger(L::RefusedUrl), Alias::new("url"))
            .expr_as(ledger(L::RefusedWhy), Alias::new("why"))
            .order_by((ledger::Entity, L::RefusedSince), Order::Asc)
            .order_by((overview::Entity, overview::Column::Id), Order::Asc)
            .limit(limit);
        self.db.all("read refused URLs", Table, &oldest).await
    }

    /// Overviews with the ledger's rows of their own keys. A custom course is among them where it follows that row, and
    /// not its parent's.
    fn refused_overviews(&self) -> SelectStatement {
        let backend = self.backend();
        let run_key = Expr::col((ledger::Entity, ledger::Column::RunKey));
        let is_by_parent = format!("({} AND {})", is_ccx(backend), parent_serves(backend));
        Query::select()
            .from(overview::Entity)
            .inner_join(ledger::Entity, run_key.eq(Expr::cust(own_key(backend))))
            .and_where(Expr::col((ledger::Entity, ledger::Column::RefusedSince)).is_not_null())
            .and_where(Expr::cust(format!("NOT {is_by_parent}")))
            .take()
    }
}
