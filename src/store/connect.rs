//! Opening the pool: with limits on every wait, and each database's own manners.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::ConnectOptions;
use secrecy::ExposeSecret;

use super::clock::DatabaseClock;
use super::error::wants_tls;
use super::pool::{Lost, Pools, guarded, root_cause};
use super::timeout::Db;
use super::{Store, StoreError, Writes};
use crate::config;

const CONNECT: Duration = Duration::from_secs(5);
const ACQUIRE: Duration = Duration::from_secs(5);
/// No statement of ours takes longer, a heal over a million overviews included.
const STATEMENT: Duration = Duration::from_secs(30);

impl Store {
    /// Opens the pool and its first connection.
    ///
    /// # Errors
    /// [`StoreError::Connect`], with the URL less its password.
    pub async fn connect(settings: &config::Database) -> Result<Self, StoreError> {
        Self::open(settings, false).await
    }

    /// Makes the pool and connects when first used, so that a worker can start before its database.
    ///
    /// # Errors
    /// [`StoreError::Connect`] for a URL that no driver understands.
    pub async fn connect_lazy(settings: &config::Database) -> Result<Self, StoreError> {
        Self::open(settings, true).await
    }

    async fn open(settings: &config::Database, lazy: bool) -> Result<Self, StoreError> {
        let url = settings.url.expose_secret();
        let pools = match Pools::open(settings, lazy).await {
            Ok(pools) => pools,
            Err(error) if wants_tls(&error) => return Err(StoreError::PlainLogin),
            Err(error) => {
                let source = root_cause(url, error).await;
                return Err(StoreError::Connect { url: config::without_password(url), source });
            }
        };
        let writes = Writes::default();
        Ok(Self {
            db: Db::new(pools, writes.clone()),
            clock: Arc::new(DatabaseClock::default()),
            also: Arc::new([]),
            writes,
        })
    }
}

pub(super) fn options(settings: &config::Database, lazy: bool, lost: &Lost) -> ConnectOptions {
    let (sqlite, postgres, mysql) = (lost.clone(), lost.clone(), lost.clone());
    let mut options = ConnectOptions::new(settings.url.expose_secret());
    options
        .max_connections(settings.max_connections)
        .connect_timeout(CONNECT)
        .acquire_timeout(ACQUIRE)
        // `pool.rs` does, with a limit, and not each time.
        .test_before_acquire(false)
        .sqlx_logging(false)
        .connect_lazy(lazy)
        .statement_timeout(STATEMENT)
        .set_application_name("course-sharing")
        .map_sqlx_sqlite_opts(|sqlite| {
            sqlite
                .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
                .busy_timeout(ACQUIRE)
                // SQLite keeps a prepared statement in this process, a few hundred kilobytes for one of 500 rows; and
                // one that reads otherwise for each number of rows is seldom met again.
                .statement_cache_capacity(8)
                .foreign_keys(false)
        })
        .map_sqlx_sqlite_pool_opts(move |pool| guarded(pool, &sqlite))
        // Runs are looked up by key, hundreds at a time. By its default for spinning disks the planner reads the whole
        // table for that, twenty times as slow; and it would keep a plan that it made while the ledger was empty.
        .map_sqlx_postgres_opts(|postgres| {
            postgres.options([("random_page_cost", "1.1"), ("plan_cache_mode", "force_custom_plan")])
        })
        .map_sqlx_postgres_pool_opts(move |pool| guarded(pool, &postgres))
        .map_sqlx_mysql_pool_opts(move |pool| {
            guarded(pool, &mysql).after_connect(|connection, _| {
                Box::pin(async move {
                    // Under the default, REPEATABLE READ, an UPDATE with a join locks every row that it looks at,
                    // that is, the LMS's whole table; and no wait for a lock may outlast a delivery.
                    let session = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
                                   SET SESSION innodb_lock_wait_timeout = 10";
                    sqlx::Executor::execute(&mut *connection, sqlx::raw_sql(session)).await?;
                    Ok(())
                })
            })
        });
    options
}
