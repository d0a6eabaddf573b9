//! What the user may do beyond what is needed, by the catalogs of the servers.

use std::collections::BTreeMap;

use sea_orm::{DbBackend, DbErr, QueryResult, Statement};

use super::super::{Store, StoreError};
use super::{DOING, Need, User};

/// The right that includes all others.
const ALL: &str = "ALL PRIVILEGES";
/// A user with more rights than this on a whole server or database has nearly all of them.
const NEARLY_ALL: usize = 12;
/// A table with more columns than this, on all of which the user has a right, was granted as a whole.
const COLUMNS: usize = 6;

/// MySQL and MariaDB: rights on everything in a place, and those that no column has. Only of the user itself.
const MYSQL: &str = "
SELECT '*.*' AS place, CAST(PRIVILEGE_TYPE AS CHAR) AS held, NULL AS col FROM information_schema.USER_PRIVILEGES
  WHERE GRANTEE = ? AND PRIVILEGE_TYPE <> 'USAGE'
UNION ALL SELECT CAST(CONCAT(TABLE_SCHEMA, '.*') AS CHAR), CAST(PRIVILEGE_TYPE AS CHAR), NULL
  FROM information_schema.SCHEMA_PRIVILEGES WHERE GRANTEE = ?
UNION ALL SELECT CAST(CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) AS CHAR), CAST(PRIVILEGE_TYPE AS CHAR), NULL
  FROM information_schema.TABLE_PRIVILEGES WHERE GRANTEE = ?
  AND PRIVILEGE_TYPE NOT IN ('USAGE', 'SELECT', 'INSERT', 'UPDATE', 'REFERENCES')";

/// And of every column what the user may, by roles and by rights on databases too: a list of rights.
const MYSQL_COLUMNS: &str = "
SELECT CAST(CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) AS CHAR) AS place, CAST(PRIVILEGES AS CHAR) AS held,
  CAST(COLUMN_NAME AS CHAR) AS col FROM information_schema.COLUMNS
  WHERE TABLE_SCHEMA NOT IN ('information_schema', 'performance_schema', 'sys') AND PRIVILEGES <> ''";

/// PostgreSQL: what the role is, and what it may do to the database and its schemas.
const POSTGRES: &str = "
SELECT 'every database (superuser)' AS place, 'ALL PRIVILEGES' AS held, NULL AS col FROM pg_roles
  WHERE rolname = current_user AND rolsuper
UNION ALL SELECT 'the server', attribute, NULL FROM pg_roles, unnest(
    ARRAY[rolcreatedb, rolcreaterole, rolreplication, rolbypassrls],
    ARRAY['CREATEDB', 'CREATEROLE', 'REPLICATION', 'BYPASSRLS']) AS has(it, attribute)
  WHERE rolname = current_user AND it
UNION ALL SELECT 'database ' || current_database(), 'CREATE', NULL
  WHERE has_database_privilege(current_database(), 'CREATE')
UNION ALL SELECT 'schema ' || nspname, 'CREATE', NULL FROM pg_namespace
  WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND has_schema_privilege(oid, 'CREATE')";

/// And whole tables, then single columns where the right on the whole table is not there.
const POSTGRES_TABLES: &str = "
WITH tables AS (
  SELECT c.oid, c.relowner,
    CASE WHEN pg_table_is_visible(c.oid) THEN c.relname::text ELSE n.nspname || '.' || c.relname END AS place
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
)
SELECT place, held, NULL AS col
FROM tables, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS held
WHERE has_table_privilege(oid, held)
UNION ALL SELECT place, 'OWNERSHIP', NULL FROM tables WHERE pg_has_role(relowner, 'USAGE')
UNION ALL SELECT place, held, attname::text
FROM tables JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND attacl IS NOT NULL AND NOT attisdropped,
  unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS held
WHERE NOT has_table_privilege(oid, held) AND has_column_privilege(oid, attnum, held)";

/// What is held by right and place, where a table of our database has its bare name: the columns, or none for all.
#[derive(Debug, Default)]
struct Held(BTreeMap<(String, String), Vec<String>>);

impl Store {
    /// What the user may do and no need asks for, in words: the rights on each thing.
    pub(super) async fn beyond(&self, needs: &[Need], user: &User) -> Result<Vec<String>, StoreError> {
        let held = match self.backend() {
            DbBackend::MySql => self.held_on_mysql(user).await?,
            DbBackend::Postgres => self.held_on_postgres().await?,
            _ => Held::default(),
        };
        Ok(held.beyond(needs))
    }

