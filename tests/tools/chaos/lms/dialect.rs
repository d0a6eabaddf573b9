//! The SQL in which PostgreSQL and MariaDB differ.

use test_support::database::{Kind, OVERVIEWS_MYSQL, not_null_columns};

use crate::servers::Database;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Postgres,
    Mariadb,
    Sqlite,
}

impl Dialect {
    pub(super) fn of(server: &Database) -> Self {
        match server {
            Database::Server(server) if server.kind == Kind::Postgres => Self::Postgres,
            Database::Server(_) => Self::Mariadb,
            Database::Sqlite(_) => Self::Sqlite,
        }
    }

    pub(super) fn admin(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mariadb => "root",
            Self::Sqlite => "",
        }
    }

    /// One that is there before ours is made.
    pub(super) fn first_database(self) -> Option<&'static str> {
        match self {
            Self::Postgres => Some("postgres"),
            Self::Mariadb => Some("mysql"),
            Self::Sqlite => None,
        }
    }

    /// A database, and a user for the worker who is no superuser, so that a read-only server holds for it.
    pub(super) fn create(self, name: &str, user: &str) -> Vec<String> {
        match self {
            Self::Postgres => vec![
                format!(
                    "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{user}') THEN \
                     CREATE ROLE {user} LOGIN; END IF; END $$"
                ),
                "ALTER ROLE postgres SET default_transaction_read_only = off".to_owned(),
                format!("CREATE DATABASE {name} OWNER {user}"),
            ],
            Self::Mariadb => vec![
                format!("CREATE USER IF NOT EXISTS {user}@'127.0.0.1'"),
                // As the LMS's database is: keys are compared without case or accents.
                format!("CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"),
                format!("GRANT ALL ON {name}.* TO {user}@'127.0.0.1'"),
            ],
            // To connect makes the file.
            Self::Sqlite => Vec::new(),
        }
    }

    /// The LMS's table; none where the program's own migration makes a small one.
    pub(super) fn overview_table(self) -> Option<&'static str> {
        (self == Self::Mariadb).then_some(OVERVIEWS_MYSQL)
    }

    pub(super) fn insert(self, key: &str) -> String {
        match self {
            Self::Postgres | Self::Sqlite => {
                format!("INSERT INTO course_overviews_courseoverview (id) VALUES ('{key}')")
            }
            Self::Mariadb => {
                let rest = not_null_columns(Kind::Mysql).into_iter();
                let rest: String = rest.map(|(column, value)| format!("{column} = {value}, ")).collect();
                format!("INSERT INTO course_overviews_courseoverview SET {rest}id = '{key}'")
            }
        }
    }

    /// The log and its triggers. The time is the trigger's, a commit before it can be seen.
    pub(super) fn watch(self, worker: &str) -> Vec<String> {
        match self {
            Self::Postgres => watch_postgres(worker),
            Self::Mariadb => watch_mariadb(worker),
            Self::Sqlite => watch_sqlite(),
        }
    }

    pub(super) fn passes(self) -> &'static str {
        match self {
            Self::Postgres => {
                "SELECT (extract(epoch FROM started_at) * 1000000)::bigint AS s, \
                 (extract(epoch FROM finished_at) * 1000000)::bigint AS e FROM course_sharing_reconcile ORDER BY id"
            }
            Self::Mariadb => {
                "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', started_at) AS s, \
                 TIMESTAMPDIFF(MICROSECOND, '1970-01-01', finished_at) AS e FROM course_sharing_reconcile ORDER BY id"
            }
            Self::Sqlite => "SELECT 0 AS s, NULL AS e WHERE 1 = 0",
        }
    }

    pub(super) fn lock(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &[
                "BEGIN",
                "LOCK TABLE course_overviews_courseoverview, course_sharing_ledger IN ACCESS EXCLUSIVE MODE",
            ],
            Self::Mariadb => {
                &["LOCK TABLES course_overviews_courseoverview WRITE, course_sharing_ledger WRITE"]
            }
            Self::Sqlite => &["BEGIN IMMEDIATE"],
        }
    }

    pub(super) fn unlock(self) -> &'static str {
        match self {
            Self::Postgres | Self::Sqlite => "COMMIT",
            Self::Mariadb => "UNLOCK TABLES",
        }
    }

    pub(super) fn read_only(self, on: bool) -> Vec<String> {
        let word = if on { "on" } else { "off" };
        match self {
            Self::Postgres => vec![
                format!("ALTER SYSTEM SET default_transaction_read_only = {word}"),
                "SELECT pg_reload_conf()".to_owned(),
            ],
            Self::Mariadb => vec![format!("SET GLOBAL read_only = {word}")],
            Self::Sqlite => vec![format!("PRAGMA query_only = {word}")],
        }
    }

    /// Asks for the tables that a right has to be given on one by one; none where it need not be.
    pub(super) fn own_tables(self, database: &str) -> Option<String> {
        (self == Self::Mariadb).then(|| {
            format!(
                "SELECT table_name AS t FROM information_schema.tables \
                 WHERE table_schema = '{database}' AND table_name <> 'course_overviews_courseoverview'"
            )
        })
    }

    /// MariaDB knows no right on a database without one of its tables.
    pub(super) fn grant_by_table(self, database: &str, tables: &[String], worker: &str) -> Vec<String> {
        let revoke = format!("REVOKE UPDATE ON {database}.* FROM {worker}@'127.0.0.1'");
        let grants = tables.iter().map(|table| format!("GRANT UPDATE ON {table} TO {worker}@'127.0.0.1'"));
        std::iter::once(revoke).chain(grants).collect()
    }

    pub(super) fn may_update(self, may: bool, worker: &str) -> String {
        let user = if self == Self::Mariadb { format!("{worker}@'127.0.0.1'") } else { worker.to_owned() };
        let (verb, to) = if may { ("GRANT", "TO") } else { ("REVOKE", "FROM") };
        format!("{verb} UPDATE ON course_overviews_courseoverview {to} {user}")
    }
}

