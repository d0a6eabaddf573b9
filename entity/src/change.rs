//! The history of links: each change of one that this program made.

use sea_orm::entity::prelude::*;
use strum::{Display, IntoStaticStr};

/// One change of one overview's link. Of two at the same microsecond the first is kept.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "course_sharing_change")]
pub struct Model {
    /// The overview's id, compared byte for byte on every database.
    #[sea_orm(primary_key, auto_increment = false)]
    pub course_id: String,
    /// When, on the database's clock.
    #[sea_orm(primary_key, auto_increment = false)]
    pub changed_at: DateTimeUtc,
    /// The link before, or its first characters; NULL: there was none.
    pub old_url: Option<String>,
    /// The link after; NULL: it was cleared.
    pub new_url: Option<String>,
    /// What changed it.
    pub changed_by: ChangedBy,
    /// The trace of that, in hexadecimal, where there was one.
    pub trace_id: Option<String>,
}

/// What changes links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, EnumIter, DeriveActiveEnum, Display, IntoStaticStr)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum ChangedBy {
    /// An event.
    Event,
    /// A hint of the Catalog's that the run has changed.
    Hint,
    /// A light pass.
    LightPass,
    /// A full pass.
    FullPass,
    /// The heal.
    Heal,
    /// An operator's command.
    #[default]
    Command,
}

impl ChangedBy {
    /// The word in the table, in JSON and in `explain`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
