//! PostgreSQL is asked table by table, so that roles, PUBLIC, ownership and superusers are all taken into account.

use entity::overview;
use sea_orm::{ConnectionTrait, DbErr, EntityName, QueryResult, Statement};

use super::super::limit::within;
use super::super::{Store, StoreError};
use super::{ALL, Held, Need, Needs, On, Rights, judge};

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

/// Schemas with the LMS's table that the user may not look into; such a table is as if it were not there.
const SHUT: &str = "
SELECT quote_ident(n.nspname) AS place FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = $1 AND NOT has_schema_privilege(n.oid, 'USAGE') LIMIT 1";

impl Store {
    pub(super) async fn postgres_rights(&self, needs: &Needs) -> Result<Rights, StoreError> {
        let user =
            self.ask("SELECT quote_ident(current_user) AS name", |row| row.try_get("", "name")).await?;
        let user: String = user.into_iter().next().unwrap_or_default();
        let shut =
            Statement::from_sql_and_values(self.backend(), SHUT, [overview::Entity.table_name().into()]);
        let shut = self.ask_by(shut, |row| row.try_get::<String>("", "place")).await?;
        if let Some(schema) = shut.first() {
            let need = Need { right: "USAGE", table: format!("SCHEMA {schema}"), columns: Vec::new() };
            return Ok(Rights { missing: vec![need], beyond: Vec::new(), user });
        }
        let mut held = self.ask(AT_LARGE, at_large).await?;
        // Of a superuser nothing more need be said, and it would be every table of the LMS's.
        if !held.iter().any(|held| held.right == ALL) {
            held.extend(self.ask(ON_TABLES, on_table).await?);
        }
        Ok(judge(needs.list(), &held, user))
    }

    async fn ask<T>(
        &self,
        sql: &str,
        read: impl Fn(&QueryResult) -> Result<T, DbErr>,
    ) -> Result<Vec<T>, StoreError> {
        self.ask_by(Statement::from_string(self.backend(), sql), read).await
    }

    async fn ask_by<T>(
        &self,
        statement: Statement,
        read: impl Fn(&QueryResult) -> Result<T, DbErr>,
    ) -> Result<Vec<T>, StoreError> {
        let doing = "tell what the user may do";
        let rows = within(doing, self.db.query_all_raw(statement)).await?;
        rows.iter().map(read).collect::<Result<_, _>>().map_err(StoreError::doing(doing))
    }
}

fn at_large(row: &QueryResult) -> Result<Held, DbErr> {
    let (right, place): (String, String) = (row.try_get("", "held")?, row.try_get("", "place")?);
    let on = if right == ALL { On::Everything(place) } else { On::Elsewhere(place) };
    Ok(Held { right, on, columns: Vec::new() })
}

fn on_table(row: &QueryResult) -> Result<Held, DbErr> {
    let place: String = row.try_get("", "place")?;
    let on = if row.try_get("", "visible")? { On::Table(place) } else { On::Elsewhere(place) };
    let column: Option<String> = row.try_get("", "col")?;
    Ok(Held { right: row.try_get("", "held")?, on, columns: column.into_iter().collect() })
}
