//! Who may do a scheduled job now, when several workers run.

use sea_orm::entity::prelude::*;

/// One job and its holder.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "course_sharing_lease")]
pub struct Model {
    /// `reconcile` or `heal`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub job: String,
    /// The worker: host, process and a random part.
    pub holder: String,
    /// On the database's clock; after it anybody may take the job.
    pub expires_at: DateTimeUtc,
}

/// None.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
