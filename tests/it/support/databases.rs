//! A database of its own for each test, on each of the three servers, dropped when the test is done.

use course_sharing::config;
use course_sharing::store::Store;
use migration::Direction;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};

const OVERVIEWS_MYSQL: &str = include_str!("../../fixtures/lms/course_overviews.mysql.sql");

/// The three kinds of database that the program runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    Mysql,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Sqlite, Kind::Postgres, Kind::Mysql];

/// A throw-away database with the LMS's table and ours.
pub(crate) struct TestDatabase {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) store: Store,
    name: String,
    _dir: tempfile::TempDir,
}

impl Kind {
    /// The server's URL, as `ops/test` and CI set it, or as the distribution's packages come.
    fn server(self) -> Option<String> {
        let (variable, default) = match self {
            Self::Sqlite => return None,
            Self::Postgres => ("TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432"),
            Self::Mysql => ("TEST_MYSQL_URL", "mysql://root@127.0.0.1:3306"),
        };
        Some(std::env::var(variable).unwrap_or_else(|_| default.to_owned()))
    }

    async fn connect_server(self, url: &str) -> DatabaseConnection {
        let database = if self == Self::Postgres { "/postgres" } else { "" };
        Database::connect(format!("{url}{database}")).await.unwrap_or_else(|error| {
            panic!("no {self:?} server answers at {url}: {error}\nops/test gets one; or set TEST_POSTGRES_URL / TEST_MYSQL_URL")
        })
    }
}

impl TestDatabase {
    /// With the LMS's table (on MySQL as the LMS makes it) and our own.
    pub(crate) async fn new(kind: Kind) -> Self {
        let database = Self::empty(kind).await;
        if kind == Kind::Mysql {
            database.execute(OVERVIEWS_MYSQL).await;
        }
        let up = Direction::Up { create_overview_table: kind != Kind::Mysql };
        migration::migrate(database.store.connection(), up).await.unwrap();
        database
    }

    /// With nothing in it.
    pub(crate) async fn empty(kind: Kind) -> Self {
        let name = format!("cs_test_{:016x}", rand::random::<u64>());
        let dir = tempfile::tempdir().unwrap();
        let url = match kind.server() {
            None => format!("sqlite://{}/test.db?mode=rwc", dir.path().display()),
            Some(server) => {
                let admin = kind.connect_server(&server).await;
                admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
                admin.close().await.unwrap();
                format!("{server}/{name}")
            }
        };
        let settings = config::Database { url: url.clone().into(), ..config::Database::default() };
        let store = Store::connect(&settings).await.unwrap();
        Self { kind, url, store, name, _dir: dir }
    }

    pub(crate) async fn execute(&self, sql: &str) -> u64 {
        self.store.connection().execute_unprepared(sql).await.unwrap().rows_affected()
    }

    /// An overview as the LMS would insert it.
    pub(crate) async fn insert_overview(&self, id: &str, marketing_url: Option<&str>) {
        let url = marketing_url.map_or("NULL".to_owned(), |url| format!("'{url}'"));
        // IGNORE, as some forty other columns of the LMS's have no default, and none of them is of interest here.
        let insert = if self.kind == Kind::Mysql { "INSERT IGNORE" } else { "INSERT" };
        let table = "course_overviews_courseoverview (id, marketing_url)";
        let inserted = self.execute(&format!("{insert} INTO {table} VALUES ('{id}', {url})")).await;
        assert_eq!(inserted, 1, "{id}");
    }

    /// The link of one overview, read byte for byte; `None` if there is no such overview.
    pub(crate) async fn link(&self, id: &str) -> Option<Option<String>> {
        let binary = if self.kind == Kind::Mysql { "BINARY " } else { "" };
        let sql =
            format!("SELECT marketing_url FROM course_overviews_courseoverview WHERE {binary}id = '{id}'");
        let backend = self.store.connection().get_database_backend();
        let row = self
            .store
            .connection()
            .query_one_raw(sea_orm::Statement::from_string(backend, sql))
            .await
            .unwrap();
        row.map(|row| row.try_get("", "marketing_url").unwrap())
    }

    /// Drops the database; a test that panics before leaves it behind, for a look.
    pub(crate) async fn drop(self) {
        let Self { kind, store, name, .. } = self;
        let _ = store.connection().clone().close().await;
        if let Some(server) = kind.server() {
            let force = if kind == Kind::Postgres { " WITH (FORCE)" } else { "" };
            let admin = kind.connect_server(&server).await;
            admin.execute_unprepared(&format!("DROP DATABASE {name}{force}")).await.unwrap();
        }
    }
}
