//! What only a pass over the whole Catalog does to the ledger, in statements that each cover many rows.

use chrono::{DateTime, Utc};
use entity::{ledger, overview};
use sea_orm::sea_query::{Alias, Condition, Expr, ExprTrait, JoinType, Order, Query, SelectStatement};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::copy::run_of_overview;
use super::{ObservedBy, Store, StoreError};
use crate::course_key::RunKey;

impl Store {
    /// Notes that a pass has asked at `asked_at` and found these runs as the ledger has them. Rows that have been
    /// observed after `until` are left alone: what they hold may be another answer than the one compared with.
    /// At most [`super::MAX_ROWS`] runs.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn mark_seen(
        &self,
        runs: Vec<RunKey>,
        asked_at: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        if runs.is_empty() {
            return Ok(());
        }
        self.persistently(move |db| {
            let mut keys: Vec<String> = runs.iter().map(|run| run.as_str().to_owned()).collect();
            Box::pin(async move {
                // Sorted, as two writers that lock rows in one order cannot deadlock.
                keys.sort_unstable();
                ledger::Entity::update_many()
                    .col_expr(ledger::Column::ObservedAt, asked_at.into())
                    .col_expr(ledger::Column::ObservedBy, ObservedBy::Pass.as_str().into())
                    .filter(ledger::Column::RunKey.is_in(keys))
                    .filter(ledger::Column::ObservedAt.lte(std::cmp::min(until, asked_at)))
                    .exec(&db)
                    .await
                    .map_err(StoreError::doing("mark runs as seen"))?;
                Ok(())
            })
        })
        .await
    }

    /// How many overviews [`Store::unseen`] would go through, those included whose id is no course run.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn unseen_count(&self, since: DateTime<Utc>) -> Result<u64, StoreError> {
        let mut query = self.overviews_with_ledger(JoinType::LeftJoin);
        query.cond_where(
            Condition::any()
                .add(in_ledger(ledger::Column::RunKey).is_null())
                .add(in_ledger(ledger::Column::ObservedAt).lt(since)),
        );
        self.count_rows(&query, "count overviews that the crawl did not show").await
    }

    /// How many overviews of custom courses have a parent that was found listed at or after `since`.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn ccx_settled(&self, since: DateTime<Utc>) -> Result<u64, StoreError> {
        let mut query = self.overviews_with_ledger(JoinType::InnerJoin);
        query
            .and_where(Expr::col((overview::Entity, overview::Column::Id)).like("ccx-v1:%"))
            .and_where(in_ledger(ledger::Column::Listed).eq(true))
            .and_where(in_ledger(ledger::Column::ObservedAt).gte(since));
        self.count_rows(&query, "count custom courses").await
    }

    /// Puts aside for the brake of `pass` the clearing of every run that it did not find listed since `since` and
    /// that has a link, in the ledger or on an overview.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn hold_absent(&self, pass: i64, since: DateTime<Utc>) -> Result<u64, StoreError> {
        let backend = self.backend();
        self.persistently(move |db| {
            let mut linked = Query::select();
            linked
                .expr(run_of_overview(backend))
                .from(overview::Entity)
                .and_where(Expr::col((overview::Entity, overview::Column::MarketingUrl)).ne(""));
            Box::pin(async move {
                use ledger::Column as C;
                let in_force =
                    Condition::all().add(C::MarketingUrl.is_not_null()).add(C::ClearedAt.is_null());
                let has_link = Condition::any()
                    .add(in_force)
                    .add(Expr::col((ledger::Entity, C::RunKey)).in_subquery(linked));
                let held = ledger::Entity::update_many()
                    .col_expr(C::HeldBy, Expr::val(pass))
                    .col_expr(C::HeldUrl, Expr::val(None::<String>))
                    .filter(C::Listed.eq(false))
                    .filter(C::ObservedBy.eq(ObservedBy::Pass.as_str()))
                    .filter(C::ObservedAt.gte(since))
                    .filter(has_link)
                    .exec(&db)
                    .await;
                Ok(held.map_err(StoreError::doing("put aside clears"))?.rows_affected)
            })
        })
        .await
    }

    /// Forgets what the brakes of passes before this one held back.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn forget_held_before(&self, pass: i64) -> Result<u64, StoreError> {
        self.persistently(move |db| {
            Box::pin(async move {
                let forgotten = ledger::Entity::update_many()
                    .col_expr(ledger::Column::HeldBy, Expr::val(None::<i64>))
                    .col_expr(ledger::Column::HeldUrl, Expr::val(None::<String>))
                    .filter(ledger::Column::HeldBy.lt(pass))
                    .exec(&db)
                    .await;
                Ok(forgotten.map_err(StoreError::doing("forget held changes"))?.rows_affected)
            })
        })
        .await
    }

    /// The page size that the LMS's staff have set in Django admin; none if they have set nothing yet.
    ///
    /// # Errors
    /// Those of the database; a missing table `catalog_catalogintegration` is one.
    pub async fn lms_page_size(&self) -> Result<Option<i64>, StoreError> {
        // Django's configuration models add a row at each change; the newest one counts.
        let mut query = Query::select();
        query
            .expr_as(Expr::col("page_size").cast_as("char(20)"), Alias::new("page_size"))
            .from("catalog_catalogintegration")
            .order_by("id", Order::Desc)
            .limit(1);
        let row = self.db.query_one(&query).await;
        row.and_then(|row| row.map(|row| row.try_get::<String>("", "page_size")).transpose())
            .map(|size| size.and_then(|size| size.trim().parse().ok()))
            .map_err(StoreError::doing("read page_size from catalog_catalogintegration"))
    }

    fn overviews_with_ledger(&self, join: JoinType) -> SelectStatement {
        let mut query = Query::select();
        query.from(overview::Entity).join(
            join,
            ledger::Entity,
            in_ledger(ledger::Column::RunKey).eq(run_of_overview(self.backend())),
        );
        query
    }

    async fn count_rows(&self, query: &SelectStatement, doing: &'static str) -> Result<u64, StoreError> {
        let mut query = query.clone();
        query.expr_as(Expr::cust("COUNT(*)"), Alias::new("n"));
        let row = self.db.query_one(&query).await;
        let count = row.and_then(|row| row.map(|row| row.try_get::<i64>("", "n")).transpose());
        let count = count.map_err(StoreError::doing(doing))?.unwrap_or_default();
        Ok(u64::try_from(count).unwrap_or_default())
    }
}

fn in_ledger(column: ledger::Column) -> Expr {
    Expr::col((ledger::Entity, column))
}
