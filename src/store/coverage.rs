//! What only a pass over the whole Catalog does to the ledger, in statements that each cover many rows.

use chrono::{DateTime, Utc};
use entity::{ledger, overview};
use sea_orm::sea_query::{Alias, CaseStatement, Condition, Expr, ExprTrait, Func, Query};
use sea_orm::{DbBackend, FromQueryResult};

use super::choice::{is_ccx, own_key, rank, run_of_overview};
use super::timeout::Limit::Table;
use super::{ObservedBy, Store, StoreError};

impl Store {
    /// How many overviews are settled by what has been seen of the Catalog since `since`; reads both tables whole.
    pub async fn coverage(&self, since: SeenSince) -> Result<Coverage, StoreError> {
        let backend = self.backend();
        let ccx = || Expr::cust(is_ccx(backend));
        // A custom course is found by a listing of its own too.
        let own_listed = ccx().and(own_seen(backend, since, Expr::cust("other.listed").into()));
        let listed = Condition::any().add(in_ledger(ledger::Column::Listed).eq(true)).add(own_listed);
        // The first that holds, so that each condition is looked at once for an overview.
        let class = CaseStatement::new()
            .case(unsettled(backend, since), "unseen")
            .case(Condition::all().add(listed.clone().not()).add(has_link()), "unlisted_link")
            .case(listed.not(), "not_listed")
            .case(ccx(), "ccx_settled")
            .case(is_refused(), "refused")
            .finally("settled");
        let query = Query::select()
            .expr_as(class, "class")
            .expr_as(Func::count(Expr::col((overview::Entity, overview::Column::Id))), "overviews")
            .from(overview::Entity)
            .left_join(ledger::Entity, in_ledger(ledger::Column::RunKey).eq(run_of_overview(backend)))
            .group_by_col("class")
            .take();
        let classes: Vec<Class> = self.db.all("count what a pass has covered", Table, &query).await?;
        let count =
            |class| classes.iter().find(|c| c.class == class).map_or(0, |c| c.overviews.unsigned_abs());
        Ok(Coverage {
            settled: count("settled") + count("refused"),
            ccx_settled: count("ccx_settled"),
            not_listed: count("not_listed") + count("unlisted_link"),
            unlisted_links: count("unlisted_link"),
            refused: count("refused"),
            unseen: count("unseen"),
        })
    }

    /// How many runs, custom courses not counted, have been found listed since `since`.
    pub async fn count_listed(&self, since: SeenSince) -> Result<u64, StoreError> {
        let is_ccx = in_ledger(ledger::Column::RunKey).like("ccx-v1:%");
        let listed = Condition::all()
            .add(in_ledger(ledger::Column::Listed).eq(true))
            .add(seen_since("course_sharing_ledger", since))
            .add(is_ccx.not());
        let runs = Query::select().from(ledger::Entity).cond_where(listed).take();
        self.db.count("count the runs found", Table, runs).await
    }
}

/// From when on a run counts as seen by a pass.
#[derive(Debug, Clone, Copy)]
pub struct SeenSince {
    /// What the pass was answered: when it began.
    pub began: DateTime<Utc>,
    /// What events and commands were answered: when the list had been read. Before that the list may have shown
    /// something newer, which the ledger refused because it was asked for earlier and answered later.
    pub listed: DateTime<Utc>,
}

/// Whether the run of a ledger row has been seen; the ledger is read under this name.
fn seen_since(ledger: &'static str, since: SeenSince) -> Condition {
    let row = |column| Expr::col((Alias::new(ledger), column));
    let by_pass = Condition::all()
        .add(row(ledger::Column::ObservedAt).gte(since.began))
        .add(row(ledger::Column::ObservedBy).eq(ObservedBy::Pass));
    Condition::any().add(by_pass).add(row(ledger::Column::ObservedAt).gte(since.listed))
}

/// Counts of overviews; each is in exactly one of `settled`, `ccx_settled`, `not_listed` and `unseen`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Those whose run has been found listed.
    pub settled: u64,
    /// Those of custom courses whose parent, or which themselves, have been found listed.
    pub ccx_settled: u64,
    /// Those whose run, or whose parent and which themselves, have been found not to be listed.
    pub not_listed: u64,
    /// Of `not_listed`, those with a link.
    pub unlisted_links: u64,
    /// Of `settled`, those whose run has a URL that is refused.
    pub refused: u64,
    /// Those whose run has to be asked for by key, those included whose id is no course run.
    pub unseen: u64,
}

/// Overviews of which the same is true.
#[derive(FromQueryResult)]
struct Class {
    class: String,
    overviews: i64,
}

/// Whether an overview's run has been seen since `since`, and the overview follows it as far as only an answer can
/// make it: that it has a link again after a clear is nothing that healing undoes. Where the parent of a custom course
/// gives no URL, a listing of its own has to have been looked for too.
fn is_settled(backend: DbBackend, since: SeenSince) -> Condition {
    let no_link = || {
        Condition::any()
            .add(in_ledger(ledger::Column::ClearedAt).is_null())
            .add(is_refused())
            .add(Expr::col((overview::Entity, overview::Column::MarketingUrl)).is_null())
            .add(Expr::col((overview::Entity, overview::Column::MarketingUrl)).eq(""))
    };
    let own_in_force = Expr::cust("other.cleared_at IS NULL AND other.marketing_url IS NOT NULL");
    let parent_serves = format!("{} = 1", rank("course_sharing_ledger"));
    let by_own = own_seen(backend, since, no_link().add(own_in_force));
    let of_ccx = Condition::any().add(Expr::cust(parent_serves)).add(by_own);
    let of_run = Condition::all().add(Expr::cust(format!("NOT {}", is_ccx(backend)))).add(no_link());
    let of_ccx = Condition::all().add(Expr::cust(is_ccx(backend))).add(of_ccx);
    Condition::all()
        .add(seen_since("course_sharing_ledger", since))
        .add(Condition::any().add(of_run).add(of_ccx))
}

/// Whether a custom course has a row of its own, `other`, that has been seen since then, and of which this holds.
fn own_seen(backend: DbBackend, since: SeenSince, holds: Condition) -> Expr {
    let own = Query::select()
        .expr(Expr::cust("1"))
        .from_as(ledger::Entity, "other")
        .and_where(Expr::cust(format!("other.run_key = {}", own_key(backend))))
        .cond_where(seen_since("other", since))
        .cond_where(holds)
        .to_owned();
    Expr::exists(own)
}

/// The opposite, for an overview without a row in the ledger too; where overviews and ledger are joined.
pub(super) fn unsettled(backend: DbBackend, since: SeenSince) -> Condition {
    // NULL, where there is no row in the ledger, is not true.
    let settled = Expr::case(is_settled(backend, since), Expr::val(1)).finally(Expr::val(0));
    Condition::all().add(Expr::expr(settled).eq(0))
}

fn is_refused() -> Expr {
    in_ledger(ledger::Column::RefusedSince).is_not_null()
}

pub(super) fn has_link() -> Expr {
    Expr::col((overview::Entity, overview::Column::MarketingUrl)).ne("")
}

fn in_ledger(column: ledger::Column) -> Expr {
    Expr::col((ledger::Entity, column))
}
