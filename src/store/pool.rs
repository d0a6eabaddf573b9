//! The pool of connections: opened with limits on every wait, and each database's own settings; and a new one in its
//! place where its connections may not be used any more: a statement had no answer, a connection broke, or a COMMIT or
//! ROLLBACK failed. Such a connection may hang for ever, or still be inside its transaction.
//!
//! A connection that hangs while the pool asks it whether it lives keeps its place, as the pool asks without a limit; and
//! over TLS the driver waits for the server's farewell before a connection gives up its place. So a pool may have no room
//! left although nobody uses its connections; then there is a new one in its place too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use sea_orm::{ConnAcquireErr, ConnectOptions, Database, DatabaseConnection, DbErr, RuntimeErr};
use secrecy::ExposeSecret;
use sqlx::Connection;
use sqlx::pool::PoolOptions;
use sqlx::postgres::PgConnectOptions;
use tokio_util::sync::CancellationToken;

use crate::config;

const CONNECT: Duration = Duration::from_secs(5);
const ACQUIRE: Duration = Duration::from_secs(5);
/// A connection that nobody used for so long is asked whether it lives; asking costs as much as a short statement.
const TESTED_AFTER: Duration = Duration::from_secs(1);
/// How long that may take.
const PING: Duration = Duration::from_secs(2);
/// How long one connection may take to say why none can be had.
const CAUSE: Duration = Duration::from_secs(2);

fn options(settings: &config::Database, lazy: bool, lost: &Lost) -> ConnectOptions {
    let (sqlite, postgres, mysql) = (lost.clone(), lost.clone(), lost.clone());
    let mut options = ConnectOptions::new(settings.url.expose_secret());
    options
        .max_connections(settings.max_connections)
        .connect_timeout(CONNECT)
        .acquire_timeout(ACQUIRE)
        // `guarded` does, with a limit, and not each time.
        .test_before_acquire(false)
        .sqlx_logging(false)
        .connect_lazy(lazy)
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
        .map_sqlx_postgres_opts(without_settings)
        .map_sqlx_sqlite_pool_opts(move |pool| guarded(pool, &sqlite))
        .map_sqlx_postgres_pool_opts(move |pool| {
            guarded(pool, &postgres).after_connect(|connection, _| {
                Box::pin(async move {
                    // Runs are looked up by key, hundreds at a time. By its default for spinning disks the planner
                    // reads the whole table for that, twenty times as slow; and it would keep a plan that it made
                    // while the ledger was empty. No statement of ours takes half a minute, a heal over a million overviews
                    // included; and no wait for a row that the LMS has locked may outlast the limit of a batch.
                    let session = "SET random_page_cost = 1.1; SET plan_cache_mode = force_custom_plan; \
                                   SET statement_timeout = '30s'; SET lock_timeout = '5s'";
                    sqlx::Executor::execute(&mut *connection, sqlx::raw_sql(session)).await?;
                    Ok(())
                })
            })
        })
        .map_sqlx_mysql_pool_opts(move |pool| {
            guarded(pool, &mysql).after_connect(|connection, _| {
                Box::pin(async move {
                    // Under the default, REPEATABLE READ, an UPDATE with a join locks every row that it looks at,
                    // that is, the LMS's whole table. The limits are those of PostgreSQL above; each server reads its own
                    // name for that of a statement, and MySQL's is for SELECT alone.
                    let session = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
                                   SET SESSION innodb_lock_wait_timeout = 5 /*M!100101 , max_statement_time = 30 */ \
                                   /*!50708 , max_execution_time = 30000 */";
                    sqlx::Executor::execute(&mut *connection, sqlx::raw_sql(session)).await?;
                    Ok(())
                })
            })
        });
    options
}

/// PgBouncer refuses a connection that comes with settings.
fn without_settings(options: PgConnectOptions) -> PgConnectOptions {
    options.extra_float_digits(None)
}

/// One pool; cheap to clone.
#[derive(Clone)]
pub(super) struct Pool {
    pub(super) db: DatabaseConnection,
    lost: Lost,
    places: u32,
    working: Arc<AtomicU32>,
}

