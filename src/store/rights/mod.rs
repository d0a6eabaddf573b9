//! What the database user may do, beside what the program needs: too little stops it in the middle of its work, too
//! much is a risk that nobody asked for.
//!
//! Whether the user may do what is needed is tried out, by statements that touch no row (`needs.rs`): that is the
//! truth, also where the server only reads. What the user may do beyond that is in the servers' own catalogs
//! (`held.rs`).

mod held;
mod needs;

use sea_orm::{DbBackend, Statement};

pub(crate) use self::needs::{Need, needs};

use super::error::Refusal;
use super::timeout::Limit;
use super::{Store, StoreError};
use crate::telemetry::report;

const DOING: &str = "tell what the user may do";

/// Name and host, and the database: as GRANT names it, and for people.
const MYSQL_USER: &str = "
SELECT CAST(CURRENT_USER() AS CHAR), CAST(IF(COALESCE(DATABASE(), '') REGEXP '[^0-9A-Za-z_]',
  CONCAT('`', REPLACE(DATABASE(), '`', '``'), '`'), COALESCE(DATABASE(), '')) AS CHAR),
  CAST(COALESCE(DATABASE(), '') AS CHAR), NULL";
/// Name, the schema of the LMS's table, the database; and a schema on the search path that has the table and that the user
/// may not look into, so that the table seems not to be there. Schemas that are not on the path are another tenant's.
const POSTGRES_USER: &str = "
SELECT quote_ident(current_user), quote_ident(COALESCE((
    SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass('course_overviews_courseoverview')), current_schema()::text, 'public')),
  current_database()::text, (
    SELECT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relname = 'course_overviews_courseoverview' AND to_regclass('course_overviews_courseoverview') IS NULL
      AND NOT has_schema_privilege(n.oid, 'USAGE')
      AND n.nspname::text IN (
        SELECT replace(trim(both '\" ' FROM part), '$user', current_user::text)
        FROM unnest(string_to_array(current_setting('search_path'), ',')) AS part)
    LIMIT 1)";

/// The verdict.
#[derive(Debug, Default)]
pub(crate) struct Rights {
    /// What the program needs and the user may not do.
    missing: Vec<Need>,
    /// Whether the user may not look into the LMS's schema, so that its tables seem not to be there.
    pub(crate) shut: bool,
    /// Why the server refuses to write, whatever the rights.
    pub(crate) refused: Option<String>,
    /// What the user may do and the program never does, in words, as in `DELETE on auth_user`.
    pub(crate) beyond: Vec<String>,
    /// Who the user is, and where.
    pub(crate) user: User,
}

/// Who the database takes this program for, as GRANT names it.
#[derive(Debug, Default)]
pub(crate) struct User {
    /// In quotes.
    pub(crate) name: String,
    /// What stands before a table's name: the database, or on PostgreSQL the schema.
    place: String,
    /// The database, for people.
    database: String,
    /// A schema that the user may not look into.
    shut: Option<String>,
}

impl Rights {
    /// What is missing, in words, and the statements that give it; none if nothing is.
    pub(crate) fn lacking(&self) -> Option<String> {
        let User { name, place, database, .. } = &self.user;
        let missing: Vec<String> = self.missing.iter().map(Need::to_string).collect();
        let grant = |need: &Need| {
            let on = if self.shut { need.table.clone() } else { format!("{place}.{}", need.table) };
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

enum Tried {
    Well,
    Denied,
    /// The server only reads, or is full.
    Refused(String),
}

impl Store {
    /// Looks at what the user of this connection may do. On SQLite a file's owner may do all.
    pub(crate) async fn rights(&self, needs: &[Need]) -> Result<Rights, StoreError> {
        let user = self.user().await?;
        if let Some(schema) = &user.shut {
            return Ok(Rights { missing: vec![Need::usage(schema)], shut: true, user, ..Rights::default() });
        }
        let (missing, refused) = self.try_out(needs).await?;
        let beyond = self.beyond(needs, &user.name).await?;
        Ok(Rights { missing, refused, beyond, user, ..Rights::default() })
    }

    /// Looks whether the database writes what the program needs, and notes it for [`Store::writes`]. Returns why it
    /// does not, if it does not.
    pub(crate) async fn check_writes(
        &self,
        needs: &[Need],
        holder: &str,
    ) -> Result<Option<String>, StoreError> {
        let needs: Vec<Need> = needs.iter().filter(|need| need.right != "SELECT").cloned().collect();
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
                Err(error) if error.refusal().is_some() => Some(report(&error)),
                done => done.map(|_| None)?,
            },
        };
        self.writes().set(refused.clone());
        Ok(refused)
    }

    /// Tries each of these. Returns what is missing, and why the server refuses to write whatever the rights. What is
    /// not there at all counts as no lack: that is for the schema's check to say.
    async fn try_out(&self, needs: &[Need]) -> Result<(Vec<Need>, Option<String>), StoreError> {
        let (mut missing, mut refused) = (Vec::new(), None);
        for need in needs {
            match self.try_one(need, &need.columns).await? {
                Tried::Well => {}
                Tried::Refused(why) => refused = Some(why),
                Tried::Denied if need.whole => missing.push(need.clone()),
                Tried::Denied => {
                    let mut lacking = Need { columns: Vec::new(), ..need.clone() };
                    for column in &need.columns {
                        if matches!(self.try_one(need, &[column]).await?, Tried::Denied) {
                            lacking.columns.push(column);
                        }
                    }
                    missing.push(lacking);
                }
            }
        }
        Ok((missing, refused))
    }

    /// The server checks rights, and whether it only reads, before it looks for rows.
    async fn try_one(&self, need: &Need, columns: &[&str]) -> Result<Tried, StoreError> {
        let probe = Statement::from_string(self.backend(), need.probe(self.backend(), columns));
        let Err(error) = self.db.rows(DOING, Limit::Batch, probe).await else { return Ok(Tried::Well) };
        match error.refusal() {
            Some(Refusal::Right) => Ok(Tried::Denied),
            Some(_) => Ok(Tried::Refused(report(&error))),
            // A table that somebody has locked says nothing, and the next try of it would wait as long.
            None if error.is_reported() && !error.is_transient() => Ok(Tried::Well),
            None => Err(error),
        }
    }

    async fn user(&self) -> Result<User, StoreError> {
        let sql = match self.backend() {
            DbBackend::MySql => MYSQL_USER,
            DbBackend::Postgres => POSTGRES_USER,
            _ => return Ok(User::default()),
        };
        let ask = Statement::from_string(self.backend(), sql);
        let users: Vec<(String, String, String, Option<String>)> =
            self.db.values(DOING, Limit::Batch, ask).await?;
        let Some((mut name, place, database, shut)) = users.into_iter().next() else {
            return Ok(User::default());
        };
        if self.backend() == DbBackend::MySql {
            let (user, host) = name.rsplit_once('@').unwrap_or((&name, "%"));
            name = format!("'{user}'@'{host}'");
        }
        Ok(User { name, place, database, shut })
    }
}
