//! The LMS's table: the column that this program needs on it and, in development only, the table itself.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::ConnectionTrait;

const TABLE: &str = "course_overviews_courseoverview";
const COLUMN: &str = "marketing_url";

/// What has to be done to the LMS's table, by how it stands now.
pub(crate) async fn plan(manager: &SchemaManager<'_>, create: bool) -> Result<Vec<String>, DbErr> {
    let backend = manager.get_database_backend();
    if !manager.has_table(TABLE).await? {
        // Only the columns that this program sees; an LMS makes its own.
        let mut table = Table::create();
        table
            .table(TABLE)
            .col(ColumnDef::new("id").string_len(255).not_null().primary_key())
            .col(ColumnDef::new(COLUMN).text())
            .col(ColumnDef::new("social_sharing_url").text())
            .col(ColumnDef::new("eligible_for_financial_aid").boolean().not_null().default(true))
            .col(ColumnDef::new("language").text());
        return Ok(if create {
            vec![manager.get_connection().get_database_backend().build(&table).to_string()]
        } else {
            vec![]
        });
    }
    if manager.has_column(TABLE, COLUMN).await? {
        return Ok(vec![]);
    }
    // `longtext` on MySQL, as the LMS's own migration has it. New last columns are added instantly there.
    let kind = if backend == sea_orm_migration::sea_orm::DbBackend::MySql { "longtext" } else { "text" };
    let add = Table::alter().table(TABLE).add_column(ColumnDef::new(COLUMN).custom(kind).null()).to_owned();
    Ok(vec![backend.build(&add).to_string()])
}
