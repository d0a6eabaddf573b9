//! The only way to the database: every statement of the store goes through [`Db`], and every one of them has an end.
//!
//! A statement runs on a task of its own, so that a caller who stops waiting leaves no connection in the middle of an
//! answer. At its limit the task is dropped, and with it its connection: what comes after goes by a new pool.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::sea_query::{Expr, SelectStatement};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, FromQueryResult, QueryResult,
    SqliteTransactionMode, Statement, StatementBuilder, TransactionOptions, TransactionTrait, TryGetableMany,
};
use tokio::time::Instant;
use tracing::Instrument;

use super::error::COMMIT;
use super::pool::{Pool, Pools, is_acquire_timeout};
use super::statement::{self, commit};
use super::{StoreError, Writes};

/// How often work is tried while it fails by something that passes.
const TRIES: u32 = 3;

/// How long work on the database may take, the wait for a connection and all its tries included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For statements on a batch of rows; less than the 30 s in which an outage has to be noticed.
    pub batch: Duration,
    /// For statements on a whole table; longer than the server's own limit for one, where it has one.
    pub table: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { batch: Duration::from_secs(20), table: Duration::from_secs(40) }
    }
}

/// Which of the [`Timeouts`] holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    Batch,
    Table,
}

/// Work in a transaction: one statement, or several.
pub(super) type Work<'w, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'w>>;

/// The database; cheap to clone.
#[derive(Clone)]
pub(super) struct Db {
    pools: Arc<Pools>,
    backend: DbBackend,
    pub(super) writes: Writes,
    timeouts: Timeouts,
}

impl Db {
    pub(super) fn new(pools: Pools) -> Self {
        let backend = pools.get().db.get_database_backend();
        Self { pools: Arc::new(pools), backend, writes: Writes::default(), timeouts: Timeouts::default() }
    }

    pub(super) fn with_timeouts(self, timeouts: Timeouts) -> Self {
        Self { timeouts, ..self }
    }

    pub(super) fn backend(&self) -> DbBackend {
        self.backend
    }

    /// Without any limit: for migrations, and for tests.
    pub(super) fn connection(&self) -> DatabaseConnection {
        self.pools.get().db
    }

    /// The rows of one query.
    pub(super) async fn rows(
        &self,
        doing: &'static str,
        limit: Limit,
        query: impl IntoStatement,
    ) -> Result<Vec<QueryResult>, StoreError> {
        let statement = query.for_database(self.backend);
        let work = move |pool: Pool| {
            let statement = statement.clone();
            async move { statement::query(&pool.db, doing, statement).await.map_err(StoreError::doing(doing)) }
        };
        self.with_timeout(doing, limit, work).await
    }

    /// The rows of one query, each as a model.
    pub(super) async fn all<M: FromQueryResult>(
        &self,
        doing: &'static str,
        limit: Limit,
        query: impl IntoStatement,
    ) -> Result<Vec<M>, StoreError> {
        let rows = self.rows(doing, limit, query).await?;
        let models = rows.iter().map(|row| M::from_query_result(row, ""));
        models.collect::<Result<_, _>>().map_err(StoreError::doing(doing))
    }

    /// The first row of one query; the query limits itself to one.
    pub(super) async fn one<M: FromQueryResult>(
        &self,
        doing: &'static str,
        limit: Limit,
        query: impl IntoStatement,
    ) -> Result<Option<M>, StoreError> {
        Ok(self.all(doing, limit, query).await?.into_iter().next())
    }

    /// The rows of one query, each as its only value or as a tuple of its values.
    pub(super) async fn values<T: TryGetableMany>(
        &self,
        doing: &'static str,
        limit: Limit,
        query: impl IntoStatement,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.rows(doing, limit, query).await?;
        let values = rows.iter().map(QueryResult::try_get_many_by_index);
        values.collect::<Result<_, _>>().map_err(StoreError::doing(doing))
    }

    /// How many rows a query finds; it selects no column.
    pub(super) async fn count(
        &self,
        doing: &'static str,
        limit: Limit,
        mut query: SelectStatement,
    ) -> Result<u64, StoreError> {
        query.expr(Expr::cust("COUNT(*)"));
        let counts: Vec<i64> = self.values(doing, limit, &query).await?;
        Ok(counts.first().map_or(0, |count| count.unsigned_abs()))
    }

    /// Runs one statement that writes. Returns how many rows it wrote, or on MySQL found.
    pub(super) async fn execute(
        &self,
        doing: &'static str,
        limit: Limit,
        statement: impl IntoStatement,
    ) -> Result<u64, StoreError> {
        let statement = statement.for_database(self.backend);
        let work = move |pool: Pool| {
            let statement = statement.clone();
            async move { execute(&pool.db, doing, statement).await }
        };
        self.with_timeout(doing, limit, work).await.inspect_err(|error| self.writes.note(error))
    }

