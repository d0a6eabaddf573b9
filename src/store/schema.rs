//! Whether the tables are as this program needs them; asked at the start and by `check`.

use entity::{blank, change, dead_letter, failure, hint, lease, ledger, overview, pass};
use sea_orm::sea_query::Query;
use sea_orm::{EntityName, EntityTrait, IdenStatic, Iterable};

use super::error::Refusal;
use super::timeout::Limit;
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
    /// The user may not read it; on MySQL perhaps because it is not there.
    #[error(
        "the database user may not read {0}: see the rights in ops/ROLLOUT.md, or run course-sharing migrate"
    )]
    Denied(&'static str),
    /// The database could not be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Whether the server answers at all.
    pub(crate) async fn answers(&self) -> bool {
        self.db.ping().await.is_ok()
    }

    /// Looks at every column that the program uses.
    ///
    /// # Errors
    /// The first problem.
    pub async fn check_schema(&self) -> Result<(), SchemaProblem> {
        self.db.ping().await?;
        let overviews = overview::Entity.table_name();
        self.has(overviews, ["id"], SchemaProblem::NoOverviewTable).await?;
        for column in ["marketing_url", "social_sharing_url"] {
            self.has(overviews, [column], SchemaProblem::NoColumn(column)).await?;
        }
        for column in self.also.iter().map(|column| column.name()) {
            self.has(overviews, [column], SchemaProblem::NoAlsoColumn(column)).await?;
        }
        self.has_ours::<ledger::Entity>().await?;
        self.has_ours::<pass::Entity>().await?;
        self.has_ours::<lease::Entity>().await?;
        self.has_ours::<hint::Entity>().await?;
        self.has_ours::<blank::Entity>().await?;
        self.has_ours::<failure::Entity>().await?;
        self.has_ours::<dead_letter::Entity>().await?;
        self.has_ours::<change::Entity>().await?;
        // A database that went away in between must not read as a missing table.
        Ok(self.db.ping().await?)
    }

    /// Whether one of our own tables is as its entity says.
    async fn has_ours<E: EntityTrait>(&self) -> Result<(), SchemaProblem> {
        let table = E::default().table_name();
        self.has(table, E::Column::iter().map(|column| column.as_str()), SchemaProblem::NoTable(table)).await
    }

    /// Whether a query of these columns is understood; it reads no row.
    async fn has(
        &self,
        table: &'static str,
        columns: impl IntoIterator<Item = &'static str>,
        otherwise: SchemaProblem,
    ) -> Result<(), SchemaProblem> {
        // With the table's name, as SQLite takes an unknown name in quotes for a text.
        let columns = columns.into_iter().map(|column| (table, column));
        let query = Query::select().columns(columns).from(table).limit(0).take();
        match self.db.rows("look at the tables", Limit::Batch, &query).await {
            Ok(_) => Ok(()),
            Err(error) if error.refusal() == Some(Refusal::Right) => Err(SchemaProblem::Denied(table)),
            Err(error) if error.is_absent() => Err(otherwise),
            // It is silent, say, which says nothing of the table.
            Err(error) => Err(error.into()),
        }
    }
}
