//! The LMS's course overviews: three of some sixty columns, so that no query can touch another. Those of `sync.also`
//! are named by the store, and only where they are configured: others need no right to them.

use sea_orm::entity::prelude::*;

/// One course as the LMS shows it. Ours to read, and to update in the one column `marketing_url`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "course_overviews_courseoverview")]
pub struct Model {
    /// The course key; on MySQL compared without case, accents and trailing blanks.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The link that the LMS shares; readers take `''` for NULL.
    pub marketing_url: Option<String>,
    /// A link of the course team's own, which goes before ours. Never written.
    pub social_sharing_url: Option<String>,
}

/// None are declared: the LMS's schema is its own affair.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
