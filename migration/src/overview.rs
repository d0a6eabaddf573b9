//! The LMS's table: the column that this program needs on it and, in development only, the table itself.
//!
//! Nobody can know beforehand how MySQL or MariaDB adds a column to a table that an LMS is using: that depends on the
//! version, the row format, the indexes and how often columns were added before. The server takes the cheapest way that
//! it can go; what the others would cost is said before.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use crate::planned::{Planned, bounded};

pub(crate) const TABLE: &str = "course_overviews_courseoverview";
const COLUMN: &str = "marketing_url";

/// Bytes that a server writes a second when it builds a table again; disks of databases do more, most of the time.
const BYTES_A_SECOND: u64 = 20_000_000;

/// What has to be done to the LMS's table, by how it stands now.
pub(crate) async fn plan(manager: &SchemaManager<'_>, create: bool) -> Result<Vec<Planned>, DbErr> {
    let backend = manager.get_database_backend();
    if !manager.has_table(TABLE).await? {
        return Ok(if create { whole_table(backend) } else { vec![] });
    }
    if manager.has_column(TABLE, COLUMN).await? {
        return Ok(vec![]);
    }
    let mut about = vec![format!("The LMS's table {TABLE} gets the column {COLUMN}.")];
    let mut alter = format!("ALTER TABLE \"{TABLE}\" ADD COLUMN \"{COLUMN}\" text NULL");
    match backend {
        DbBackend::MySql => {
            let (rows, bytes) = size(manager.get_connection()).await?;
            about.extend(words(rows, bytes));
            // `longtext`, as the LMS's own migration has it.
            alter = format!("ALTER TABLE `{TABLE}` ADD COLUMN `{COLUMN}` longtext NULL");
        }
        DbBackend::Postgres => about.push(
            "PostgreSQL changes its catalogue only, as the column may be NULL and has no default: some milliseconds, \
             whatever the table's size."
                .to_owned(),
        ),
        _ => about.push(
            "SQLite changes its catalogue only: milliseconds. It waits for the one who writes now, if any."
                .to_owned(),
        ),
    }
    Ok(bounded(backend, about, vec![Planned::plain(alter)]))
}

/// What the server may do, and what it costs for a table of this size; a line each.
fn words(rows: u64, bytes: u64) -> [String; 3] {
    let (megabytes, seconds) = (bytes.div_ceil(1_000_000), bytes / BYTES_A_SECOND + 1);
    [
        "The server changes its catalogue only, if it can (INSTANT): some milliseconds, whatever the table's size.".to_owned(),
        "Else it builds the table again (INPLACE, or at worst COPY): while the LMS works if it can, or the LMS's writes WAIT.".to_owned(),
        format!("The table has about {rows} rows and {megabytes} MB, so that would take some {seconds} s on a slow disk."),
    ]
}

/// The table and, on PostgreSQL, the index for LIKE that Django makes beside each key of text: without it a search for
/// the keys of one beginning reads the whole table. Only the columns that this program sees; an LMS makes its own.
fn whole_table(backend: DbBackend) -> Vec<Planned> {
    let mut table = Table::create();
    table
        .table(TABLE)
        .col(ColumnDef::new("id").string_len(255).not_null().primary_key())
        .col(ColumnDef::new(COLUMN).text())
        .col(ColumnDef::new("social_sharing_url").text())
        .col(ColumnDef::new("eligible_for_financial_aid").boolean().not_null().default(true))
        .col(ColumnDef::new("language").text());
    let mut planned = vec![Planned::plain(backend.build(&table).to_string())];
    if backend == DbBackend::Postgres {
        let index = format!("CREATE INDEX \"{TABLE}_id_like\" ON \"{TABLE}\" (\"id\" varchar_pattern_ops)");
        planned.push(Planned::plain(index));
    }
    planned
}

/// The server's estimates of the table's rows, and of the bytes of data and indexes.
async fn size(db: &impl ConnectionTrait) -> Result<(u64, u64), DbErr> {
    let sql = format!(
        "SELECT CAST(COALESCE(TABLE_ROWS, 0) AS SIGNED) AS row_count, \
         CAST(COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0) AS SIGNED) AS bytes \
         FROM information_schema.TABLES t WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{TABLE}'"
    );
    let row = db.query_one_raw(Statement::from_string(DbBackend::MySql, sql)).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound(TABLE.to_owned()))?;
    let number = |name| row.try_get::<i64>("", name).map(i64::unsigned_abs);
    Ok((number("row_count")?, number("bytes")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_alter_may_cost_is_said_beforehand() {
        let text = words(14_000, 210_000_000).join("\n");
        for word in ["INSTANT", "INPLACE", "COPY", "WAIT", "14000 rows", "210 MB", "11 s"] {
            assert!(text.contains(word), "no {word} in {text}");
        }
    }
}