/// Work that uses a connection of a pool, or waits for one. It ends when this is dropped.
pub(super) struct Working(Arc<AtomicU32>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Cancelled once the connections of one pool may not be used any more.
type Lost = CancellationToken;

impl Pool {
    async fn open(settings: &config::Database, lazy: bool) -> Result<Self, DbErr> {
        let lost = Lost::default();
        let db = Database::connect(options(settings, lazy, &lost)).await?;
        Ok(Self { db, lost, places: settings.max_connections, working: Arc::default() })
    }

    /// Begins work, which uses one connection at a time.
    pub(super) fn begin_work(&self) -> Working {
        self.working.fetch_add(1, Ordering::Relaxed);
        Working(self.working.clone())
    }

    /// Whether all work that runs has a place. Work that got no connection nevertheless waited for one that hangs, or for
    /// a server that does not answer, and not for other work.
    pub(super) fn has_places(&self) -> bool {
        self.working.load(Ordering::Relaxed) <= self.places
    }

    /// Has every connection of this pool closed, and the next work go to a new pool.
    pub(super) fn lose(&self) {
        self.lost.cancel();
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }
}

/// The pool in use.
pub(super) struct Pools {
    settings: config::Database,
    current: RwLock<Pool>,
}

impl Pools {
    pub(super) async fn open(settings: &config::Database, lazy: bool) -> Result<Self, DbErr> {
        let current = RwLock::new(Pool::open(settings, lazy).await?);
        Ok(Self { settings: settings.clone(), current })
    }

    /// The pool in use, whether or not its connections are good.
    pub(super) fn get(&self) -> Pool {
        self.current.read().clone()
    }

    /// A pool whose connections may be used. What still runs by an old one goes on; its connections close as they are
    /// given back.
    pub(super) async fn good(&self) -> Result<Pool, DbErr> {
        let current = self.get();
        if !current.is_lost() {
            return Ok(current);
        }
        let new = Pool::open(&self.settings, true).await?;
        let mut current = self.current.write();
        // Another may have replaced it meanwhile.
        if current.is_lost() {
            *current = new;
        }
        Ok(current.clone())
    }

    /// What is wrong with a connection to this database, where the pool waited in vain; else the error as it is. The
    /// pool takes a server that refuses connections for one that is about to start.
    pub(super) async fn root_cause(&self, error: DbErr) -> DbErr {
        root_cause(self.settings.url.expose_secret(), error).await
    }
}

/// Whether all that is known is that no connection was to be had in time.
pub(super) fn is_acquire_timeout(error: &DbErr) -> bool {
    match error {
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) => true,
        DbErr::Conn(RuntimeErr::SqlxError(error)) => matches!(**error, sqlx::Error::PoolTimedOut),
        _ => false,
    }
}

/// What one connection meets, where the pool waited in vain.
pub(super) async fn root_cause(url: &str, error: DbErr) -> DbErr {
    if !is_acquire_timeout(&error) {
        return error;
    }
    let one = async {
        match url.split(':').next() {
            Some("postgres" | "postgresql") => {
                let options = without_settings(url.parse()?);
                sqlx::PgConnection::connect_with(&options).await.map(drop)
            }
            Some("mysql" | "mariadb") => sqlx::MySqlConnection::connect(url).await.map(drop),
            _ => Ok(()),
        }
    };
    match tokio::time::timeout(CAUSE, one).await {
        Ok(Ok(())) => error,
        Ok(Err(cause)) => DbErr::Conn(RuntimeErr::SqlxError(Arc::new(cause))),
        Err(_) => DbErr::Conn(RuntimeErr::Internal(format!("no answer within {} s", CAUSE.as_secs()))),
    }
}

/// Has the pool close connections that may not be used: when they come back, and before they are given out.
fn guarded<DB: sqlx::Database>(pool: PoolOptions<DB>, lost: &Lost) -> PoolOptions<DB> {
    let (before, after) = (lost.clone(), lost.clone());
    pool.before_acquire(move |connection, meta| {
        let lost = before.clone();
        Box::pin(async move {
            Ok(!lost.is_cancelled() && (meta.idle_for < TESTED_AFTER || pings(connection, &lost).await))
        })
    })
    .after_release(move |connection, _| {
        let lost = after.clone();
        Box::pin(async move {
            // The pool then asks it whether it lives, and has it send what was still to be sent, such as a ROLLBACK. Without
            // a limit of ours: where that hangs, so do the others, and the first that does so in use has all replaced.
            Ok(!lost.is_cancelled() && !connection.is_in_transaction())
        })
    })
}

/// Whether a connection answers; one that does not may keep its place, and the others hang too.
async fn pings<C: Connection>(connection: &mut C, lost: &Lost) -> bool {
    let answers = matches!(tokio::time::timeout(PING, connection.ping()).await, Ok(Ok(())));
    if !answers {
        lost.cancel();
    }
    answers
}
