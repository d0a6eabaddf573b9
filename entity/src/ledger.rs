//! What is known of each run of the Catalog: the memory that a wiped overview is restored from.

use sea_orm::entity::prelude::*;
use strum::{Display, IntoStaticStr};

/// One catalog run. The URL in force is `marketing_url` while `cleared_at` is NULL, and none after that.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "course_sharing_ledger")]
pub struct Model {
    /// The Catalog's key, compared byte for byte on every database.
    #[sea_orm(primary_key, auto_increment = false)]
    pub run_key: String,
    /// The last URL that the Catalog confirmed; kept even after a clear.
    pub marketing_url: Option<String>,
    /// Whether the last whole answer of the Catalog had the run in it.
    pub listed: bool,
    /// Since when the Catalog has said, without a break, that the run has no page.
    pub pending_clear_since: Option<DateTimeUtc>,
    /// When the clear came into force.
    pub cleared_at: Option<DateTimeUtc>,
    /// When the URL in force last changed.
    pub changed_at: Option<DateTimeUtc>,
    /// When the question was asked whose answer this row holds, on the database's clock.
    pub observed_at: DateTimeUtc,
    /// What asked.
    pub observed_by: ObservedBy,
    /// The last value that the Catalog gave for the overview's column of this name.
    pub eligible_for_financial_aid: Option<bool>,
    /// The same of this column.
    pub language: Option<String>,
    /// The URL that the Catalog lists, where it is not fit to be shared; for the eye only.
    pub refused_url: Option<String>,
    /// Why it is not.
    pub refused_why: Option<String>,
    /// Since when the Catalog lists it, as far as it was seen; NULL: it lists no such URL.
    pub refused_since: Option<DateTimeUtc>,
}

/// What asked the Catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, DeriveActiveEnum, Display, IntoStaticStr)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ObservedBy {
    /// An event.
    Event,
    /// A pass.
    Pass,
    /// An operator's command.
    Command,
}

impl ObservedBy {
    /// The word in the table and in `explain`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
