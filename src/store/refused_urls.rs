//! Courses whose URL in the Catalog is refused: how many there are, and the first of them.

use chrono::{DateTime, Utc};
use entity::{ledger, overview};
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Order, Query, SelectStatement};
use sea_orm::{ColumnTrait, EntityTrait, FromQueryResult, QueryFilter, QuerySelect, QueryTrait};

use super::choice::run_of_overview;
use super::timeout::Limit::{Batch, Table};
use super::{Store, StoreError};

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
    /// How many courses have a refused URL. Where there is any it reads the LMS's whole table.
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

    /// Overviews and the ledger's rows of their own runs; a custom course has its parent's URL.
    fn refused_overviews(&self) -> SelectStatement {
        let run_key = Expr::col((ledger::Entity, ledger::Column::RunKey));
        let id = Expr::col((overview::Entity, overview::Column::Id));
        Query::select()
            .from(overview::Entity)
            .inner_join(ledger::Entity, run_key.eq(run_of_overview(self.backend())))
            .and_where(Expr::col((ledger::Entity, ledger::Column::RefusedSince)).is_not_null())
            .and_where(id.not_like("ccx-v1:%"))
            .take()
    }
}
