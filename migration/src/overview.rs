//! The LMS's table: the column that this program needs on it and, in development only, the table itself.
//!
//! Nobody can know beforehand how MySQL or MariaDB adds a column to a table that an LMS is using: that depends on the
//! version, the row format, the indexes and how often columns were added before. So it is asked for the cheapest way
//! first, with the clause by which it refuses rather than do something slower.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use crate::planned::{Planned, bounded};

pub(crate) const TABLE: &str = "course_overviews_courseoverview";
const COLUMN: &str = "marketing_url";

/// Bytes that a server writes a second when it builds a table again; disks of databases do more, most of the time.
const BYTES_A_SECOND: u64 = 20_000_000;

/// The ways, the cheapest first: the clause, and what it costs.
const WAYS: [(&str, &str); 4] = [
    ("ALGORITHM=INSTANT", "only the catalogue changes: some milliseconds, whatever the table's size"),
    ("ALGORITHM=INPLACE, LOCK=NONE", "the table is built again, and the LMS reads and writes it meanwhile"),
    ("ALGORITHM=INPLACE, LOCK=SHARED", "the same, and the LMS's writes WAIT until the end"),
    ("ALGORITHM=COPY", "the table is copied, and the LMS's writes WAIT until the end"),
];

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
    let mut alter = Planned::plain(format!("ALTER TABLE \"{TABLE}\" ADD COLUMN \"{COLUMN}\" text NULL"));
    match backend {
        DbBackend::MySql => {
            let (rows, bytes) = size(manager.get_connection()).await?;
            about.extend(words(rows, bytes));
            // `longtext`, as the LMS's own migration has it.
            let mut ways = WAYS.iter().map(|(clause, _)| {
                format!("ALTER TABLE `{TABLE}` ADD COLUMN `{COLUMN}` longtext NULL, {clause}")
            });
            let sql = ways.next().unwrap_or_default();
            alter = Planned { sql, or: ways.collect(), note: Vec::new() };
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
    Ok(bounded(backend, about, vec![alter]))
}

/// What is going to be tried, and what it costs for a table of this size; a line each.
fn words(rows: u64, bytes: u64) -> Vec<String> {
    let (megabytes, seconds) = (bytes.div_ceil(1_000_000), bytes / BYTES_A_SECOND + 1);
    let mut lines = vec![
        "The server is asked for these ways, in this order, and takes the first that it can go:".to_owned(),
    ];
    lines.extend(WAYS.iter().map(|(clause, cost)| format!("  {clause}: {cost}.")));
    lines.push(format!(
        "The table has about {rows} rows and {megabytes} MB, so all but the first take some {seconds} s on a slow disk."
    ));
    lines
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
    fn the_ways_and_what_they_cost_are_said_beforehand() {
        let text = words(14_000, 210_000_000).join("\n");
        for word in ["INSTANT", "LOCK=NONE", "LOCK=SHARED", "COPY", "WAIT", "14000 rows", "210 MB", "11 s"] {
            assert!(text.contains(word), "no {word} in {text}");
        }
    }
}
