//! One row a pass over the Catalog: what it saw, what it changed, and how far to believe it.

use sea_orm::entity::prelude::*;

/// A pass, running or done.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "course_sharing_reconcile")]
pub struct Model {
    /// Grows with each pass.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// On the database's clock.
    pub started_at: DateTimeUtc,
    /// When the row was last written; an old one without an end is a pass that was killed.
    pub progress_at: DateTimeUtc,
    /// NULL while it runs, and for ever if it was killed.
    pub finished_at: Option<DateTimeUtc>,
    /// `running`, `complete`, `incomplete`, `refused` (by the brake) or `failed`.
    pub verdict: String,
    /// Runs of the Catalog behind it: the offset of the next page.
    pub position: i64,
    /// Runs a page, as it last was.
    pub page_size: i32,
    /// Runs that the Catalog listed.
    pub listed: i64,
    /// Overviews whose link the pass wrote.
    pub updated: i64,
    /// Overviews whose link the pass cleared.
    pub cleared: i64,
    /// Changes that the mass-change brake held back.
    pub held_back: i64,
    /// Requests, pages and rows that failed.
    pub failures: i64,
    /// The whole report, as JSON.
    #[sea_orm(column_type = "Text")]
    pub report: String,
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
