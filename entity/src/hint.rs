//! Up to where the Catalog's changes are known.

use sea_orm::entity::prelude::*;

/// The one row, for all workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "course_sharing_hint")]
pub struct Model {
    /// Always 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    /// The next question is about changes with this stamp or a later one, by the Catalog's clock.
    pub position: DateTimeUtc,
    /// When the last question was asked whose changes are all published; by the database's clock.
    pub asked_at: DateTimeUtc,
    /// What changed before this time is left to a pass, until one has begun that is later.
    pub pass_due_since: Option<DateTimeUtc>,
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
