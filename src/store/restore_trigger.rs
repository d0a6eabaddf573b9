//! How the restore trigger on the LMS's table stands, for `check`.

use migration::restore_trigger::{self, State};

use super::pool::Pool;
use super::timeout::Limit;
use super::{Store, StoreError};

const DOING: &str = "look for the restore trigger";

impl Store {
    /// How the restore trigger stands, as far as this user can see.
    pub async fn restore_trigger(&self) -> Result<State, StoreError> {
        let look = |pool: Pool| async move {
            restore_trigger::state(&pool.db).await.map_err(StoreError::doing(DOING))
        };
        self.db.with_timeout(DOING, Limit::Batch, look).await
    }
}
