//! What stands of the restore trigger, by the database's own catalog.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend, DbErr, RuntimeErr, Statement};

use super::parts::{Part, VERSION, parts};
use crate::overview::TABLE;

/// Triggers first, as they need the others.
const MYSQL: &str = "
SELECT CAST('TRIGGER' AS CHAR) AS kind, CAST(TRIGGER_NAME AS CHAR) AS name, CAST(DEFINER AS CHAR) AS definer
FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() AND TRIGGER_NAME LIKE 'course\\_sharing\\_restore\\_v%'
UNION ALL SELECT CAST('FUNCTION' AS CHAR), CAST(ROUTINE_NAME AS CHAR), CAST(DEFINER AS CHAR)
FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE() AND ROUTINE_NAME LIKE 'course\\_sharing\\_restore\\_v%'";

/// A trigger that somebody has disabled is of no use.
const POSTGRES: &str = "
SELECT 'TRIGGER' AS kind, tgname::text AS name, NULL AS definer, tgenabled IN ('D', 'R') AS is_off FROM pg_trigger
WHERE tgrelid = to_regclass('course_overviews_courseoverview') AND tgname LIKE 'course\\_sharing\\_restore\\_v%'
UNION ALL SELECT 'FUNCTION', proname::text, NULL, FALSE FROM pg_proc
WHERE proname LIKE 'course\\_sharing\\_restore\\_v%' AND pronargs = 0 AND pg_function_is_visible(oid)";

const SQLITE: &str = "
SELECT upper(type) AS kind, name, NULL AS definer FROM sqlite_master
WHERE (type = 'trigger' AND name LIKE 'course\\_sharing\\_restore\\_v%' ESCAPE '\\') OR
  (type = 'table' AND name = 'course_sharing_restore') ORDER BY type DESC";

/// How the trigger stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing of it is there.
    Absent,
    /// All of it is there, of this program's version; with the user as whom it runs, where there is one and it is shown.
    Stands(Option<String>),
    /// It does not do what it should, or may do harm; why, and what to do.
    Wrong(String),
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("no restore trigger"),
            Self::Stands(None) => write!(f, "restore trigger of version {VERSION}"),
            Self::Stands(Some(definer)) => {
                write!(f, "restore trigger of version {VERSION}, run as {definer}")
            }
            Self::Wrong(why) => f.write_str(why),
        }
    }
}

/// A part that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) kind: String,
    pub(super) name: String,
    /// The user as whom it runs; on MySQL, and not shown to everybody there.
    pub(super) definer: Option<String>,
    /// Somebody has disabled it.
    pub(super) is_off: bool,
}

impl Standing {
    /// Whether it is this part, at work.
    pub(super) fn is(&self, part: &Part) -> bool {
        self.kind == part.kind && self.name == part.name && !self.is_off
    }

    pub(super) fn drop(&self, backend: DbBackend) -> String {
        let of = match (backend, self.kind.as_str()) {
            (DbBackend::Postgres, "TRIGGER") => " ON course_overviews_courseoverview",
            (DbBackend::Postgres, "FUNCTION") => "()",
            _ => "",
        };
        format!("DROP {} {}{of}", self.kind, self.name)
    }
}

/// All parts of all versions, in the order in which they can be dropped.
pub(super) async fn standing<C: ConnectionTrait>(db: &C) -> Result<Vec<Standing>, DbErr> {
    let backend = db.get_database_backend();
    let sql = match backend {
        DbBackend::MySql => MYSQL,
        DbBackend::Postgres => POSTGRES,
        _ => SQLITE,
    };
    let rows = db.query_all_raw(Statement::from_string(backend, sql)).await?;
    let read = |row: &sea_orm_migration::sea_orm::QueryResult| {
        Ok(Standing {
            kind: row.try_get("", "kind")?,
            name: row.try_get("", "name")?,
            definer: row.try_get("", "definer")?,
            is_off: backend == DbBackend::Postgres && row.try_get("", "is_off")?,
        })
    };
    rows.iter().map(read).collect()
}

/// The schema that the ledger is in, or will be in, in quotes; PostgreSQL's alone.
pub(super) async fn schema_of_ledger<C: ConnectionTrait>(db: &C) -> Result<String, DbErr> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Ok(String::new());
    }
    let sql = "SELECT quote_ident(COALESCE((SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = \
               c.relnamespace WHERE c.oid = to_regclass('course_sharing_ledger')), current_schema()::text, 'public')) AS s";
    let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    row.map_or_else(|| Ok("public".to_owned()), |row| row.try_get("", "s"))
}

