//! A database of its own for each bench: made, filled, asked what is true in it, and dropped.
//!
//! Overviews are those of the stand-in's made-up runs, so that one SQL expression says what each link has to be.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use course_sharing::config;
use course_sharing::store::Store;
use migration::Direction;
use sea_orm::{ConnectionTrait, Statement, TransactionTrait, Value};
pub(crate) use test_support::database::{Kind, TABLE, not_null_columns};
use test_support::database::{OVERVIEWS_MYSQL, OwnDatabase};

/// Rows in one statement, when filling.
const CHUNK: u32 = 1_000;

/// A throw-away database with the LMS's table and ours.
pub(crate) struct Database {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) store: Store,
    /// Statements of ours, to be taken off the database's count.
    asked: AtomicU64,
    pub(crate) own: OwnDatabase,
}

/// The key of a made-up run, as the stand-in makes it.
pub(crate) fn course(number: u32) -> String {
    format!("course-v1:OrgX+C{number:07}+2026_T1")
}

/// Its URL; `edition` tells a later URL from an earlier one, and is empty for what the stand-in makes by itself.
pub(crate) fn url(number: u32, edition: &str) -> String {
    format!("https://www.campus.example/course/orgx-c{number:07}{edition}")
}

impl Database {
    /// With the LMS's table (on MariaDB as the LMS makes it) and ours, empty.
    pub(crate) async fn new(kind: Kind) -> anyhow::Result<Self> {
        let own = OwnDatabase::new(kind, kind.server(), "cs_bench").await?;
        let url = own.url.clone();
        let settings = config::Database { url: url.clone().into(), ..config::Database::default() };
        let store = Store::connect(&settings).await?;
        let database = Self { kind, url, store, asked: AtomicU64::new(0), own };
        if kind == Kind::Mysql {
            database.execute(OVERVIEWS_MYSQL).await?;
        }
        let up = Direction::Up { create_overview_table: kind != Kind::Mysql, restore_trigger: false };
        migration::migrate(&database.store.connection(), up).await?;
        Ok(database)
    }

