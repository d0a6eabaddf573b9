//! A database of its own for each test, on each of the three servers, dropped when the test is done.
//!
//! The program sees it as a user with the least rights that ops/ROLLOUT.md tells to grant; the test itself, and what
//! the LMS does, is the owner's.

use course_sharing::config;
use course_sharing::store::Store;
use migration::Direction;
use sea_orm::{ConnectionTrait, Database};
pub(crate) use test_support::database::Kind;
use test_support::database::{OVERVIEWS_MYSQL, OwnDatabase};

use super::grants;

pub(crate) const KINDS: [Kind; 3] = [Kind::Sqlite, Kind::Postgres, Kind::Mysql];

/// A throw-away database with the LMS's table and ours.
pub(crate) struct TestDatabase {
    pub(crate) kind: Kind,
    /// The program's own, as is `store`: with the least rights, once the tables are there.
    pub(crate) url: String,
    pub(crate) store: Store,
    /// The owner's, who may change tables.
    pub(crate) owner_url: String,
    pub(crate) owner: Store,
    /// The user with the least rights, where the server has users.
    pub(crate) user: Option<String>,
    pub(crate) name: String,
    own: OwnDatabase,
}

impl TestDatabase {
    /// With the LMS's table (on MySQL as the LMS makes it) and our own, and a user with the least rights.
    pub(crate) async fn new(kind: Kind) -> Self {
        Self::on(kind, kind.server()).await
    }

    /// The same on this server, given by its owner's URL without a path.
    pub(crate) async fn on(kind: Kind, server: Option<String>) -> Self {
        let mut database = Self::empty_on(kind, server).await;
        if kind == Kind::Mysql {
            database.execute(OVERVIEWS_MYSQL).await;
        }
        let up = Direction::Up { create_overview_table: kind != Kind::Mysql, restore_trigger: false };
        migration::migrate(&database.owner.connection(), up).await.unwrap();
        if kind != Kind::Sqlite {
            database.use_least_rights().await;
        }
        database
    }

    /// With nothing in it, and nobody but the owner.
    pub(crate) async fn empty(kind: Kind) -> Self {
        Self::empty_on(kind, kind.server()).await
    }

    async fn empty_on(kind: Kind, server: Option<String>) -> Self {
        let own = OwnDatabase::new(kind, server, "cs_test").await.unwrap();
        let (name, url) = (own.name.clone(), own.url.clone());
        let store = connect(&url).await;
        let (owner_url, owner) = (url.clone(), store.clone());
        Self { kind, url, store, owner_url, owner, user: None, name, own }
    }

    /// Makes the user of ops/ROLLOUT.md, by its statements, and has the program be that user from now on.
    async fn use_least_rights(&mut self) {
        let user = self.name.replace("cs_test", "cs_user");
        self.user = Some(user.clone());
        if self.kind == Kind::Postgres {
            // What PUBLIC has by default would hide a statement that is missing.
            let from = format!("DATABASE {} FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC", self.name);
            self.execute(&format!("REVOKE ALL ON {from}")).await;
        }
        for statement in self.statements().iter().filter(|statement| statement.only_with.is_none()) {
            self.execute(&statement.sql).await;
        }
        self.url = self.url_of(&user, grants::PASSWORD);
        self.store = connect(&self.url).await;
    }

    /// The statements of ops/ROLLOUT.md for this database and its user.
    pub(crate) fn statements(&self) -> Vec<grants::Statement> {
        let user = self.user.as_deref().expect("a server with users");
        grants::statements(self.kind, user, &self.name)
    }

    /// Grants what ops/ROLLOUT.md tells to grant for this table under some configurations only.
    pub(crate) async fn grant_on(&self, table: &str) {
        if self.kind != Kind::Sqlite {
            let wanted = |statement: &&grants::Statement| {
                statement.only_with.is_some() && statement.sql.contains(table)
            };
            for statement in self.statements().iter().filter(wanted) {
                self.execute(&statement.sql).await;
            }
        }
    }

    /// This database, for another user.
    pub(crate) fn url_of(&self, user: &str, password: &str) -> String {
        let mut url = url::Url::parse(&self.owner_url).unwrap();
        url.set_username(user).unwrap();
        url.set_password(Some(password)).unwrap();
        url.to_string()
    }

    pub(crate) async fn execute(&self, sql: &str) -> u64 {
        let done = self.owner.connection().execute_unprepared(sql).await;
        done.unwrap_or_else(|error| panic!("{error}: {sql}")).rows_affected()
    }

