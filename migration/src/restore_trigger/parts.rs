//! The SQL of the restore trigger on each database. What is released stays as it is: a change of it is a new
//! [`VERSION`], so that `migrate --restore-trigger` replaces the old one.
//!
//! Which row of the ledger an overview follows is the rule of `store/choice.rs`, for one row.

use sea_orm_migration::sea_orm::DbBackend;

use super::PREFIX;

/// Of the trigger's SQL; it is part of all names.
pub const VERSION: u32 = 1;

/// What has the ledger's link ready for the LMS's table on SQLite.
pub(super) const SQLITE_TABLE: &str = "course_sharing_restore";

/// One of the things that the trigger is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// As DROP calls it.
    pub(super) kind: &'static str,
    pub(super) name: String,
    /// The statements that make it.
    pub(super) make: Vec<String>,
}

/// How well a row of the ledger serves, the best first.
const fn rank() -> &'static str {
    "CASE WHEN l.cleared_at IS NOT NULL THEN 3 WHEN l.marketing_url IS NULL THEN CASE WHEN l.listed THEN 4 ELSE 5 END \
     WHEN l.listed THEN 1 ELSE 2 END"
}

/// All parts, in the order in which they are made. `schema` is that of the ledger, in quotes; PostgreSQL's alone.
pub(super) fn parts(backend: DbBackend, schema: &str) -> Vec<Part> {
    match backend {
        DbBackend::MySql => mysql(),
        DbBackend::Postgres => postgres(schema),
        _ => sqlite(),
    }
}

fn part(kind: &'static str, name: String, make: Vec<String>) -> Part {
    Part { kind, name, make }
}

/// The triggers catch every error, also that the function is missing: dropping the function alone turns them off. It
/// reads by SELECT … INTO, which takes no locks; a query within an expression would.
fn mysql() -> Vec<Part> {
    let name = format!("{PREFIX}{VERSION}");
    let (text, key) = (
        "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        "varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    );
    let rank = rank();
    let function = format!(
        "CREATE FUNCTION {name}(course {key}) RETURNS {text}
READS SQL DATA SQL SECURITY DEFINER
COMMENT 'course-sharing: the link that the ledger has for an overview'
BEGIN
  DECLARE link {text};
  DECLARE CONTINUE HANDLER FOR NOT FOUND BEGIN END;
  IF LEFT(course, 7) = 'ccx-v1:' THEN
    SELECT CASE WHEN l.cleared_at IS NULL THEN l.marketing_url END INTO link FROM course_sharing_ledger l
    WHERE l.run_key IN (CONCAT('course-v1:', SUBSTRING_INDEX(SUBSTRING(course, 8), '+ccx@', 1)), course)
    ORDER BY {rank}, l.run_key = course LIMIT 1;
  ELSE
    SELECT CASE WHEN l.cleared_at IS NULL THEN l.marketing_url END INTO link FROM course_sharing_ledger l
    WHERE l.run_key = course;
  END IF;
  RETURN link;
END"
    );
    // No handler catches what a DEFAULT meets. A column that cannot hold the link may have cut it, with or without an error.
    let trigger = |event: &str| {
        let trigger = format!("{name}_{}", event.to_lowercase());
        let sql = format!(
            "CREATE TRIGGER {trigger} BEFORE {event} ON course_overviews_courseoverview FOR EACH ROW
BEGIN
  DECLARE saved {text};
  DECLARE link {text};
  DECLARE CONTINUE HANDLER FOR SQLEXCEPTION BEGIN END;
  SET saved = NEW.marketing_url;
  SET link = {name}(NEW.id);
  IF link IS NOT NULL THEN
    SET NEW.marketing_url = link;
    IF NOT BINARY NEW.marketing_url <=> BINARY link THEN SET NEW.marketing_url = saved; END IF;
  END IF;
END"
        );
        part("TRIGGER", trigger, vec![sql])
    };
    vec![part("FUNCTION", name.clone(), vec![function]), trigger("INSERT"), trigger("UPDATE")]
}

