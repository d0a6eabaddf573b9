//! Runs that a pass did not find in the Catalog's list, which lose their link where `reconcile.absent` is `clear`.

use chrono::{DateTime, Utc};
use entity::{ledger, overview};
use sea_orm::sea_query::{Condition, Expr, ExprTrait, Order, Query};
use sea_orm::{ColumnTrait, DbBackend, EntityTrait, QueryFilter, QueryTrait};

use super::choice::{has_own, run_of_overview};
use super::coverage::has_link;
use super::timeout::Limit::Table;
use super::{ObservedBy, Store, StoreError};

impl Store {
    /// How many runs a pass that began at `since` did not find listed, and that have a link, in the ledger or on an
    /// overview.
    pub async fn count_absent(&self, since: DateTime<Utc>) -> Result<u64, StoreError> {
        let runs = Query::select().from(ledger::Entity).cond_where(absent(self.backend(), since)).take();
        self.db.count("count absent runs", Table, runs).await
    }

    /// The same runs, with the URL that the ledger has, in the order of their keys; at most `limit`.
    pub async fn absent(
        &self,
        since: DateTime<Utc>,
        limit: u64,
    ) -> Result<Vec<(String, Option<String>)>, StoreError> {
        let mut query = Query::select();
        query
            .columns([ledger::Column::RunKey, ledger::Column::MarketingUrl])
            .from(ledger::Entity)
            .cond_where(absent(self.backend(), since))
            .order_by(ledger::Column::RunKey, Order::Asc)
            .limit(limit);
        self.db.values("read absent runs", Table, &query).await
    }

    /// Clears the same runs in the ledger; overviews follow by [`Store::copy_changes`]. Returns how many runs.
    /// All other clears are decided in `engine/plan.rs`.
    pub async fn clear_absent(&self, since: DateTime<Utc>) -> Result<u64, StoreError> {
        let now = self.now().await?;
        // The last URL stays, so that none is ever lost.
        let clear = ledger::Entity::update_many()
            .col_expr(ledger::Column::ClearedAt, Expr::val(now))
            .col_expr(ledger::Column::ChangedAt, Expr::val(now))
            .filter(absent(self.backend(), since));
        self.db.execute("clear absent runs", Table, &clear.into_query()).await
    }
}

/// Whether a ledger row is of a run that a pass did not find listed since then, and that has a link.
fn absent(backend: DbBackend, since: DateTime<Utc>) -> Condition {
    use ledger::Column as C;
    // A link from a listing of its own is not the parent's to lose.
    let by_own = has_own(backend, "other.cleared_at IS NULL AND other.marketing_url IS NOT NULL");
    let mut linked = Query::select();
    linked
        .expr_as(run_of_overview(backend), "run")
        .from(overview::Entity)
        .and_where(has_link())
        .and_where(Expr::cust(format!("NOT {by_own}")));
    // MySQL, other than MariaDB, does not write a table that a subquery reads; unless it has the rows of that first, as for
    // DISTINCT.
    if backend == DbBackend::MySql {
        linked.distinct();
        linked = Query::select().column("run").from_subquery(linked, "linked").to_owned();
    }
    let in_force = Condition::all().add(C::MarketingUrl.is_not_null()).add(C::ClearedAt.is_null());
    let has_link =
        Condition::any().add(in_force).add(Expr::col((ledger::Entity, C::RunKey)).in_subquery(linked));
    Condition::all()
        .add(C::Listed.eq(false))
        .add(C::ObservedBy.eq(ObservedBy::Pass))
        .add(C::ObservedAt.gte(since))
        .add(has_link)
}
