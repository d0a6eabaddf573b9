//! The tables as SeaORM entities: our own eight, and the three columns of the LMS's that the program may see.

pub mod blank;
pub mod change;
pub mod dead_letter;
pub mod ledger;
pub mod pass;

/// Look-ups of a single run that failed: what `explain` says of a run that the Catalog cannot show.
pub mod failure {
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

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Up to where the Catalog's changes are known.
pub mod hint {
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

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// Who may do a scheduled job now, when several workers run.
pub mod lease {
    use sea_orm::entity::prelude::*;

    /// One job and its holder.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "course_sharing_lease")]
    pub struct Model {
        /// As in `reconcile`, `heal` or `hints`.
        #[sea_orm(primary_key, auto_increment = false)]
        pub job: String,
        /// The worker or the command: its process and a random part; of a worker with its host.
        pub holder: String,
        /// On the database's clock; after it anybody may take the job.
        pub expires_at: DateTimeUtc,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

/// The LMS's course overviews: three of some sixty columns, so that no query can touch another. Those of `sync.also`
/// are named by the store, and only where they are configured: others need no right to them.
pub mod overview {
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

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
