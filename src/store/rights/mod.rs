//! What the database user may do, beside what the program needs: too little stops it in the middle of its work, too
//! much is a risk that nobody asked for.
//!
//! Whether the user may do what is needed is tried out, by statements that touch no row (`probe.rs`): that is the
//! truth, also where the server only reads. What the user may do beyond that is in the servers' own catalogs
//! (`held.rs`).

mod held;
mod needs;
mod probe;

use entity::overview;
use sea_orm::{ConnectionTrait, DbBackend, EntityName, QueryResult, Statement};

pub use self::needs::{Need, Needs};

use super::pool::Pool;
use super::timeout::{Limit, Work};
use super::{Store, StoreError};

const DOING: &str = "tell what the user may do";
/// A schema on the search path that has the LMS's table and that the user may not look into: the table is then as if it
/// were not there. Schemas that are not on the path are another tenant's.
const SHUT: &str = "
SELECT quote_ident(n.nspname) AS place FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = $1 AND to_regclass($1) IS NULL AND NOT has_schema_privilege(n.oid, 'USAGE')
  AND n.nspname::text IN (
    SELECT replace(trim(both '\" ' FROM part), '$user', current_user::text)
    FROM unnest(string_to_array(current_setting('search_path'), ',')) AS part)
LIMIT 1";

/// The verdict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// What the program needs and the user may not do.
    pub missing: Vec<Need>,
    /// Why the server refuses to write, whatever the rights.
    pub refused: Option<String>,
    /// What the user may do and the program never does, in words, as in `DELETE on auth_user`.
    pub beyond: Vec<String>,
    /// Who the user is, and where.
    pub user: User,
}

/// Who the database takes this program for, as GRANT names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// In quotes.
    pub name: String,
    /// What stands before a table's name: the database, or on PostgreSQL the schema.
    pub place: String,
    /// The database, for people.
    pub database: String,
}

impl Rights {
    /// What is missing, in words, and the statements that give it; none if nothing is.
    pub fn lacking(&self) -> Option<String> {
        let User { name, place, database } = &self.user;
        let missing: Vec<String> = self.missing.iter().map(Need::to_string).collect();
        let grant = |need: &Need| {
            let on =
                if need.right == "USAGE" { need.table.clone() } else { format!("{place}.{}", need.table) };
            format!("GRANT {} ON {on} TO {name};", need.what())
        };
        let grants: Vec<String> = self.missing.iter().map(grant).collect();
        (!missing.is_empty()).then(|| {
            format!(
                "the user {name} lacks {}; as an administrator run in the database {database}: {}",
                missing.join(", "),
                grants.join(" ")
            )
        })
    }
}

impl Store {
    /// Looks at what the user of this connection may do. On SQLite a file's owner may do all.
    pub async fn rights(&self, needs: &Needs) -> Result<Rights, StoreError> {
        let user = self.user().await?;
        if let Some(need) = self.shut_schema().await? {
            return Ok(Rights { missing: vec![need], user, ..Rights::default() });
        }
        let (missing, refused) = self.try_out(needs.list()).await?;
        let beyond = self.beyond(needs.list(), &user).await?;
        Ok(Rights { missing, refused, beyond, user })
    }

    /// Looks whether the database writes what the program needs, and notes it for [`Store::writes`]. Returns why it
    /// does not, if it does not.
    pub async fn check_writes(&self, needs: &Needs, holder: &str) -> Result<Option<String>, StoreError> {
        let needs: Vec<Need> = needs.list().iter().filter(|need| need.right != "SELECT").cloned().collect();
        let (missing, refused) = self.try_out(&needs).await?;
        let refused = if missing.is_empty() {
            refused
        } else {
            Rights { missing, user: self.user().await?, ..Rights::default() }.lacking()
        };
        let refused = match refused {
            Some(why) => Some(why),
            // What touches no row does not meet a full disk: a row of our own is written, too.
            None => match self.acquire("write_check", holder, std::time::Duration::ZERO).await {
                Err(error) if error.refusal().is_some() => Some(crate::telemetry::report(&error)),
                done => done.map(|_| None)?,
            },
        };
        self.writes.set(refused.clone());
        Ok(refused)
    }

    /// The right that is needed to see the LMS's table at all, if it is missing.
    async fn shut_schema(&self) -> Result<Option<Need>, StoreError> {
        if self.backend() != DbBackend::Postgres {
            return Ok(None);
        }
        let shut =
            Statement::from_sql_and_values(self.backend(), SHUT, [overview::Entity.table_name().into()]);
        let rows = self.look(shut).await?;
        let shut = rows.first().map(|row| row.try_get::<String>("", "place")).transpose();
        let need = |schema| Need { right: "USAGE", table: format!("SCHEMA {schema}"), columns: Vec::new() };
        Ok(shut.map_err(StoreError::doing(DOING))?.map(need))
    }

    async fn user(&self) -> Result<User, StoreError> {
        let sql = match self.backend() {
            DbBackend::MySql => {
                "SELECT CAST(CURRENT_USER() AS CHAR) AS name, CAST(DATABASE() AS CHAR) AS place, \
                 CAST(DATABASE() AS CHAR) AS base"
            }
            DbBackend::Postgres => {
                "SELECT quote_ident(current_user) AS name, quote_ident(COALESCE((SELECT n.nspname::text FROM pg_class c \
                 JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.oid = to_regclass('course_overviews_courseoverview')), current_schema()::text, 'public')) AS place, \
                 current_database()::text AS base"
            }
            _ => return Ok(User::default()),
        };
        let rows = self.look(Statement::from_string(self.backend(), sql)).await?;
        let Some(row) = rows.first() else { return Ok(User::default()) };
        let text = |name| row.try_get::<Option<String>>("", name).map_err(StoreError::doing(DOING));
        let (name, place, database) = (text("name")?, text("place")?, text("base")?);
        let mut user = User {
            name: name.unwrap_or_default(),
            place: place.unwrap_or_default(),
            database: database.unwrap_or_default(),
        };
        if self.backend() == DbBackend::MySql {
            let (name, host) = user.name.rsplit_once('@').unwrap_or((&user.name, "%"));
            user.name = format!("'{name}'@'{host}'");
            if !user.place.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                user.place = format!("`{}`", user.place.replace('`', "``"));
            }
        }
        Ok(user)
    }

    async fn look(&self, statement: Statement) -> Result<Vec<QueryResult>, StoreError> {
        self.db.rows_of(DOING, Limit::Batch, statement).await
    }

    /// Executes what touches no row.
    async fn touch(&self, sql: &str) -> Result<(), StoreError> {
        let sql = sql.to_owned();
        let touch = move |pool: Pool| -> Work<'static, _> {
            let sql = sql.clone();
            Box::pin(async move {
                pool.db.execute_unprepared(&sql).await.map(drop).map_err(StoreError::doing(DOING))
            })
        };
        self.db.with_timeout(DOING, Limit::Batch, touch).await
    }
}
