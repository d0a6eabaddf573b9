//! Which overviews have no link: what a page can list without looking through the LMS's table.

use sea_orm::entity::prelude::*;
use strum::{Display, IntoStaticStr, VariantArray};

/// One overview without a link, as it was last looked at.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "course_sharing_blank")]
pub struct Model {
    /// The overview's id, compared byte for byte on every database; not always the key of a course run.
    #[sea_orm(primary_key, auto_increment = false)]
    pub course_id: String,
    /// When it was first seen without a link, on the database's clock.
    pub since: DateTimeUtc,
    /// Why.
    pub reason: Reason,
}

/// Why an overview has no link. Each blank one has exactly one reason, by the first of these that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[derive(EnumIter, DeriveActiveEnum, Display, IntoStaticStr, VariantArray)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// Its id is the key of no course run: it can have no page.
    NoRun,
    /// As [`Self::Restorable`], and the Catalog has said once that the page is gone.
    PendingClear,
    /// The ledger has a URL for it, which the next heal brings.
    Restorable,
    /// A dead letter is about it, and the Catalog has not been asked since.
    DeadLettered,
    /// The Catalog has never said anything of it that could be used: not asked yet, or out.
    NoAnswer,
    /// The Catalog lists it with a URL that must not be shared.
    Refused,
    /// The Catalog lists it, explicitly without a page.
    NoPage,
    /// The Catalog does not list it, and an event about it may still be waiting for that.
    NotListedYet,
    /// The Catalog does not list it, and no event waits for it any more.
    NotInCatalog,
}

impl Reason {
    /// The word in the table, in metrics and in JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// True where it is right that there is no link: there is no page that it could lead to.
    pub fn is_right(self) -> bool {
        matches!(self, Self::NoRun | Self::NoPage)
    }

    /// For people: what it means, and what comes of it.
    pub fn explained(self) -> &'static str {
        match self {
            Self::NoRun => "the id is no course run's; there is no page to link to",
            Self::PendingClear => {
                "heal brings the last known URL back; the Catalog has said once that the page is gone"
            }
            Self::Restorable => "heal brings the last known URL back",
            Self::DeadLettered => "a message about it is a dead letter, and the Catalog was not asked since",
            Self::NoAnswer => "the Catalog has not been asked, or gave no answer that can be used",
            Self::Refused => "the Catalog lists a URL that must not be shared; it has to be mended there",
            Self::NoPage => "the Catalog lists the run without a page",
            Self::NotListedYet => "the Catalog does not list the run yet; it is asked again",
            Self::NotInCatalog => "the Catalog does not list the run",
        }
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
