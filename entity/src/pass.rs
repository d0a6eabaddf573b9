//! One row a pass over the Catalog: what it saw, what it changed, and how far to believe it.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use strum::{Display, IntoStaticStr, VariantArray};

/// A pass, running or done.
#[derive(Clone, Debug, Default, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "course_sharing_reconcile")]
pub struct Model {
    /// Grows with each pass.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Which of the two it is.
    pub kind: PassKind,
    /// On the database's clock.
    pub started_at: DateTimeUtc,
    /// When the row was last written; an old one without an end is a pass that was killed.
    pub progress_at: DateTimeUtc,
    /// NULL while it runs, and for ever if it was killed.
    pub finished_at: Option<DateTimeUtc>,
    /// How far it is to be believed.
    pub verdict: Verdict,
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

/// The two kinds of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[derive(EnumIter, DeriveActiveEnum, Display, IntoStaticStr, VariantArray)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(8))", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum PassKind {
    /// It asks the Catalog past its cache, so that its answers are the Catalog's own.
    #[default]
    Full,
    /// It reads the list as the Catalog has it in its cache, asks past it for what differs, and clears nothing.
    Light,
}

impl PassKind {
    /// The word in the table, in metrics, in logs and in JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How far a pass is to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[derive(EnumIter, DeriveActiveEnum, Display, IntoStaticStr, VariantArray)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It has not ended, or was killed.
    #[default]
    Running,
    /// Every overview was settled by a whole answer.
    Complete,
    /// Some overview could not be settled.
    Incomplete,
    /// The brake held changes back.
    Refused,
    /// It ended early.
    Failed,
}

impl Verdict {
    /// The word in the table, in metrics, in logs and in JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
