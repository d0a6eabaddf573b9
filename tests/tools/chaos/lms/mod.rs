//! The LMS, played: its database, its table, and what it does to its rows. A trigger on the table notes down every
//! change by whomever, so that the history has all writes and not only those that somebody happened to see.

mod dialect;

use std::time::{Duration, Instant};

use anyhow::Context;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database as Connect, DatabaseConnection, DbErr, Statement,
    TransactionTrait,
};

use self::dialect::Dialect;
use crate::history::{Cell, Hand, Write, key, run_of};
use crate::servers::Database;

/// Held while a database is made.
static CREATING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The database user that the program under test works as; all other sessions are the LMS's.
pub(crate) const WORKER: &str = "worker";

/// What the harness may wait for an answer, a lock of 10 s included.
const ANSWER: Duration = Duration::from_secs(60);

/// A database with the LMS's table.
pub(crate) struct Lms {
    dialect: Dialect,
    name: String,
    db: DatabaseConnection,
    admin_url: String,
    /// For the program under test.
    pub(crate) worker_url: String,
}

impl Lms {
    /// Makes a database on the server; the tables come with [`Lms::watch`], when the program has migrated.
    pub(crate) async fn create(server: &Database, name: &str) -> anyhow::Result<Self> {
        let dialect = Dialect::of(server);
        let admin = connect(&server.url(dialect.admin(), dialect.first_database().unwrap_or(name))).await?;
        // Scenarios played side by side share a server, and PostgreSQL fails when two change one role at a time.
        let one_at_a_time = CREATING.lock().await;
        for sql in dialect.create(name, WORKER) {
            admin.execute_unprepared(&sql).await.with_context(|| sql.clone())?;
        }
        drop(one_at_a_time);
        admin.close().await?;
        let admin_url = server.url(dialect.admin(), name);
        let db = connect(&admin_url).await?;
        if let Some(table) = dialect.overview_table() {
            db.execute_unprepared(table).await?;
        }
        Ok(Self { dialect, name: name.to_owned(), db, admin_url, worker_url: server.url(WORKER, name) })
    }

    /// Fills the table with runs, and has every change noted down from then on.
    pub(crate) async fn watch(&self, runs: usize) -> anyhow::Result<()> {
        let transaction = self.db.begin().await?;
        for run in 0..runs {
            transaction.execute_unprepared(&self.dialect.insert(&key(run))).await?;
        }
        transaction.commit().await?;
        for sql in self.dialect.watch(WORKER) {
            self.db.execute_unprepared(&sql).await.with_context(|| sql.clone())?;
        }
        Ok(())
    }

    /// The runs whose newest answer ended their events and gave no link: a URL that is refused, or a null.
    pub(crate) async fn without_answered_link(&self) -> anyhow::Result<Vec<usize>> {
        let sql = "SELECT run_key AS k FROM course_sharing_ledger \
                   WHERE refused_since IS NOT NULL OR pending_clear_since IS NOT NULL";
        let rows = self.db.query_all_raw(self.statement(sql)).await?;
        let keys: Result<Vec<String>, DbErr> = rows.iter().map(|row| row.try_get("", "k")).collect();
        Ok(keys?.iter().filter_map(|key| run_of(key)).collect())
    }

