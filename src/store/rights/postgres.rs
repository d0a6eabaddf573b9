//! What PostgreSQL has in its catalogs, table by table, so that roles, PUBLIC, ownership and superusers all count.

use entity::overview;
use sea_orm::{DbBackend, DbErr, EntityName, QueryResult, Statement};

use super::super::{Store, StoreError};
use super::{ALL, DOING, Held, Need, On};

/// What the role is, and what it may do to the database and its schemas. One line for each, in words.
const AT_LARGE: &str = "
SELECT 'ALL PRIVILEGES' AS held, 'every database (superuser)' AS place FROM pg_roles WHERE rolname = current_user AND rolsuper
UNION ALL SELECT 'CREATEDB', 'the server' FROM pg_roles WHERE rolname = current_user AND rolcreatedb
UNION ALL SELECT 'CREATEROLE', 'the server' FROM pg_roles WHERE rolname = current_user AND rolcreaterole
UNION ALL SELECT 'REPLICATION', 'the server' FROM pg_roles WHERE rolname = current_user AND rolreplication
UNION ALL SELECT 'BYPASSRLS', 'the server' FROM pg_roles WHERE rolname = current_user AND rolbypassrls
UNION ALL SELECT 'CREATE', 'database ' || current_database() WHERE has_database_privilege(current_database(), 'CREATE')
UNION ALL SELECT 'CREATE', 'schema ' || nspname FROM pg_namespace
  WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND has_schema_privilege(oid, 'CREATE')";

/// Whole tables, and then single columns where the right on the whole table is not there.
const ON_TABLES: &str = "
WITH tables AS (
  SELECT c.oid, c.relname, c.relowner, pg_table_is_visible(c.oid) AS visible, n.nspname
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
)
SELECT CASE WHEN visible THEN relname::text ELSE nspname || '.' || relname END AS place, visible, held, NULL AS col
FROM tables, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS held
WHERE has_table_privilege(oid, held)
UNION ALL
SELECT CASE WHEN visible THEN relname::text ELSE nspname || '.' || relname END, visible, 'OWNERSHIP', NULL
FROM tables WHERE pg_has_role(relowner, 'USAGE')
UNION ALL
SELECT CASE WHEN visible THEN relname::text ELSE nspname || '.' || relname END, visible, held, attname::text
FROM tables JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND attacl IS NOT NULL AND NOT attisdropped,
  unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS held
WHERE NOT has_table_privilege(oid, held) AND has_column_privilege(oid, attnum, held)";

/// A schema on the search path that has the LMS's table and that the user may not look into: the table is then as if it
/// were not there. Schemas that are not on the path are another tenant's.
const SHUT: &str = "
SELECT quote_ident(n.nspname) AS place FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = $1 AND to_regclass($1) IS NULL AND NOT has_schema_privilege(n.oid, 'USAGE')
  AND n.nspname::text IN (
    SELECT replace(trim(both '\" ' FROM part), '$user', current_user::text)
    FROM unnest(string_to_array(current_setting('search_path'), ',')) AS part)
LIMIT 1";

impl Store {
    /// The right that is needed to see the LMS's table at all, if it is missing.
    pub(super) async fn shut_schema(&self) -> Result<Option<Need>, StoreError> {
        if self.backend() != DbBackend::Postgres {
            return Ok(None);
        }
        let shut =
            Statement::from_sql_and_values(self.backend(), SHUT, [overview::Entity.table_name().into()]);
        let shut = self.ask(shut, |row| row.try_get::<String>("", "place")).await?;
        let need = |schema| Need { right: "USAGE", table: format!("SCHEMA {schema}"), columns: Vec::new() };
        Ok(shut.first().map(need))
    }

    pub(super) async fn postgres_rights(&self) -> Result<Vec<Held>, StoreError> {
        let plain = |sql: &str| Statement::from_string(self.backend(), sql);
        let mut held = self.ask(plain(AT_LARGE), at_large).await?;
        // Of a superuser nothing more need be said, and it would be every table of the LMS's.
        if !held.iter().any(|held| held.right == ALL) {
            held.extend(self.ask(plain(ON_TABLES), on_table).await?);
        }
        Ok(held)
    }

    async fn ask<T>(
        &self,
        statement: Statement,
        read: impl Fn(&QueryResult) -> Result<T, DbErr>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.look(statement).await?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(StoreError::doing(DOING))
    }
}

fn at_large(row: &QueryResult) -> Result<Held, DbErr> {
    let on = On::Elsewhere(row.try_get("", "place")?);
    Ok(Held { right: row.try_get("", "held")?, on, columns: Vec::new() })
}

fn on_table(row: &QueryResult) -> Result<Held, DbErr> {
    let place: String = row.try_get("", "place")?;
    let on = if row.try_get("", "visible")? { On::Table(place) } else { On::Elsewhere(place) };
    let column: Option<String> = row.try_get("", "col")?;
    Ok(Held { right: row.try_get("", "held")?, on, columns: column.into_iter().collect() })
}
