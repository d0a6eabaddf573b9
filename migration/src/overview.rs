//! The LMS's table: the column that this program needs on it and, in development only, the table itself.
//!
//! The LMS is using that table. Whoever waits for a lock on it makes the LMS's own statements wait in line behind,
//! so the wait is short, and what follows it is what was said beforehand, or an error.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{
    ConnectionTrait, DbBackend, DbErr, Statement, TransactionSession, TransactionTrait,
};

use crate::alter::{Size, WAYS, is_refused, words};
use crate::{MigrateError, Planned};

pub(crate) const TABLE: &str = "course_overviews_courseoverview";
const COLUMN: &str = "marketing_url";

/// The longest that anybody waits in line behind our ALTER.
pub(crate) const LOCK_WAIT_SECONDS: u32 = 5;

/// What has to be done to the LMS's table, by how it stands now.
pub(crate) async fn plan(manager: &SchemaManager<'_>, create: bool) -> Result<Vec<Planned>, DbErr> {
    if !manager.has_table(TABLE).await? {
        return Ok(if create { whole_table(manager.get_database_backend()) } else { vec![] });
    }
    if manager.has_column(TABLE, COLUMN).await? {
        return Ok(vec![]);
    }
    match manager.get_database_backend() {
        DbBackend::MySql => {
            let size = size(manager.get_connection()).await?;
            // `longtext`, as the LMS's own migration has it.
            let alter =
                |clause: &str| format!("ALTER TABLE `{TABLE}` ADD COLUMN `{COLUMN}` longtext NULL, {clause}");
            let limit = format!("SET SESSION lock_wait_timeout = {LOCK_WAIT_SECONDS}");
            let note = [words(size), waiting("a metadata lock")].concat();
            let mut ways = WAYS.iter().map(|(clause, _)| alter(clause));
            let first = ways.next().unwrap_or_default();
            let or = ways.collect();
            Ok(bounded(&limit, note, first, or, "SET SESSION lock_wait_timeout = DEFAULT"))
        }
        DbBackend::Postgres => {
            let cost = "PostgreSQL changes its catalogue only, as the column may be NULL and has no default: some \
                        milliseconds, whatever the table's size.";
            let note = [vec![cost.to_owned()], waiting("ACCESS EXCLUSIVE")].concat();
            let alter = format!("ALTER TABLE \"{TABLE}\" ADD COLUMN \"{COLUMN}\" text NULL");
            let limit = format!("SET lock_timeout = '{LOCK_WAIT_SECONDS}s'");
            Ok(bounded(&limit, note, alter, Vec::new(), "RESET lock_timeout"))
        }
        _ => {
            let note = "SQLite changes its catalogue only: milliseconds. It waits for the one who writes now, if any.";
            let alter = format!("ALTER TABLE \"{TABLE}\" ADD COLUMN \"{COLUMN}\" text NULL");
            Ok(vec![Planned { note: vec![about(), note.to_owned()], sql: alter, or: Vec::new() }])
        }
    }
}

fn bounded(limit: &str, note: Vec<String>, alter: String, or: Vec<String>, back: &str) -> Vec<Planned> {
    let note = [vec![about()], note].concat();
    vec![
        Planned { note, sql: limit.to_owned(), or: Vec::new() },
        Planned { note: Vec::new(), sql: alter, or },
        Planned::plain(back.to_owned()),
    ]
}

fn about() -> String {
    format!("The LMS's table {TABLE} gets the column {COLUMN}.")
}

pub(crate) fn waiting(lock: &str) -> Vec<String> {
    vec![
        format!(
            "It needs the table to itself for that moment ({lock}), so it waits for transactions that use it,"
        ),
        format!(
            "and the LMS's own statements wait behind it: {LOCK_WAIT_SECONDS} s at most, then it gives up and"
        ),
        "nothing has changed.".to_owned(),
    ]
}

/// The table and, on PostgreSQL, the index for LIKE that Django makes beside each key of text: without it whoever looks
/// for the keys of one beginning reads the whole table.
fn whole_table(backend: DbBackend) -> Vec<Planned> {
    let mut planned = vec![Planned::plain(table(backend))];
    if backend == DbBackend::Postgres {
        let index = format!("CREATE INDEX \"{TABLE}_id_like\" ON \"{TABLE}\" (\"id\" varchar_pattern_ops)");
        planned.push(Planned::plain(index));
    }
    planned
}

/// Only the columns that this program sees; an LMS makes its own.
fn table(backend: DbBackend) -> String {
    let mut table = Table::create();
    table
        .table(TABLE)
        .col(ColumnDef::new("id").string_len(255).not_null().primary_key())
        .col(ColumnDef::new(COLUMN).text())
        .col(ColumnDef::new("social_sharing_url").text())
        .col(ColumnDef::new("eligible_for_financial_aid").boolean().not_null().default(true))
        .col(ColumnDef::new("language").text());
    backend.build(&table).to_string()
}

/// Executes what was planned, on one connection, as a limit is the connection's. Returns the statement by which the
/// column came, where there was one.
pub(crate) async fn execute<C: TransactionTrait>(
    db: &C,
    planned: &[Planned],
) -> Result<Option<String>, MigrateError> {
    if planned.is_empty() {
        return Ok(None);
    }
    // On MySQL the ALTER commits by itself; elsewhere a failure takes the limit back with the rest.
    let connection = db.begin().await?;
    let mut altered = None;
    for step in planned {
        match first_taken(&connection, step).await {
            Ok(taken) if taken.starts_with("ALTER") => altered = Some(taken.to_owned()),
            Ok(_) => {}
            Err(error) => {
                if let (DbBackend::MySql, Some(back)) = (connection.get_database_backend(), planned.last()) {
                    let _ = connection.execute_unprepared(&back.sql).await;
                }
                let _ = connection.rollback().await;
                return Err(error);
            }
        }
    }
    connection.commit().await?;
    Ok(altered)
}

/// Executes the first of the step's statements that the server does not refuse. Returns that one.
async fn first_taken<'s, C: ConnectionTrait>(db: &C, step: &'s Planned) -> Result<&'s str, MigrateError> {
    let mut sql = step.sql.as_str();
    let mut others = step.or.iter();
    loop {
        match db.execute_unprepared(sql).await {
            Ok(_) => return Ok(sql),
            Err(error) if is_refused(&error) => match others.next() {
                Some(next) => sql = next,
                None => return Err(MigrateError::of_alter(error, sql)),
            },
            Err(error) => return Err(MigrateError::of_alter(error, sql)),
        }
    }
}

async fn size(db: &impl ConnectionTrait) -> Result<Size, DbErr> {
    let sql = format!(
        "SELECT CAST(COALESCE(TABLE_ROWS, 0) AS SIGNED) AS row_count, \
         CAST(COALESCE(DATA_LENGTH, 0) + COALESCE(INDEX_LENGTH, 0) AS SIGNED) AS bytes \
         FROM information_schema.TABLES t WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{TABLE}'"
    );
    let row = db.query_one_raw(Statement::from_string(DbBackend::MySql, sql)).await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound(TABLE.to_owned()))?;
    let number = |name| row.try_get::<i64>("", name).map(i64::unsigned_abs);
    Ok(Size { rows: number("row_count")?, bytes: number("bytes")? })
}