    /// Properties and body of every dead letter that is a row.
    pub(crate) async fn dead_letters(&self) -> anyhow::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let sql = "SELECT properties, body FROM course_sharing_dead_letter ORDER BY id";
        let statement = Statement::from_string(self.db.get_database_backend(), sql);
        let rows = self.db.query_all_raw(statement).await?;
        rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
    }

    /// The worker's URL, by way of a proxy on this machine.
    pub(crate) fn worker_url_at(&self, port: u16) -> anyhow::Result<String> {
        let mut url = url::Url::parse(&self.worker_url)?;
        let _ = url.set_port(Some(port));
        Ok(url.to_string())
    }

    /// Saves the row with this in the column, as the LMS saves every column of what it read.
    pub(crate) async fn save(&self, run: usize, column: Option<&str>) -> anyhow::Result<()> {
        let value = column.map_or("NULL".to_owned(), |url| format!("'{url}'"));
        let sql = format!(
            "UPDATE course_overviews_courseoverview SET marketing_url = {value} WHERE id = '{}'",
            key(run)
        );
        self.insist(&[sql]).await
    }

    /// Deletes the row and makes it anew, without its URL.
    pub(crate) async fn recreate(&self, run: usize) -> anyhow::Result<()> {
        let key = key(run);
        let delete = format!("DELETE FROM course_overviews_courseoverview WHERE id = '{key}'");
        self.insist(&[delete, self.dialect.insert(&key)]).await
    }

    /// The column of one run.
    pub(crate) async fn column(&self, run: usize) -> anyhow::Result<Option<String>> {
        let sql = format!(
            "SELECT marketing_url AS u FROM course_overviews_courseoverview WHERE id = '{}'",
            key(run)
        );
        let row = self.db.query_one_raw(self.statement(&sql)).await?;
        Ok(row.map(|row| row.try_get("", "u")).transpose()?.flatten())
    }

    /// The columns of all runs.
    pub(crate) async fn columns(&self, runs: usize) -> anyhow::Result<Vec<Cell>> {
        let sql = "SELECT id, marketing_url AS u FROM course_overviews_courseoverview";
        let mut cells = vec![Cell::Absent; runs];
        for row in self.db.query_all_raw(self.statement(sql)).await? {
            let id: String = row.try_get("", "id")?;
            let column: Option<String> = row.try_get("", "u")?;
            if let Some(run) = run_of(&id).filter(|run| *run < runs) {
                cells[run] = Cell::read(run, column.as_deref());
            }
        }
        Ok(cells)
    }

    /// Every change so far, in order.
    pub(crate) async fn writes(&self) -> anyhow::Result<Vec<Write>> {
        let sql = "SELECT at, by_worker, op, id, old_url, new_url FROM chaos_log ORDER BY seq";
        let rows = self.db.query_all_raw(self.statement(sql)).await?;
        let mut writes = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(run) = run_of(&row.try_get::<String>("", "id")?) else { continue };
            let op: String = row.try_get("", "op")?;
            let cell = |name: &str, absent: &str| -> anyhow::Result<Cell> {
                let text: Option<String> = row.try_get("", name)?;
                Ok(if op == absent { Cell::Absent } else { Cell::read(run, text.as_deref()) })
            };
            let worker = row.try_get::<i32>("", "by_worker")? == 1;
            writes.push(Write {
                at: u64::try_from(row.try_get::<i64>("", "at")?)?,
                by: if worker { Hand::Worker } else { Hand::Lms },
                run,
                old: cell("old_url", "insert")?,
                new: cell("new_url", "delete")?,
            });
        }
        Ok(writes)
    }

    /// Passes that were started, as (start, end) in microseconds; the end is none while one runs.
    pub(crate) async fn passes(&self) -> anyhow::Result<Vec<(i64, Option<i64>)>> {
        let rows = self.db.query_all_raw(self.statement(self.dialect.passes())).await?;
        rows.iter().map(|row| Ok((row.try_get("", "s")?, row.try_get("", "e")?))).collect()
    }

    /// Locks the LMS's table and the worker's ledger against everybody for so long, as a migration does.
    pub(crate) async fn lock(&self, how_long: Duration) -> anyhow::Result<()> {
        let mut options = ConnectOptions::new(&self.admin_url);
        options.max_connections(1).sqlx_logging(false);
        let one = Connect::connect(options).await?;
        // It takes the tables one after the other, as a statement of the worker does in its own order: of a deadlock
        // the database may pick either as its victim.
        let since = Instant::now();
        while let Err(error) = executed(&one, self.dialect.lock()).await {
            if since.elapsed() > ANSWER {
                return Err(error).context("cannot lock the tables");
            }
            one.execute_unprepared("ROLLBACK").await?;
        }
        tokio::time::sleep(how_long).await;
        one.execute_unprepared(self.dialect.unlock()).await?;
        Ok(one.close().await?)
    }

    /// Makes the server refuse the worker's writes, or ends that.
    pub(crate) async fn read_only(&self, on: bool) -> anyhow::Result<()> {
        for sql in self.dialect.read_only(on) {
            self.db.execute_unprepared(&sql).await.with_context(|| sql.clone())?;
        }
        Ok(())
    }

    /// Makes the LMS's table one of old times, which holds no character beyond U+FFFF.
    pub(crate) async fn old_character_set(&self) -> anyhow::Result<()> {
        let sql = "ALTER TABLE course_overviews_courseoverview \
                   CONVERT TO CHARACTER SET utf8mb3 COLLATE utf8mb3_unicode_ci";
        self.db.execute_unprepared(sql).await?;
        Ok(())
    }

    /// Gives the worker its right to UPDATE table by table, so that the one on the LMS's can be taken away.
    pub(crate) async fn grant_by_table(&self) -> anyhow::Result<()> {
        let Some(ask) = self.dialect.own_tables(&self.name) else { return Ok(()) };
        let mut tables = Vec::new();
        for row in self.db.query_all_raw(self.statement(&ask)).await? {
            tables.push(row.try_get::<String>("", "t")?);
        }
        for sql in self.dialect.grant_by_table(&self.name, &tables, WORKER) {
            self.db.execute_unprepared(&sql).await.with_context(|| sql.clone())?;
        }
        self.may_update(true).await
    }

    /// Gives the worker the right to UPDATE the LMS's table, or takes it away.
    pub(crate) async fn may_update(&self, may: bool) -> anyhow::Result<()> {
        let sql = self.dialect.may_update(may, WORKER);
        self.db.execute_unprepared(&sql).await.with_context(|| sql.clone())?;
        Ok(())
    }

    /// Executes these in one transaction, again and again until it is done: the LMS's own troubles are not judged.
    async fn insist(&self, statements: &[String]) -> anyhow::Result<()> {
        let since = Instant::now();
        loop {
            let Err(error) = self.execute(statements).await else { return Ok(()) };
            if since.elapsed() > ANSWER {
                return Err(error).with_context(|| statements.join("; "));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn execute(&self, statements: &[String]) -> anyhow::Result<()> {
        let transaction = self.db.begin().await?;
        for sql in statements {
            transaction.execute_unprepared(sql).await?;
        }
        Ok(transaction.commit().await?)
    }

    fn statement(&self, sql: &str) -> Statement {
        Statement::from_string(self.db.get_database_backend(), sql)
    }
}

async fn executed(on: &impl ConnectionTrait, statements: &[&str]) -> Result<(), DbErr> {
    for sql in statements {
        on.execute_unprepared(sql).await?;
    }
    Ok(())
}

async fn connect(url: &str) -> anyhow::Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(8).acquire_timeout(ANSWER).sqlx_logging(false);
    Connect::connect(options).await.with_context(|| format!("cannot connect to {url}"))
}