    /// Changes tables, on a connection of its own: on SQLite an old one may take a table for what it was.
    pub(crate) async fn change_tables(&self, sql: &str) {
        let db = Database::connect(&self.owner_url).await.unwrap();
        db.execute_unprepared(sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
        db.close().await.unwrap();
    }

    /// An overview as the LMS would insert it.
    pub(crate) async fn insert_overview(&self, id: &str, marketing_url: Option<&str>) {
        let url = marketing_url.map_or("NULL".to_owned(), |url| format!("'{url}'"));
        // IGNORE, as some forty other columns of the LMS's have no default, and none of them is of interest here; but for
        // two dates, which would be zero, and MySQL rebuilds no table with such dates.
        let sql = if self.kind == Kind::Mysql {
            format!(
                "INSERT IGNORE INTO course_overviews_courseoverview (id, marketing_url, created, modified) \
                 VALUES ('{id}', {url}, NOW(6), NOW(6))"
            )
        } else {
            format!("INSERT INTO course_overviews_courseoverview (id, marketing_url) VALUES ('{id}', {url})")
        };
        let inserted = self.execute(&sql).await;
        assert_eq!(inserted, 1, "{id}");
    }

    /// On MySQL: ids that differ are all let in, and then compare as equal where only case or accents differ.
    pub(crate) async fn compare_ids_insensitively(&self) {
        let change = "DROP PRIMARY KEY, MODIFY id varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL";
        self.execute(&format!("ALTER TABLE course_overviews_courseoverview {change}")).await;
    }

    /// From now on the database lets nobody give this overview a link: a constraint, or a trigger.
    pub(crate) async fn reject_link(&self, id: &str) {
        let table = "course_overviews_courseoverview";
        let refuses = format!("NEW.id = '{id}' AND NEW.marketing_url IS NOT NULL");
        let sql = match self.kind {
            Kind::Postgres => format!(
                "ALTER TABLE {table} ADD CONSTRAINT no_link CHECK (id <> '{id}' OR marketing_url IS NULL)"
            ),
            Kind::Mysql => format!(
                "CREATE TRIGGER no_link BEFORE UPDATE ON {table} FOR EACH ROW \
                 IF {refuses} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no_link'; END IF"
            ),
            Kind::Sqlite => format!(
                "CREATE TRIGGER no_link BEFORE UPDATE ON {table} WHEN {refuses} BEGIN SELECT RAISE(ABORT, 'no_link'); END"
            ),
        };
        self.execute(&sql).await;
    }

    /// Ends all sessions of this user, as a server does that is restarted.
    pub(crate) async fn end_sessions_of(&self, user: &str) {
        if self.kind == Kind::Postgres {
            let sessions =
                format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user}'");
            self.execute(&sessions).await;
            return;
        }
        let sql = format!(
            "SELECT CAST(ID AS CHAR) AS id FROM information_schema.PROCESSLIST WHERE USER = '{user}'"
        );
        let db = self.owner.connection();
        let sessions = sea_orm::Statement::from_string(db.get_database_backend(), sql);
        for session in db.query_all_raw(sessions).await.unwrap() {
            self.execute(&format!("KILL {}", session.try_get::<String>("", "id").unwrap())).await;
        }
    }

    /// How many rows a table has.
    pub(crate) async fn count(&self, table: &str) -> i64 {
        let db = self.owner.connection();
        let sql = format!("SELECT COUNT(*) AS n FROM {table}");
        let row = db.query_one_raw(sea_orm::Statement::from_string(db.get_database_backend(), sql)).await;
        row.unwrap().unwrap().try_get("", "n").unwrap()
    }

    /// The link of one overview, read byte for byte; `None` if there is no such overview.
    pub(crate) async fn link(&self, id: &str) -> Option<Option<String>> {
        // The cast, as PostgreSQL has no plan any more where the column got another type.
        let (binary, link) = match self.kind {
            Kind::Mysql => ("BINARY ", "marketing_url"),
            Kind::Postgres => ("", "marketing_url::text"),
            Kind::Sqlite => ("", "marketing_url"),
        };
        let sql = format!(
            "SELECT {link} AS marketing_url FROM course_overviews_courseoverview WHERE {binary}id = '{id}'"
        );
        let backend = self.owner.connection().get_database_backend();
        let row = self
            .owner
            .connection()
            .query_one_raw(sea_orm::Statement::from_string(backend, sql))
            .await
            .unwrap();
        row.map(|row| row.try_get("", "marketing_url").unwrap())
    }

    /// Drops the database; a test that panics before leaves it behind, for a look.
    pub(crate) async fn drop(self) {
        let _ = self.store.connection().close().await;
        let _ = self.owner.connection().close().await;
        self.own.drop(self.user.as_deref()).await.unwrap();
    }
}

async fn connect(url: &str) -> Store {
    let settings = config::Database { url: url.into(), ..config::Database::default() };
    Store::connect(&settings).await.unwrap()
}
