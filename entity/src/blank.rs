//! Which overviews have no link: what a page can list without looking through the LMS's table.

use sea_orm::entity::prelude::*;

/// One overview without a link, as it was last looked at.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "course_sharing_blank")]
pub struct Model {
    /// The overview's id, compared byte for byte on every database; not always the key of a course run.
    #[sea_orm(primary_key, auto_increment = false)]
    pub course_id: String,
    /// When it was first seen without a link, on the database's clock.
    pub since: DateTimeUtc,
    /// Why, in one word.
    pub reason: String,
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
