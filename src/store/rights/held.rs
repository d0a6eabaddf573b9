//! What the user may do beyond what is needed, by the catalogs of the servers.

use std::collections::BTreeMap;

use sea_orm::{DbBackend, Statement};

use super::super::timeout::Limit;
use super::super::{Store, StoreError};
use super::{DOING, Need};

/// A user with so many rights on a whole server or database has nearly all of them.
const NEARLY_ALL: usize = 13;
/// A table with more columns than this, on all of which the user has a right, was granted as a whole.
const COLUMNS: usize = 6;

/// MySQL and MariaDB: rights on everything in a place, and those that no column has. Only of the user itself.
const MYSQL: &str = "
SELECT '*.*', CAST(PRIVILEGE_TYPE AS CHAR), NULL FROM information_schema.USER_PRIVILEGES
  WHERE GRANTEE = ? AND PRIVILEGE_TYPE <> 'USAGE'
UNION ALL SELECT CAST(CONCAT(TABLE_SCHEMA, '.*') AS CHAR), CAST(PRIVILEGE_TYPE AS CHAR), NULL
  FROM information_schema.SCHEMA_PRIVILEGES WHERE GRANTEE = ?
UNION ALL SELECT CAST(IF(TABLE_SCHEMA = DATABASE(), TABLE_NAME, CONCAT(TABLE_SCHEMA, '.', TABLE_NAME)) AS CHAR),
  CAST(PRIVILEGE_TYPE AS CHAR), NULL FROM information_schema.TABLE_PRIVILEGES
  WHERE GRANTEE = ? AND PRIVILEGE_TYPE NOT IN ('USAGE', 'SELECT', 'INSERT', 'UPDATE', 'REFERENCES')";

/// And of every column what the user may, by roles and by rights on databases too: a list of rights.
const MYSQL_COLUMNS: &str = "
SELECT CAST(IF(TABLE_SCHEMA = DATABASE(), TABLE_NAME, CONCAT(TABLE_SCHEMA, '.', TABLE_NAME)) AS CHAR),
  CAST(PRIVILEGES AS CHAR), CAST(COLUMN_NAME AS CHAR) FROM information_schema.COLUMNS
  WHERE TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema', 'sys') AND PRIVILEGES <> ''";

/// PostgreSQL: what the role is, and what it may do to the database, its schemas, whole tables, and single columns where
/// the right on the whole table is not there. Of a superuser nothing need be said of each table of the LMS's.
const POSTGRES: &str = "
WITH role AS (SELECT * FROM pg_roles WHERE rolname = current_user),
tables AS (
  SELECT c.oid, c.relowner,
    CASE WHEN pg_table_is_visible(c.oid) THEN c.relname::text ELSE n.nspname || '.' || c.relname END AS place
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN role ON NOT rolsuper
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
)
SELECT 'every database (superuser)', 'ALL PRIVILEGES', NULL FROM role WHERE rolsuper
UNION ALL SELECT 'the server', attribute, NULL FROM role, unnest(
    ARRAY[rolcreatedb, rolcreaterole, rolreplication, rolbypassrls],
    ARRAY['CREATEDB', 'CREATEROLE', 'REPLICATION', 'BYPASSRLS']) AS has(it, attribute) WHERE it
UNION ALL SELECT 'database ' || current_database(), 'CREATE', NULL
  WHERE has_database_privilege(current_database(), 'CREATE')
UNION ALL SELECT 'schema ' || nspname, 'CREATE', NULL FROM pg_namespace
  WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND has_schema_privilege(oid, 'CREATE')
UNION ALL SELECT place, held, NULL
  FROM tables, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS held
  WHERE has_table_privilege(oid, held)
UNION ALL SELECT place, 'OWNERSHIP', NULL FROM tables WHERE pg_has_role(relowner, 'USAGE')
UNION ALL SELECT place, held, attname::text
  FROM tables JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND attacl IS NOT NULL AND NOT attisdropped,
    unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS held
  WHERE NOT has_table_privilege(oid, held) AND has_column_privilege(oid, attnum, held)";

/// What is held by place and right, where a table of our database has its bare name: the columns, or none for all.
#[derive(Debug, Default)]
struct Held(BTreeMap<(String, String), Vec<String>>);

/// Of a catalog: a place, a right or a list of them, and a column.
type Row = (String, String, Option<String>);

impl Store {
    /// What the user may do and no need asks for, in words: the rights on each thing.
    pub(super) async fn beyond(&self, needs: &[Need], user: &str) -> Result<Vec<String>, StoreError> {
        let ask = |sql, values: Vec<sea_orm::Value>| {
            let question = Statement::from_sql_and_values(self.backend(), sql, values);
            self.db.values::<Row>(DOING, Limit::Batch, question)
        };
        let mut held = Held::default();
        match self.backend() {
            DbBackend::Postgres => held.add(ask(POSTGRES, Vec::new()).await?),
            DbBackend::MySql => {
                held.add(ask(MYSQL, vec![sea_orm::Value::from(user); 3]).await?);
                // With rights on all tables, nothing more need be said of each, and it would be every table of the LMS's.
                if !held.0.keys().any(|(place, _)| place.ends_with(".*")) {
                    held.add_columns(ask(MYSQL_COLUMNS, Vec::new()).await?);
                }
            }
            _ => {}
        }
        Ok(held.beyond(needs))
    }
}

