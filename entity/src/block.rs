//! Blocks of the Catalog's list: neighbouring runs that one digest vouches for.

use sea_orm::entity::prelude::*;

/// One block, as the list had it. It is whole in the ledger while as many rows name it as it has runs.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "course_sharing_block")]
pub struct Model {
    /// The first eight bytes of a SHA-256 over its runs' keys and what the Catalog said of each.
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: i64,
    /// How many runs it has.
    pub runs: i32,
    /// When it was last asked for and found on the list, on the database's clock.
    pub seen_at: DateTimeUtc,
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