    pub(crate) async fn execute(&self, sql: &str) -> anyhow::Result<u64> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(self.store.connection().execute_unprepared(sql).await?.rows_affected())
    }

    async fn number(&self, sql: String, values: Vec<Value>) -> anyhow::Result<u64> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let connection = self.store.connection();
        let statement = Statement::from_sql_and_values(connection.get_database_backend(), sql, values);
        let row = connection.query_one_raw(statement).await?.context("no row")?;
        Ok(row.try_get_by_index::<i64>(0)?.unsigned_abs())
    }

    /// Overviews of the first `count` runs, with their URL of this edition or blank.
    pub(crate) async fn fill(&self, count: u32, edition: Option<&str>) -> anyhow::Result<()> {
        let rest = not_null_columns(self.kind);
        let columns: String = rest.iter().map(|(column, _)| format!(", {column}")).collect();
        let values: String = rest.iter().map(|(_, value)| format!(", {value}")).collect();
        self.insert(count, &format!("INSERT INTO {TABLE} (id, marketing_url{columns}) VALUES "), |n| {
            let link = edition.map_or("NULL".to_owned(), |edition| format!("'{}'", url(n, edition)));
            format!("('{}', {link}{values})", course(n))
        })
        .await?;
        self.analyze().await
    }

    /// A ledger that knows the first `count` runs by their URL of this edition, seen long ago.
    pub(crate) async fn fill_ledger(&self, count: u32, edition: &str) -> anyhow::Result<()> {
        let into = "INSERT INTO course_sharing_ledger (run_key, marketing_url, listed, changed_at, observed_at, \
                    observed_by) VALUES ";
        self.insert(count, into, |n| {
            let (at, key, url) = ("'2026-01-01 00:00:00'", course(n), url(n, edition));
            format!("('{key}', '{url}', TRUE, {at}, {at}, 'pass')")
        })
        .await?;
        self.analyze().await
    }

    /// Writes the ledger's rows and the overviews of these runs with their URL of this edition, in one transaction.
    pub(crate) async fn write(&self, from: u32, to: u32, edition: &str) -> anyhow::Result<()> {
        let (now, later) = ("'2027-01-01 00:00:00'", "observed_at");
        let rows: Vec<String> = (from..to)
            .map(|n| format!("('{}', '{}', TRUE, {now}, {now}, 'pass')", course(n), url(n, edition)))
            .collect();
        let columns = ["marketing_url", "changed_at", later];
        let set =
            |new: fn(&str) -> String| columns.map(|column| format!("{column} = {}", new(column))).join(", ");
        let update = match self.kind {
            Kind::Mysql => format!("ON DUPLICATE KEY UPDATE {}", set(|column| format!("VALUES({column})"))),
            _ => {
                format!("ON CONFLICT (run_key) DO UPDATE SET {}", set(|column| format!("excluded.{column}")))
            }
        };
        let ledger = format!(
            "INSERT INTO course_sharing_ledger (run_key, marketing_url, listed, changed_at, observed_at, observed_by) \
             VALUES {} {update}",
            rows.join(", ")
        );
        let (first, last, url) = (course(from), course(to - 1), self.url_of(edition));
        let overviews =
            format!("UPDATE {TABLE} SET marketing_url = {url} WHERE id BETWEEN '{first}' AND '{last}'");
        self.asked.fetch_add(4, Ordering::Relaxed);
        let transaction = self.store.connection().begin().await?;
        transaction.execute_unprepared(&ledger).await?;
        transaction.execute_unprepared(&overviews).await?;
        Ok(transaction.commit().await?)
    }

    async fn insert(&self, count: u32, into: &str, row: impl Fn(u32) -> String) -> anyhow::Result<()> {
        for from in (0..count).step_by(CHUNK as usize) {
            let rows: Vec<String> = (from..count.min(from + CHUNK)).map(&row).collect();
            self.execute(&format!("{into}{}", rows.join(", "))).await?;
        }
        Ok(())
    }

    /// As any database that has stood for a while: the planner knows the tables.
    async fn analyze(&self) -> anyhow::Result<()> {
        let tables = [TABLE, "course_sharing_ledger"];
        for table in tables {
            let what = if self.kind == Kind::Mysql { "ANALYZE TABLE" } else { "ANALYZE" };
            self.execute(&format!("{what} {table}")).await?;
        }
        Ok(())
    }

    /// How many overviews have exactly the URL of this edition.
    pub(crate) async fn right(&self, edition: &str) -> anyhow::Result<u64> {
        let binary = if self.kind == Kind::Mysql { "BINARY " } else { "" };
        let wanted = self.url_of(edition);
        self.number(
            format!("SELECT COUNT(*) FROM {TABLE} WHERE marketing_url = {binary}{wanted}"),
            Vec::new(),
        )
        .await
    }

    /// In SQL, the URL of an overview's run.
    fn url_of(&self, edition: &str) -> String {
        match self.kind {
            Kind::Mysql => {
                format!(
                    "CONCAT('https://www.campus.example/course/orgx-c', SUBSTRING(id, 17, 7), '{edition}')"
                )
            }
            _ => format!("('https://www.campus.example/course/orgx-c' || substr(id, 17, 7) || '{edition}')"),
        }
    }

    /// How many overviews have any URL.
    pub(crate) async fn linked(&self) -> anyhow::Result<u64> {
        self.number(format!("SELECT COUNT(*) FROM {TABLE} WHERE marketing_url IS NOT NULL"), Vec::new()).await
    }

    /// Whether one overview has exactly the URL of this edition; found by its primary key.
    pub(crate) async fn is_right(&self, number: u32, edition: &str) -> anyhow::Result<bool> {
        let values = vec![course(number).into(), url(number, edition).into()];
        // One text for all runs, so that it is prepared once.
        let (id, url) = if self.kind == Kind::Postgres { ("$1", "$2") } else { ("?", "?") };
        let sql = format!("SELECT COUNT(*) FROM {TABLE} WHERE id = {id} AND marketing_url = {url}");
        Ok(self.number(sql, values).await? == 1)
    }

    /// The database's own count of what it was asked, less what we asked; none where it keeps no count.
    ///
    /// PostgreSQL counts transactions, one for a statement that stands alone; MariaDB counts statements, those of
    /// others on the server too.
    pub(crate) async fn asked_of_it(&self) -> anyhow::Result<Option<u64>> {
        let ours = self.asked.load(Ordering::Relaxed);
        let count = match self.kind {
            Kind::Sqlite => return Ok(None),
            Kind::Postgres => {
                // A backend tells of its transactions once a second, or at its end.
                tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
                self.number(
                    "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = \
                             current_database()"
                        .to_owned(),
                    Vec::new(),
                )
                .await?
            }
            Kind::Mysql => {
                self.number(
                    "SELECT CAST(variable_value AS SIGNED) FROM information_schema.global_status WHERE \
                             variable_name = 'Questions'"
                        .to_owned(),
                    Vec::new(),
                )
                .await?
            }
        };
        Ok(Some(count.saturating_sub(ours)))
    }

    /// What the figure above counts.
    pub(crate) fn counted(&self) -> &'static str {
        match self.kind {
            Kind::Sqlite => "statements (SQLite keeps no count)",
            Kind::Postgres => "transactions, by pg_stat_database",
            Kind::Mysql => "statements, by Questions",
        }
    }

    /// Drops it.
    pub(crate) async fn drop(self) -> anyhow::Result<()> {
        self.store.connection().close().await?;
        self.own.drop(None).await
    }
}
