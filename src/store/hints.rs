//! Up to where the Catalog's changes are known: one row, for all workers.

use entity::hint::{Column, Entity, Model};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel, QueryTrait};

use super::timeout::Limit::Batch;
use super::{Store, StoreError};

/// The row; see [`Model`].
pub type HintPosition = Model;

/// The key of the one row.
const ID: i32 = 1;

impl Store {
    /// Up to where the Catalog's changes are known; none if it was never asked.
    pub async fn hint_position(&self) -> Result<Option<HintPosition>, StoreError> {
        self.db.one("read the position of hints", Batch, &Entity::find_by_id(ID).into_query()).await
    }

    /// Replaces the row.
    pub async fn set_hint_position(&self, row: HintPosition) -> Result<(), StoreError> {
        let columns = [Column::Position, Column::AskedAt, Column::PassDueSince];
        let set = Entity::insert(Model { id: ID, ..row }.into_active_model().reset_all())
            .on_conflict(OnConflict::column(Column::Id).update_columns(columns).to_owned());
        self.db.execute("move the position of hints", Batch, &set.into_query()).await.map(drop)
    }
}