/// VOLATILE, so that it reads what was committed while the statement waited for the row. It reads only, so its
/// subtransaction takes no number of a transaction. It does not wait long for a ledger that somebody has locked.
fn postgres(schema: &str) -> Vec<Part> {
    let name = format!("{PREFIX}{VERSION}");
    let rank = rank();
    let function = format!(
        "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
  link text;
BEGIN
  IF NEW.id LIKE 'ccx-v1:%' THEN
    SELECT CASE WHEN l.cleared_at IS NULL THEN l.marketing_url END INTO link FROM {schema}.course_sharing_ledger l
    WHERE l.run_key IN ('course-v1:' || split_part(substr(NEW.id, 8), '+ccx@', 1), NEW.id)
    ORDER BY {rank}, l.run_key = NEW.id LIMIT 1;
  ELSE
    SELECT CASE WHEN l.cleared_at IS NULL THEN l.marketing_url END INTO link FROM {schema}.course_sharing_ledger l
    WHERE l.run_key = NEW.id;
  END IF;
  IF link IS NOT NULL THEN
    NEW.marketing_url := link;
  END IF;
  RETURN NEW;
EXCEPTION WHEN OTHERS THEN
  RETURN NEW;
END $$"
    );
    let comment = format!(
        "COMMENT ON FUNCTION {name}() IS 'course-sharing: gives an overview the link that the ledger has'"
    );
    // It reads the ledger for every user whose statement calls it.
    let revoke = format!("REVOKE ALL ON FUNCTION {name}() FROM PUBLIC");
    let trigger = format!(
        "CREATE TRIGGER {name} BEFORE INSERT OR UPDATE ON course_overviews_courseoverview FOR EACH ROW \
         EXECUTE FUNCTION {name}()"
    );
    vec![
        part("FUNCTION", name.clone(), vec![function, comment, revoke]),
        part("TRIGGER", name, vec![trigger]),
    ]
}

/// A statement whose trigger names a table that is not there cannot be prepared, and no trigger can catch that. So the
/// triggers on the LMS's table read a table of their own, which the ledger's triggers keep.
fn sqlite() -> Vec<Part> {
    let name = format!("{PREFIX}{VERSION}");
    let rank = rank();
    let columns = format!("run_key, CASE WHEN l.cleared_at IS NULL THEN l.marketing_url END, {rank}");
    let table = format!(
        "CREATE TABLE {SQLITE_TABLE} (run_key varchar(255) NOT NULL PRIMARY KEY, link text, place integer NOT NULL)"
    );
    let fill = format!("INSERT INTO {SQLITE_TABLE} SELECT {columns} FROM course_sharing_ledger l");
    let forget = |row: &str| format!("DELETE FROM {SQLITE_TABLE} WHERE run_key = {row}.run_key");
    let note = format!(
        "INSERT INTO {SQLITE_TABLE} SELECT {};",
        columns.replace("l.", "NEW.").replacen("run_key", "NEW.run_key", 1)
    );
    let on_ledger = |event: &str, body: String| {
        let trigger = format!("{name}_ledger_{}", event.to_lowercase());
        let sql =
            format!("CREATE TRIGGER {trigger} AFTER {event} ON course_sharing_ledger BEGIN\n  {body}\nEND");
        part("TRIGGER", trigger, vec![sql])
    };
    // By the key alone where that is enough: it is an order of magnitude faster.
    let link = format!(
        "CASE WHEN substr(NEW.id, 1, 7) = 'ccx-v1:' THEN (SELECT r.link FROM {SQLITE_TABLE} r
    WHERE r.run_key IN ('course-v1:' || substr(NEW.id, 8, instr(NEW.id, '+ccx@') - 8), NEW.id)
    ORDER BY r.place, r.run_key = NEW.id LIMIT 1)
  ELSE (SELECT r.link FROM {SQLITE_TABLE} r WHERE r.run_key = NEW.id) END"
    );
    let on_overviews = |event: &str| {
        let trigger = format!("{name}_{}", event.to_lowercase());
        let sql = format!(
            "CREATE TRIGGER {trigger} AFTER {event} ON course_overviews_courseoverview
WHEN {link} <> COALESCE(NEW.marketing_url, '') BEGIN
  UPDATE course_overviews_courseoverview SET marketing_url = {link} WHERE id = NEW.id;
END"
        );
        part("TRIGGER", trigger, vec![sql])
    };
    vec![
        part("TABLE", SQLITE_TABLE.to_owned(), vec![table, fill]),
        on_ledger("INSERT", format!("{}; {note}", forget("NEW"))),
        on_ledger("UPDATE", format!("{}; {note}", forget("OLD"))),
        on_ledger("DELETE", format!("{};", forget("OLD"))),
        on_overviews("INSERT"),
        on_overviews("UPDATE"),
    ]
}
