//! A database of one's own on each of the three kinds of server, and what the LMS's table is like.

use anyhow::Context;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};

/// The LMS's table.
pub const TABLE: &str = "course_overviews_courseoverview";
/// How the LMS makes it, on MySQL and MariaDB.
pub const OVERVIEWS_MYSQL: &str = include_str!("../fixtures/lms/course_overviews.mysql.sql");

/// The three kinds of database that the program runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Sqlite,
    Postgres,
    #[value(name = "mariadb")]
    Mysql,
}

/// A throw-away database with nothing in it.
pub struct OwnDatabase {
    /// Where it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its owner's URL.
    pub url: String,
    server: Option<String>,
    _dir: tempfile::TempDir,
}

impl Kind {
    /// Its name, as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::Mysql => "MariaDB",
        }
    }

    /// The server's URL without a path, as `ops/services` says, or as the distribution's packages come.
    pub fn server(self) -> Option<String> {
        let (variable, default) = match self {
            Self::Sqlite => return None,
            Self::Postgres => ("TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432"),
            Self::Mysql => ("TEST_MYSQL_URL", "mysql://root@127.0.0.1:3306"),
        };
        Some(std::env::var(variable).unwrap_or_else(|_| default.to_owned()))
    }

    /// A connection to a server, in no database of ours.
    ///
    /// # Errors
    /// If it does not answer: the words say how to get one.
    pub async fn connect(self, server: &str) -> anyhow::Result<DatabaseConnection> {
        let database = if self == Self::Postgres { "/postgres" } else { "" };
        let name = self.name();
        Database::connect(format!("{server}{database}")).await.with_context(|| {
            format!("no {name} answers at {server}: ops/services gets one; or set TEST_POSTGRES_URL / TEST_MYSQL_URL")
        })
    }
}

impl OwnDatabase {
    /// Makes one on the server, under a random name after the prefix; without a server, as a file of SQLite's.
    ///
    /// # Errors
    /// If it cannot be made.
    pub async fn new(kind: Kind, server: Option<String>, prefix: &str) -> anyhow::Result<Self> {
        let name = format!("{prefix}_{:016x}", rand::random::<u64>());
        let dir = tempfile::Builder::new().prefix(prefix).tempdir()?;
        let url = match &server {
            None => format!("sqlite://{}/{name}.db?mode=rwc", dir.path().display()),
            Some(server) => {
                let admin = kind.connect(server).await?;
                admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await?;
                admin.close().await?;
                format!("{server}/{name}")
            }
        };
        Ok(Self { kind, name, url, server, _dir: dir })
    }

    /// Drops it, and a user of its server's that was made for it.
    ///
    /// # Errors
    /// If it cannot be dropped.
    pub async fn drop(self, user: Option<&str>) -> anyhow::Result<()> {
        let Some(server) = &self.server else { return Ok(()) };
        let force = if self.kind == Kind::Postgres { " WITH (FORCE)" } else { "" };
        let admin = self.kind.connect(server).await?;
        admin.execute_unprepared(&format!("DROP DATABASE {}{force}", self.name)).await?;
        // On PostgreSQL rights go with the database; on MySQL with the user.
        if let Some(user) = user {
            admin.execute_unprepared(&format!("DROP USER {user}")).await?;
        }
        Ok(())
    }
}

/// What the LMS's table wants besides id and link, read from its definition, with a value that goes; on other databases
/// than MySQL the program makes the table, and it wants nothing more.
pub fn not_null_columns(kind: Kind) -> Vec<(&'static str, &'static str)> {
    let column = |line: &'static str| {
        let mut words = line.split_whitespace();
        let (column, kind) = (words.next()?, words.next()?);
        let value = match kind {
            _ if kind.starts_with("datetime") => "NOW(6)",
            _ if kind.starts_with("varchar") || kind == "longtext" => "''",
            _ => "0",
        };
        (column != "`id`").then_some((column, value))
    };
    let definition = if kind == Kind::Mysql { OVERVIEWS_MYSQL } else { "" };
    definition.lines().filter(|line| line.contains(" NOT NULL")).filter_map(column).collect()
}