    /// Whether the server answers at all.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let doing = "answer";
        let work = move |pool: Pool| async move { pool.db.ping().await.map_err(StoreError::doing(doing)) };
        self.with_timeout(doing, Limit::Batch, work).await
    }

    /// Runs `work` in one transaction, which is rolled back where the work fails. A connection whose COMMIT or ROLLBACK
    /// failed is not used again.
    pub(super) async fn transaction<T, W>(
        &self,
        doing: &'static str,
        limit: Limit,
        work: W,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: for<'t> Fn(&'t DatabaseTransaction) -> Work<'t, T> + Send + Sync + 'static,
    {
        let work = Arc::new(work);
        let transaction = move |pool: Pool| {
            let work = work.clone();
            async move {
                let transaction = begin(&pool.db).await.map_err(StoreError::doing("begin a transaction"))?;
                match work(&transaction).await {
                    Ok(done) => {
                        commit(transaction).await.map_err(|error| {
                            pool.lose();
                            StoreError::doing(COMMIT)(error)
                        })?;
                        Ok(done)
                    }
                    Err(error) => {
                        if transaction.rollback().await.is_err() {
                            pool.lose();
                        }
                        Err(error)
                    }
                }
            }
        };
        self.with_timeout(doing, limit, transaction).await.inspect_err(|error| self.writes.note(error))
    }

    /// Runs `work` within its limit, on a task of its own, and again where it failed by something that passes: a
    /// deadlock, a connection that had died. So `work` has to be such that doing it twice is as good as once.
    pub(super) async fn with_timeout<T, W, F>(
        &self,
        doing: &'static str,
        limit: Limit,
        work: W,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: Fn(Pool) -> F + Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let limit = match limit {
            Limit::Batch => self.timeouts.batch,
            Limit::Table => self.timeouts.table,
        };
        let pools = self.pools.clone();
        let task = async move {
            match retry_transient(&pools, work, doing, Instant::now() + limit).await {
                Err(StoreError::Statement { doing, source }) => {
                    Err(StoreError::Statement { doing, source: pools.root_cause(source).await })
                }
                done => done,
            }
        };
        tokio::spawn(task.in_current_span()).await.map_err(|_| StoreError::Aborted)?
    }
}

/// A statement of the query builder, or one in plain SQL.
pub(super) trait IntoStatement {
    /// As this database reads it.
    fn for_database(self, backend: DbBackend) -> Statement;
}

impl<Q: StatementBuilder> IntoStatement for &Q {
    fn for_database(self, backend: DbBackend) -> Statement {
        backend.build(self)
    }
}

impl IntoStatement for Statement {
    fn for_database(self, _: DbBackend) -> Statement {
        self
    }
}

/// Runs one statement that writes, within work that has a limit. Returns how many rows it wrote.
pub(super) async fn execute(
    db: &impl ConnectionTrait,
    doing: &'static str,
    statement: Statement,
) -> Result<u64, StoreError> {
    statement::execute(db, doing, statement).await.map_err(StoreError::doing(doing))
}

async fn retry_transient<T, F: Future<Output = Result<T, StoreError>>>(
    pools: &Pools,
    work: impl Fn(Pool) -> F,
    doing: &'static str,
    deadline: Instant,
) -> Result<T, StoreError> {
    let mut tries = 1;
    loop {
        let pool = pools.good().await.map_err(StoreError::doing(doing))?;
        let begun = pool.begin_work();
        let mut working = Box::pin(work(pool.clone()));
        let Ok(done) = tokio::time::timeout_at(deadline, &mut working).await else {
            // First: what is dropped next must not be used again.
            pool.lose();
            drop(working);
            return Err(StoreError::Silent { doing });
        };
        let Err(error) = &done else { return done };
        if error.is_broken_connection() {
            // Where one has died, the others that were open then have too.
            pool.lose();
        }
        let got_none = matches!(error, StoreError::Statement { source, .. } if is_acquire_timeout(source));
        // Its connections may have taken their places with them.
        let is_by_a_lost_pool = got_none && pool.is_lost();
        if got_none && pool.has_places() {
            pool.lose();
        }
        drop(begun);
        if !(error.is_transient() || is_by_a_lost_pool) || tries >= TRIES {
            return done;
        }
        tracing::debug!(event = "store.retried", tries, error = ?error);
        tries += 1;
    }
}

async fn begin(db: &DatabaseConnection) -> Result<DatabaseTransaction, DbErr> {
    // SQLite: take the write lock at once; a transaction that asks for it later fails instead of waiting.
    let sqlite_transaction_mode = Some(SqliteTransactionMode::Immediate);
    let options = TransactionOptions { sqlite_transaction_mode, ..Default::default() };
    db.begin_with_options(options).await
}
