//! Look-ups of a single run that failed: what `explain` says of a run that the Catalog cannot show.

use sea_orm::entity::prelude::*;

/// The last one of a run. It says nothing any more once the ledger has a later answer.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "course_sharing_failure")]
pub struct Model {
    /// The Catalog's key, compared byte for byte on every database.
    #[sea_orm(primary_key, auto_increment = false)]
    pub run_key: String,
    /// When the question was asked, on the database's clock.
    pub failed_at: DateTimeUtc,
    /// What came, in a line of at most 320 characters.
    pub why: String,
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
