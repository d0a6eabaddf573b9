//! Whether the tables are as this program needs them; asked at the start and by `check`.

use entity::{block, lease, ledger, overview, pass};
use sea_orm::sea_query::Query;
use sea_orm::{ConnectionTrait, EntityTrait, QuerySelect};

use super::limit::within;
use super::{Store, StoreError};

/// What is wrong with the schema, in words that say what to do.
#[derive(Debug, thiserror::Error)]
pub enum SchemaProblem {
    /// The LMS's table is not there.
    #[error(
        "there is no table course_overviews_courseoverview: is database.url the LMS's database? \
         (for development: course-sharing migrate --create-overview-table)"
    )]
    NoOverviewTable,
    /// It has no such column.
    #[error("course_overviews_courseoverview has no column {0}: run course-sharing migrate")]
    NoColumn(&'static str),
    /// It has no column that `sync.also` names.
    #[error(
        "course_overviews_courseoverview has no column {0}, which sync.also names, or this user may not read it: \
         the LMS's own migrations make the column, ops/ROLLOUT.md has the rights; until then take it out of sync.also \
         (for development: course-sharing migrate --create-overview-table makes a new table with it)"
    )]
    NoAlsoColumn(&'static str),
    /// One of our own tables is not there, or not as it should be.
    #[error("the table {0} is missing or old: run course-sharing migrate")]
    NoTable(&'static str),
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Looks at every column that the program uses.
    ///
    /// # Errors
    /// The first problem.
    pub async fn check_schema(&self) -> Result<(), SchemaProblem> {
        within("answer", self.db.ping()).await?;
        if !self.has::<overview::Entity>(&[overview::Column::Id]).await {
            return Err(SchemaProblem::NoOverviewTable);
        }
        for (column, name) in [
            (overview::Column::MarketingUrl, "marketing_url"),
            (overview::Column::SocialSharingUrl, "social_sharing_url"),
        ] {
            if !self.has::<overview::Entity>(&[column]).await {
                return Err(SchemaProblem::NoColumn(name));
            }
        }
        for column in self.also.iter().map(|column| column.name()) {
            let query =
                Query::select().column((overview::Entity, column)).from(overview::Entity).limit(0).to_owned();
            if self.db.query_all(&query).await.is_err() {
                return Err(SchemaProblem::NoAlsoColumn(column));
            }
        }
        if !self.has::<ledger::Entity>(&all()).await {
            return Err(SchemaProblem::NoTable("course_sharing_ledger"));
        }
        if !self.has::<pass::Entity>(&all()).await {
            return Err(SchemaProblem::NoTable("course_sharing_reconcile"));
        }
        if !self.has::<block::Entity>(&all()).await {
            return Err(SchemaProblem::NoTable("course_sharing_block"));
        }
        if !self.has::<lease::Entity>(&all()).await {
            return Err(SchemaProblem::NoTable("course_sharing_lease"));
        }
        // A database that went away in between must not read as a missing table.
        Ok(within("answer", self.db.ping()).await?)
    }

    /// Whether a query of these columns is understood; it reads no row.
    async fn has<E: EntityTrait>(&self, columns: &[E::Column]) -> bool {
        let query = E::find().select_only().columns(columns.iter().copied()).limit(0);
        self.db.query_all(&sea_orm::QueryTrait::into_query(query)).await.is_ok()
    }
}

fn all<C: sea_orm::Iterable>() -> Vec<C> {
    C::iter().collect()
}
