//! Look-ups of a single run that failed, so that `explain` can say what came, and when. An outage leaves no row:
//! only what the Catalog cannot say of one run is kept here, one row a run.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use entity::failure::{ActiveModel, Column, Entity, Model};
use entity::ledger;
use sea_orm::sea_query::{Condition, Expr, ExprTrait, OnConflict, Query};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryTrait};

use super::timeout::Limit::{Batch, Table};
use super::{MAX_ROWS, Store, StoreError};
use crate::model::course_key::RunKey;
use crate::refused_url::shown;

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
}