fn watch_postgres(worker: &str) -> Vec<String> {
    vec![
        "CREATE TABLE chaos_log (seq bigserial PRIMARY KEY, \
         at bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, \
         by_worker int NOT NULL, op text NOT NULL, id text NOT NULL, old_url text, new_url text)"
            .to_owned(),
        format!("GRANT INSERT ON chaos_log TO {worker}"),
        format!("GRANT USAGE ON SEQUENCE chaos_log_seq_seq TO {worker}"),
        format!(
            "CREATE FUNCTION chaos_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO chaos_log (by_worker, op, id, old_url, new_url) VALUES \
             ((session_user = '{worker}')::int, lower(TG_OP), CASE WHEN TG_OP = 'DELETE' THEN OLD.id ELSE NEW.id END, \
             CASE WHEN TG_OP <> 'INSERT' THEN OLD.marketing_url END, CASE WHEN TG_OP <> 'DELETE' THEN NEW.marketing_url END); \
             RETURN NULL; END $$"
        ),
        "CREATE TRIGGER chaos_note AFTER INSERT OR UPDATE OR DELETE ON course_overviews_courseoverview \
         FOR EACH ROW EXECUTE FUNCTION chaos_note()"
            .to_owned(),
    ]
}

fn watch_mariadb(worker: &str) -> Vec<String> {
    let table = "CREATE TABLE chaos_log (seq bigint PRIMARY KEY AUTO_INCREMENT, at bigint NOT NULL, by_worker int NOT NULL, \
                 op varchar(8) NOT NULL, id varchar(255) NOT NULL, old_url longtext, new_url longtext) \
                 ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin";
    let triggers = [
        ("insert", "NEW.id", "NULL", "NEW.marketing_url"),
        ("update", "NEW.id", "OLD.marketing_url", "NEW.marketing_url"),
        ("delete", "OLD.id", "OLD.marketing_url", "NULL"),
    ];
    let triggers = triggers.iter().map(|(op, id, old, new)| {
        // USER() is who connected, also in a trigger, which runs as whoever made it.
        format!(
            "CREATE TRIGGER chaos_note_{op} AFTER {op} ON course_overviews_courseoverview FOR EACH ROW \
             INSERT INTO chaos_log (at, by_worker, op, id, old_url, new_url) VALUES \
             (CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED), \
             USER() LIKE '{worker}@%', '{op}', {id}, {old}, {new})"
        )
    });
    std::iter::once(table.to_owned()).chain(triggers).collect()
}

/// SQLite knows no users: every write is taken for the worker's.
fn watch_sqlite() -> Vec<String> {
    let table = "CREATE TABLE chaos_log (seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, \
                 by_worker INTEGER NOT NULL, op TEXT NOT NULL, id TEXT NOT NULL, old_url TEXT, new_url TEXT)";
    let trigger = "CREATE TRIGGER chaos_note AFTER UPDATE ON course_overviews_courseoverview FOR EACH ROW BEGIN \
                   INSERT INTO chaos_log (at, by_worker, op, id, old_url, new_url) VALUES \
                   (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), 1, 'update', NEW.id, \
                   OLD.marketing_url, NEW.marketing_url); END";
    vec![table.to_owned(), trigger.to_owned()]
}