impl Held {
    fn add(&mut self, rows: impl IntoIterator<Item = Row>) {
        for (place, right, column) in rows {
            self.0.entry((place, right)).or_default().extend(column);
        }
    }

    /// Rows with a list of rights for each column. All columns of a table with many are the table.
    fn add_columns(&mut self, rows: impl IntoIterator<Item = Row>) {
        let (mut of_columns, mut tables) = (Self::default(), BTreeMap::<String, usize>::new());
        for (place, rights, column) in rows {
            *tables.entry(place.clone()).or_default() += 1;
            let rights = rights.split(',').map(|right| right.trim().to_ascii_uppercase());
            of_columns.add(rights.map(|right| (place.clone(), right, column.clone())));
        }
        for ((place, right), columns) in of_columns.0 {
            let is_whole = columns.len() > COLUMNS && tables.get(&place) == Some(&columns.len());
            self.0.insert((place, right), if is_whole { Vec::new() } else { columns });
        }
    }

    fn beyond(self, needs: &[Need]) -> Vec<String> {
        let mut beyond: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ((place, right), mut columns) in self.0 {
            let (on, right) = match needs.iter().find(|need| need.right == right && need.table == place) {
                None => (place, right),
                Some(need) if need.whole => continue,
                Some(_) if columns.is_empty() => (format!("every column of {place}"), right),
                Some(need) => {
                    columns.retain(|column| !need.columns.contains(&column.as_str()));
                    if columns.is_empty() {
                        continue;
                    }
                    (place, format!("{right} ({})", columns.join(", ")))
                }
            };
            beyond.entry(on).or_default().push(right);
        }
        let words = |(on, rights): (String, Vec<String>)| match rights.len() {
            NEARLY_ALL.. => format!("ALL PRIVILEGES, or nearly, on {on}"),
            _ => format!("{} on {on}", rights.join(", ")),
        };
        beyond.into_iter().map(words).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::needs;
    use super::*;
    use crate::config::Config;

    const LMS: &str = "course_overviews_courseoverview";

    fn row(right: &str, place: &str, column: Option<&str>) -> Row {
        (place.to_owned(), right.to_owned(), column.map(str::to_owned))
    }

    fn least() -> Held {
        let mut held = Held::default();
        for need in needs(&Config::default()) {
            let columns = if need.whole { Vec::new() } else { need.columns };
            let columns = columns.into_iter().map(str::to_owned).collect();
            held.0.insert((need.table, need.right.to_owned()), columns);
        }
        held
    }

    fn words(held: Held) -> Vec<String> {
        held.beyond(&needs(&Config::default()))
    }

    #[test]
    fn the_least_rights_are_not_too_much() {
        assert_eq!(words(least()), Vec::<String>::new());
    }

    #[test]
    fn a_right_on_everything_is_too_much() {
        let mut all = Held::default();
        all.add([row("ALL PRIVILEGES", "*.*", None)]);
        assert_eq!(words(all), ["ALL PRIVILEGES on *.*"]);
    }

    #[test]
    fn what_is_too_much_is_named_by_right_column_and_table() {
        let mut more = least();
        more.add([
            row("SELECT", LMS, Some("org")),
            row("DELETE", LMS, None),
            row("SELECT", "auth_user", None),
            row("UPDATE", "auth_user", Some("email")),
        ]);
        more.0.insert((LMS.to_owned(), "UPDATE".to_owned()), Vec::new());
        let beyond = [
            "SELECT, UPDATE on auth_user".to_owned(),
            format!("DELETE, SELECT (org) on {LMS}"),
            format!("UPDATE on every column of {LMS}"),
        ];
        assert_eq!(words(more), beyond);
    }

    #[test]
    fn rights_on_all_of_many_columns_are_rights_on_the_table() {
        let columns = |rights: &[&str]| {
            let mut held = Held::default();
            let row = |(n, rights): (usize, &&str)| row(rights, "t", Some(&format!("c{n}")));
            held.add_columns(rights.iter().enumerate().map(row));
            held.0.into_values().map(|columns| columns.len()).collect::<Vec<_>>()
        };
        let mut rights = ["select,update"; 40];
        assert_eq!(columns(&rights), [0, 0]);
        rights[0] = "select";
        assert_eq!(columns(&rights), [0, 39]);
        assert_eq!(columns(&rights[..2]), [2, 1]);
    }
}
