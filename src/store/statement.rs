//! One statement, with a span by OpenTelemetry's conventions for databases where it is part of a trace.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, QueryResult, Statement};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::error::{COMMIT, code};
use crate::telemetry::traces::{self, count};

/// Runs one statement that reads. Returns its rows.
pub(super) async fn query(
    db: &impl ConnectionTrait,
    doing: &'static str,
    statement: Statement,
) -> Result<Vec<QueryResult>, DbErr> {
    let span = span(db.get_database_backend(), doing, Some(&statement.sql));
    let rows = db.query_all_raw(statement).instrument(span.clone()).await;
    let rows = rows.inspect_err(|error| fail(&span, error))?;
    span.record("db.response.returned_rows", count(rows.len()));
    Ok(rows)
}

/// Runs one statement that writes. Returns how many rows it wrote, or on MySQL found.
pub(super) async fn execute(
    db: &impl ConnectionTrait,
    doing: &'static str,
    statement: Statement,
) -> Result<u64, DbErr> {
    let span = span(db.get_database_backend(), doing, Some(&statement.sql));
    let done = db.execute_raw(statement).instrument(span.clone()).await;
    let rows = done.inspect_err(|error| fail(&span, error))?.rows_affected();
    span.record("course_sharing.rows_written", count(rows));
    Ok(rows)
}

/// Commits. Its span shows when the rows were there to be read.
pub(super) async fn commit(transaction: DatabaseTransaction) -> Result<(), DbErr> {
    let span = span(transaction.get_database_backend(), COMMIT, None);
    let done = transaction.commit().instrument(span.clone()).await;
    done.inspect_err(|error| fail(&span, error))
}

fn span(backend: DbBackend, doing: &'static str, sql: Option<&str>) -> Span {
    if !traces::is_running() {
        return Span::none();
    }
    let system = match backend {
        DbBackend::MySql => "mysql",
        DbBackend::Postgres => "postgresql",
        _ => "sqlite",
    };
    let (operation, table) = sql.map_or((Some("COMMIT"), None), operation_and_table);
    tracing::info_span!(
        "statement",
        otel.name = doing,
        otel.kind = "client",
        db.system.name = system,
        db.operation.name = operation,
        db.collection.name = table,
        db.query.summary = doing,
        db.response.returned_rows = Empty,
        db.response.status_code = Empty,
        course_sharing.rows_written = Empty,
    )
}

fn fail(span: &Span, error: &DbErr) {
    let code = code(error);
    span.record("db.response.status_code", code.as_deref());
    traces::fail(span, code.as_deref().unwrap_or("_OTHER"), error);
}

/// What a statement of this program does, and the table it does it to: the first that it names.
fn operation_and_table(sql: &str) -> (Option<&str>, Option<&str>) {
    let mut words = sql.split([' ', ',', '(', ')']).filter(|word| !word.is_empty());
    let operation = match words.next() {
        Some("WITH") => words.find(|word| matches!(*word, "UPDATE" | "INSERT" | "DELETE" | "SELECT")),
        first => first,
    };
    let table = match operation {
        Some("UPDATE") => words.next(),
        _ => words.find(|word| matches!(*word, "FROM" | "INTO")).and_then(|_| words.next()),
    };
    (operation, table.map(|table| table.trim_matches(['"', '`'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_known_by_its_first_word_and_its_first_table() {
        for (sql, operation, table) in [
            (r#"SELECT "a", "b" FROM "runs" WHERE "a" IN ($1, $2)"#, "SELECT", Some("runs")),
            ("SELECT COUNT(*) FROM `runs`", "SELECT", Some("runs")),
            ("INSERT INTO `runs` (`a`) VALUES (?)", "INSERT", Some("runs")),
            (r#"DELETE FROM "runs""#, "DELETE", Some("runs")),
            (r#"UPDATE "overviews" SET "a" = $1 FROM (SELECT * FROM "runs")"#, "UPDATE", Some("overviews")),
            (
                r#"WITH "a" ("b") AS (UPDATE "overviews" SET "c" = $1) SELECT 1 FROM "a""#,
                "UPDATE",
                Some("overviews"),
            ),
            ("SELECT UTC_TIMESTAMP(6)", "SELECT", None),
        ] {
            assert_eq!(operation_and_table(sql), (Some(operation), table), "{sql}");
        }
        assert_eq!(operation_and_table(""), (None, None));
    }
}
