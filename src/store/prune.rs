//! What the ledger and the table of passes need not keep for ever: rows of runs that nobody has any more, and of passes
//! of long ago. Each statement deletes a batch.

use chrono::{DateTime, TimeDelta, Utc};
use entity::{failure, ledger, pass};
use sea_orm::sea_query::{Condition, Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait};

use super::timeout::Limit::{Batch, Table};
use super::{MAX_ROWS, PassKind, Store, StoreError, Verdict, keys};
use crate::model::course_key::{CourseKey, RunKey};

const PRUNE: &str = "prune the ledger";
/// For how long a run has not been listed before its row goes.
const UNLISTED: TimeDelta = TimeDelta::days(90);
/// For how long the rows of passes of each kind are kept.
const PASSES: [(PassKind, TimeDelta); 2] =
    [(PassKind::Full, TimeDelta::days(365)), (PassKind::Light, TimeDelta::days(7))];

/// What one batch came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunedRuns {
    /// Rows of the ledger that are gone.
    pub runs: u64,
    /// Where the next batch begins, if this was not the last.
    pub next: Option<String>,
}

impl Store {
    /// Deletes the next of the ledger's rows, in the order of their keys after `after`, whose run has not been listed
    /// for 90 days and has no overview, nor a custom course with one. A failed look-up of such a run goes with it.
    ///
    /// That the Catalog does not list a run is known by a complete full pass alone: a row stays until one has begun so
    /// long after the run was last seen.
    pub async fn prune_runs(&self, after: Option<&str>) -> Result<PrunedRuns, StoreError> {
        let Some(pass) = self.last_ended(Some(Verdict::Complete)).await? else {
            return Ok(PrunedRuns::default());
        };
        let before = pass.started_at - UNLISTED;
        let old = self.old_runs(before, after).await?;
        let next = (old.len() == MAX_ROWS).then(|| old.last().cloned()).flatten();
        // A key that does not parse was put there by hand, and stays.
        let courses: Vec<CourseKey> =
            old.iter().filter_map(|key| CourseKey::parse(key).ok().filter(|c| c.as_str() == key)).collect();
        let unused = self.without_overview(&courses).await?;
        let mut runs = 0;
        for unused in keys::fitting(&unused, |run| keys::key_bytes(run.as_str())) {
            runs += self.delete_runs(unused, before).await?;
        }
        Ok(PrunedRuns { runs, next })
    }

    async fn old_runs(&self, before: DateTime<Utc>, after: Option<&str>) -> Result<Vec<String>, StoreError> {
        let old = ledger::Entity::find()
            .select_only()
            .column(ledger::Column::RunKey)
            .filter(seen_before(before))
            .filter(Condition::all().add_option(after.map(|after| ledger::Column::RunKey.gt(after))))
            .order_by_asc(ledger::Column::RunKey)
            .limit(MAX_ROWS as u64);
        self.db.values("find old runs", Table, &old.into_query()).await
    }

    /// The runs of these courses that no overview follows.
    async fn without_overview(&self, courses: &[CourseKey]) -> Result<Vec<RunKey>, StoreError> {
        let (own, custom) = tokio::try_join!(self.overviews(courses), self.custom_courses_of(courses))?;
        let parents: Vec<RunKey> = custom.iter().map(CourseKey::run_key).collect();
        let unused = courses.iter().filter(|course| !own.contains_key(*course)).map(CourseKey::own_key);
        Ok(unused.filter(|run| !parents.contains(run)).collect())
    }

    /// Deletes these rows, and the failed look-ups of runs that are gone with them. Returns how many rows.
    async fn delete_runs(&self, runs: &[RunKey], before: DateTime<Utc>) -> Result<u64, StoreError> {
        let backend = self.backend();
        let among = |column: Expr| keys::one_of(backend, column, runs.iter().map(RunKey::as_str));
        let of_ledger = Expr::col((ledger::Entity, ledger::Column::RunKey));
        let rows = ledger::Entity::delete_many().filter(among(of_ledger.clone())).filter(seen_before(before));
        let of_failure = Expr::col((failure::Entity, failure::Column::RunKey));
        let mut kept = Query::select();
        kept.expr(Expr::cust("1")).from(ledger::Entity).and_where(of_ledger.eq(of_failure.clone()));
        let failures =
            failure::Entity::delete_many().filter(among(of_failure)).filter(Expr::exists(kept).not());
        let deleted = self.db.execute(PRUNE, Batch, &rows.into_query()).await?;
        self.db.execute(PRUNE, Batch, &failures.into_query()).await?;
        Ok(deleted)
    }

    /// Deletes the rows of full passes of more than a year ago, and of light ones of more than a week, but not that of the
    /// last pass of each kind, nor of the last complete one. Returns how many.
    pub async fn prune_passes(&self) -> Result<u64, StoreError> {
        let now = self.now().await?;
        let last = [self.last_ended(None).await?, self.last_ended(Some(Verdict::Complete)).await?];
        let mut last: Vec<i64> = last.into_iter().flatten().map(|pass| pass.id).collect();
        let mut old = Condition::any();
        for (kind, kept) in PASSES {
            last.extend(self.last_passes(kind, 1).await?.iter().map(|pass| pass.id));
            let of_kind = Condition::all().add(pass::Column::Kind.eq(kind));
            old = old.add(of_kind.add(pass::Column::ProgressAt.lt(now - kept)));
        }
        let old = Condition::all().add(old).add(pass::Column::Id.is_not_in(last));
        self.delete::<pass::Entity>("prune passes", pass::Column::Id, old).await
    }

    /// Deletes the rows to which this applies, some in a statement, by their numbers. Returns how many.
    pub(super) async fn delete<E: EntityTrait>(
        &self,
        doing: &'static str,
        id: E::Column,
        which: Condition,
    ) -> Result<u64, StoreError> {
        let mut deleted = 0;
        loop {
            let some = E::find().select_only().column(id).filter(which.clone()).limit(MAX_ROWS as u64);
            let ids: Vec<i64> = self.db.values(doing, Batch, &some.order_by_asc(id).into_query()).await?;
            if ids.is_empty() {
                return Ok(deleted);
            }
            let delete = E::delete_many().filter(id.is_in(ids));
            deleted += self.db.execute(doing, Batch, &delete.into_query()).await?;
        }
    }
}

/// Whether a row's run was last seen before then. Said again where the row is deleted: it may have been seen meanwhile.
fn seen_before(before: DateTime<Utc>) -> Expr {
    Expr::col((ledger::Entity, ledger::Column::ObservedAt)).lt(before)
}
