//! The rows of passes.

use chrono::TimeDelta;
use entity::pass;
pub use entity::pass::{PassKind, Verdict};
use sea_orm::{
    ActiveModelTrait, ActiveValue::NotSet, ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait,
};

use super::pool::Pool;
use super::timeout::Limit::Batch;
use super::{Store, StoreError};

/// The row of one pass; see [`pass::Model`].
pub type PassRow = pass::Model;

impl Store {
    /// A new row for a pass that starts now.
    pub async fn begin_pass(&self, kind: PassKind, page_size: i32) -> Result<PassRow, StoreError> {
        let now = self.now().await?;
        let report = "{}".to_owned();
        let row =
            PassRow { kind, started_at: now, progress_at: now, page_size, report, ..PassRow::default() };
        let row = pass::ActiveModel { id: NotSet, ..pass::ActiveModel::from(row).reset_all() };
        let doing = "begin a pass";
        let begin = move |pool: Pool| {
            let row = row.clone();
            async move { row.insert(&pool.db).await.map_err(StoreError::doing(doing)) }
        };
        self.db.with_timeout(doing, Batch, begin).await
    }

    /// Writes the row as it is now, and brings its `progress_at` up to date.
    ///
    /// # Errors
    /// [`StoreError::PassTakenOver`] if the row has an end, or another has written it since this one was read or
    /// written.
    pub async fn save_pass(&self, row: &mut PassRow) -> Result<(), StoreError> {
        let before = row.progress_at;
        // Later than before in any case: another process that writes the row is recognised by it.
        row.progress_at = self.now().await?.max(before + TimeDelta::microseconds(1));
        let changed = pass::ActiveModel::from(row.clone()).reset_all();
        // Or as it is now: written by an earlier try, whose answer was lost.
        let ours =
            Condition::all().add(pass::Column::ProgressAt.eq(before)).add(pass::Column::FinishedAt.is_null());
        let again = pass::Column::ProgressAt.eq(row.progress_at);
        let save = pass::Entity::update_many()
            .set(changed)
            .filter(pass::Column::Id.eq(row.id))
            .filter(Condition::any().add(ours).add(again));
        match self.db.execute("write a pass", Batch, &save.into_query()).await? {
            0 => Err(StoreError::PassTakenOver { pass: row.id }),
            _ => Ok(()),
        }
    }

    /// The newest passes of this kind or of both, newest first.
    pub async fn last_passes(
        &self,
        kind: impl Into<Option<PassKind>>,
        limit: u64,
    ) -> Result<Vec<PassRow>, StoreError> {
        let kind = kind.into().map(|kind| pass::Column::Kind.eq(kind));
        let newest = pass::Entity::find()
            .filter(Condition::all().add_option(kind))
            .order_by_desc(pass::Column::Id)
            .limit(limit);
        self.db.all("read passes", Batch, &newest.into_query()).await
    }

    /// The newest full pass that has ended, whatever its verdict or with this one; none if there is none.
    pub async fn last_ended(&self, verdict: Option<Verdict>) -> Result<Option<PassRow>, StoreError> {
        let mut ended = pass::Entity::find()
            .filter(pass::Column::Kind.eq(PassKind::Full))
            .filter(pass::Column::FinishedAt.is_not_null());
        if let Some(verdict) = verdict {
            ended = ended.filter(pass::Column::Verdict.eq(verdict));
        }
        let last = ended.order_by_desc(pass::Column::Id).limit(1).into_query();
        self.db.one("read the last pass", Batch, &last).await
    }
}
