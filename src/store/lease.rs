//! Leases for scheduled jobs: a row with a holder and an end, on the database's clock. Renew one while doing the job, and
//! release it after.

use std::time::Duration;

use chrono::{DateTime, Utc};
pub use entity::lease::Model as LeaseRow;
use entity::lease::{ActiveModel, Column, Entity, Model};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
};

use super::timeout::Limit::Batch;
use super::{Store, StoreError};

impl Store {
    /// Takes or renews the lease for `job` until `for_how_long` from now. False if another holder has it.
    pub async fn acquire(&self, job: &str, holder: &str, for_how_long: Duration) -> Result<bool, StoreError> {
        let now = self.now().await?;
        let expires_at = now + for_how_long;
        let doing = "take a lease";
        let taking = Entity::update_many()
            .col_expr(Column::Holder, holder.into())
            .col_expr(Column::ExpiresAt, expires_at.into())
            .filter(Column::Job.eq(job))
            .filter(Condition::any().add(Column::Holder.eq(holder)).add(Column::ExpiresAt.lt(now)));
        let taken = self.db.execute(doing, Batch, &taking.into_query()).await?;
        if taken == 1 {
            return Ok(true);
        }
        let row = ActiveModel {
            job: Set(job.to_owned()),
            holder: Set(holder.to_owned()),
            expires_at: Set(expires_at),
        };
        // `job = job` does nothing where another worker's row is there already, on all three databases.
        let inserting = Entity::insert(row)
            .on_conflict(OnConflict::column(Column::Job).update_column(Column::Job).to_owned());
        self.db.execute(doing, Batch, &inserting.into_query()).await?;
        let ours = self.db.one::<Model>(doing, Batch, &Entity::find_by_id(job).into_query()).await?;
        Ok(ours.is_some_and(|row| row.holder == holder && row.expires_at > now))
    }

    /// Who holds the lease for `job`, and until when; none if it is free.
    pub async fn holder(&self, job: &str) -> Result<Option<(String, DateTime<Utc>)>, StoreError> {
        let now = self.now().await?;
        let find = Entity::find_by_id(job).into_query();
        let row = self.db.one::<Model>("read a lease", Batch, &find).await?;
        Ok(row.filter(|row| row.expires_at > now).map(|row| (row.holder, row.expires_at)))
    }

    /// Every job that ever had a lease, with its last holder and the end of that lease.
    pub async fn leases(&self) -> Result<Vec<LeaseRow>, StoreError> {
        let all = Entity::find().order_by_asc(Column::Job).limit(100);
        self.db.all("read the leases", Batch, &all.into_query()).await
    }

    /// Gives a lease back, so that another may take it at once.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] if it had run out and was taken over: two may have done the job.
    pub async fn release(&self, job: &str, holder: &str) -> Result<(), StoreError> {
        let now = self.now().await?;
        let releasing = Entity::update_many()
            .col_expr(Column::ExpiresAt, now.into())
            .filter(Column::Job.eq(job))
            .filter(Column::Holder.eq(holder));
        let released = self.db.execute("release a lease", Batch, &releasing.into_query()).await?;
        if released == 1 {
            return Ok(());
        }
        Err(StoreError::LeaseLost { job: job.to_owned(), holder: holder.to_owned() })
    }
}