/// Looks how it stands, as far as this user can see. On MySQL a user without the right to make triggers does not see the
/// function, and sees only that the triggers exist.
///
/// # Errors
/// Those of the database.
pub async fn state<C: ConnectionTrait>(db: &C) -> Result<State, DbErr> {
    let backend = db.get_database_backend();
    let mut standing = standing(db).await?;
    let mut wanted = parts(backend, "");
    if backend == DbBackend::MySql && standing.iter().all(|part| part.definer.is_none()) {
        wanted.retain(|part| part.kind == "TRIGGER");
        for part in &wanted {
            if !standing.iter().any(|other| other.is(part)) && is_shown_to_others(db, &part.name).await? {
                let (kind, name) = (part.kind.to_owned(), part.name.clone());
                standing.push(Standing { kind, name, definer: None, is_off: false });
            }
        }
    }
    if standing.is_empty() {
        return Ok(State::Absent);
    }
    let is_whole = wanted.iter().all(|part| standing.iter().any(|other| other.is(part)));
    let is_all = standing.iter().all(|other| wanted.iter().any(|part| other.is(part)));
    if !(is_whole && is_all) {
        let names: Vec<&str> = standing.iter().map(|part| part.name.as_str()).collect();
        return Ok(State::Wrong(format!(
            "the restore trigger is incomplete, disabled or of another version than {VERSION} (there is {}): run course-sharing \
             migrate --restore-trigger",
            names.join(", ")
        )));
    }
    if let Some(why) = locking(db).await? {
        return Ok(State::Wrong(why));
    }
    Ok(State::Stands(standing.into_iter().find_map(|part| part.definer)))
}

/// Why the trigger must not be made on this database now, if that is so.
///
/// # Errors
/// Those of the database.
pub async fn obstacle<C>(db: &C) -> Result<Option<String>, DbErr>
where
    C: ConnectionTrait,
    for<'c> &'c C: IntoSchemaManagerConnection<'c>,
{
    if !SchemaManager::new(db).has_table(TABLE).await? {
        return Ok(Some(format!("there is no table {TABLE} that could get the restore trigger")));
    }
    locking(db).await
}

/// Where MySQL writes a binary log of statements, what a trigger reads is locked until the LMS's transaction ends, and
/// that transaction may then fail for the sake of such a lock.
async fn locking<C: ConnectionTrait>(db: &C) -> Result<Option<String>, DbErr> {
    if db.get_database_backend() != DbBackend::MySql {
        return Ok(None);
    }
    let sql = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format')";
    let rows = db.query_all_raw(Statement::from_string(DbBackend::MySql, sql)).await?;
    let value = |name: &str| {
        let row = rows.iter().find(|row| row.try_get_by_index::<String>(0).as_deref() == Ok(name))?;
        row.try_get_by_index::<String>(1).ok()
    };
    Ok(locks(value("log_bin").as_deref(), value("binlog_format").as_deref()))
}

/// Why a trigger would lock what it reads, by the server's two settings.
fn locks(log_bin: Option<&str>, format: Option<&str>) -> Option<String> {
    let format = format.filter(|format| log_bin == Some("ON") && *format != "ROW")?;
    Some(format!(
        "the server's binary log has the format {format}, by which a restore trigger locks what it reads, and the LMS's \
         statements may fail: set binlog_format = ROW, or do without the trigger"
    ))
}

/// Also a user who may not see a trigger learns from MySQL whether it exists: access is denied then.
async fn is_shown_to_others<C: ConnectionTrait>(db: &C, name: &str) -> Result<bool, DbErr> {
    // As text: MySQL does not prepare this.
    match db.execute_unprepared(&format!("SHOW CREATE TRIGGER {name}")).await {
        Ok(_) => Ok(true),
        Err(DbErr::Query(RuntimeErr::SqlxError(error)) | DbErr::Exec(RuntimeErr::SqlxError(error))) => {
            let code = error.as_database_error().and_then(|error| error.code());
            Ok(code.as_deref() == Some("42000"))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_log_of_statements_is_an_obstacle_and_no_other() {
        for (log_bin, format, is_obstacle) in [
            (Some("ON"), Some("MIXED"), true),
            (Some("ON"), Some("STATEMENT"), true),
            (Some("ON"), Some("ROW"), false),
            (Some("OFF"), Some("MIXED"), false),
            (Some("ON"), None, false),
            (None, None, false),
        ] {
            assert_eq!(locks(log_bin, format).is_some(), is_obstacle, "{log_bin:?} {format:?}");
        }
    }
}