    async fn held_on_postgres(&self) -> Result<Held, StoreError> {
        let mut held = Held::default();
        held.add(self.held_by(Statement::from_string(self.backend(), POSTGRES)).await?);
        // Of a superuser nothing more need be said, and it would be every table of the LMS's.
        if !held.0.keys().any(|(_, right)| right == ALL) {
            held.add(self.held_by(Statement::from_string(self.backend(), POSTGRES_TABLES)).await?);
        }
        Ok(held)
    }

    async fn held_on_mysql(&self, user: &User) -> Result<Held, StoreError> {
        let grantee = [user.name.as_str(); 3].map(Into::into);
        let rows = self.held_by(Statement::from_sql_and_values(self.backend(), MYSQL, grantee)).await?;
        let at_large = |place: &str| place.ends_with(".*");
        // With rights on all tables, nothing more need be said of each, and it would be every table of the LMS's.
        let columns = if rows.iter().any(|(place, ..)| at_large(place)) {
            Vec::new()
        } else {
            self.held_by(Statement::from_string(self.backend(), MYSQL_COLUMNS)).await?
        };
        let mut held = Held::default();
        let mut broad: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (place, right, _) in rows {
            if at_large(&place) {
                broad.entry(place).or_default().push(right);
            } else {
                held.add([(here(&place, user), right, None)]);
            }
        }
        for (place, rights) in broad {
            let rights = if rights.len() > NEARLY_ALL { vec![format!("{ALL}, or nearly,")] } else { rights };
            held.add(rights.into_iter().map(|right| (place.clone(), right, None)));
        }
        held.add_columns(
            columns.into_iter().map(|(place, rights, column)| (here(&place, user), rights, column)),
        );
        Ok(held)
    }

    /// Rows of place, right and column.
    async fn held_by(
        &self,
        statement: Statement,
    ) -> Result<Vec<(String, String, Option<String>)>, StoreError> {
        let read = |row: &QueryResult| -> Result<_, DbErr> {
            Ok((row.try_get("", "place")?, row.try_get("", "held")?, row.try_get("", "col")?))
        };
        let rows = self.look(statement).await?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(StoreError::doing(DOING))
    }
}

/// A table of our database without the database's name.
fn here(place: &str, user: &User) -> String {
    let table = place.strip_prefix(user.database.as_str()).and_then(|rest| rest.strip_prefix('.'));
    table.unwrap_or(place).to_owned()
}

impl Held {
    fn add(&mut self, rows: impl IntoIterator<Item = (String, String, Option<String>)>) {
        for (place, right, column) in rows {
            self.0.entry((place, right)).or_default().extend(column);
        }
    }

    /// Rows with a list of rights for each column. All columns of a table with many are the table.
    fn add_columns(&mut self, rows: impl IntoIterator<Item = (String, String, Option<String>)>) {
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

    fn beyond(&self, needs: &[Need]) -> Vec<String> {
        let mut beyond: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for ((place, right), columns) in &self.0 {
            let need = needs.iter().find(|need| need.right == right && need.table == *place);
            let (right, on) = match need {
                None => (right.clone(), place.clone()),
                Some(need) if need.columns.is_empty() => continue,
                Some(_) if columns.is_empty() => (right.clone(), format!("every column of {place}")),
                Some(need) => {
                    let more: Vec<&str> =
                        columns.iter().filter(|c| !need.columns.contains(c)).map(String::as_str).collect();
                    if more.is_empty() {
                        continue;
                    }
                    (format!("{right} ({})", more.join(", ")), place.clone())
                }
            };
            beyond.entry(on).or_default().push(right);
        }
        beyond.into_iter().map(|(on, rights)| format!("{} on {on}", rights.join(", "))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Needs;
    use super::*;

    const LMS: &str = "course_overviews_courseoverview";

    fn row(right: &str, place: &str, column: Option<&str>) -> (String, String, Option<String>) {
        (place.to_owned(), right.to_owned(), column.map(str::to_owned))
    }

    fn least() -> Held {
        let mut held = Held::default();
        for need in Needs::default().list() {
            held.0.insert((need.table.clone(), need.right.to_owned()), need.columns.clone());
        }
        held
    }

    fn words(held: &Held) -> Vec<String> {
        held.beyond(Needs::default().list())
    }

    #[test]
    fn the_least_rights_are_not_too_much() {
        assert_eq!(words(&least()), Vec::<String>::new());
    }

    #[test]
    fn a_right_on_everything_is_too_much() {
        let mut all = Held::default();
        all.add([row(ALL, "*.*", None)]);
        assert_eq!(words(&all), ["ALL PRIVILEGES on *.*"]);
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
        assert_eq!(words(&more), beyond);
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
