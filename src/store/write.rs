//! Every write of links: restore, heal, apply. Each is short, sorted against deadlocks, and tried again after one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use entity::overview;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, QueryResult,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use tracing::Instrument;

use super::copy::{Clears, Scope, lost, statement};
use super::limit::prompt;
use super::{Entry, Halving, Store, StoreError, keys, ledger};
use crate::also::AlsoColumn;
use crate::course_key::CourseKey;
use crate::telemetry::report;

/// How often a write is tried when another transaction is in its way.
const TRIES: u32 = 3;

const RESTORE: &str = "restore links";

/// What applying a batch came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Overviews that were written.
    pub overviews: u64,
}

impl Store {
    /// Gives these courses' overviews the URLs that the ledger has for them, where they differ, and never a clear.
    /// Returns which were written. Where nothing is lost it is one short statement that locks nothing. An overview that
    /// the database rejects stays as it is; writing what the Catalog says of it meets the same.
    ///
    /// # Errors
    /// Those of the database; a row that it rejects is none.
    pub async fn restore(&self, courses: &[CourseKey]) -> Result<Vec<CourseKey>, StoreError> {
        let (mut restored, mut halving) = (Vec::new(), Halving::new(courses.len()));
        while let Some(part) = halving.next_part() {
            match self.restore_at_once(&courses[part.clone()]).await {
                Ok(written) => restored.extend(written),
                Err(error) if error.is_of_a_row() => {
                    if let Some(course) = halving.rejected(part).and_then(|alone| courses.get(alone)) {
                        tracing::debug!(event = "overview.not_restored", %course, error = report(&error));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(restored)
    }

    /// The same, where a row that the database rejects fails all of them.
    pub(super) async fn restore_at_once(&self, courses: &[CourseKey]) -> Result<Vec<CourseKey>, StoreError> {
        let courses = self.that_overviews_hold(courses).await?;
        let mut restored = Vec::new();
        for courses in keys::fitting(&courses, keys::course_bytes) {
            let known: HashMap<&str, &CourseKey> = courses.iter().map(|c| (c.as_str(), c)).collect();
            let sent: Arc<[CourseKey]> = courses.into();
            let also = self.also.clone();
            let restoring = self.persistently(move |db| {
                let (courses, also) = (sent.clone(), also.clone());
                Box::pin(
                    async move { restore(&db, &courses, &also).await.map_err(StoreError::doing(RESTORE)) },
                )
            });
            let ids = prompt(RESTORE, restoring).await?;
            restored.extend(ids.iter().filter_map(|id| known.get(id.as_str()).copied().cloned()));
        }
        Ok(restored)
    }

    /// The same for every overview of the LMS, in one statement.
    pub(super) async fn heal_at_once(&self) -> Result<u64, StoreError> {
        let also = self.also.clone();
        self.persistently(move |db| {
            let also = also.clone();
            Box::pin(async move { copy(&db, Scope::All, Clears::Leave, &also, "heal links").await })
        })
        .await
    }

    /// Writes what was observed to the ledger, unless something newer is there, and the links that follow from the
    /// ledger to these courses' overviews, both in one transaction.
    ///
    /// Dropping the future does not stop the transaction half way: it runs on a task of its own.
    ///
    /// # Errors
    /// Those of the database; then nothing of it was written.
    pub async fn apply(
        &self,
        mut entries: Vec<Entry>,
        mut courses: Vec<CourseKey>,
    ) -> Result<Applied, StoreError> {
        if entries.is_empty() && courses.is_empty() {
            return Ok(Applied::default());
        }
        // Sorted, as two workers that lock rows in one order cannot deadlock.
        entries.sort_unstable_by(|a, b| a.run.cmp(&b.run));
        courses.sort_unstable();
        if let Cow::Owned(held) = self.that_overviews_hold(&courses).await? {
            courses = held;
        }
        let (entries, courses): (Arc<[Entry]>, Arc<[CourseKey]>) = (entries.into(), courses.into());
        let also = self.also.clone();
        let applying = self.persistently(move |db| {
            let (entries, courses, also) = (entries.clone(), courses.clone(), also.clone());
            Box::pin(async move {
                let transaction = begin(&db).await?;
                ledger::upsert(&transaction, &entries, &also).await?;
                let mut overviews = 0;
                for courses in keys::fitting(&courses, keys::course_bytes) {
                    let scope = Scope::Courses(courses);
                    overviews += copy(&transaction, scope, Clears::Copy, &also, "write links").await?;
                }
                commit(transaction).await?;
                Ok(Applied { overviews })
            })
        });
        prompt("write links", applying).await
    }

    /// Copies every change of the ledger since `since`, clears included, in one statement. Returns how many overviews
    /// were written.
    pub(super) async fn copy_changes_at_once(&self, since: DateTime<Utc>) -> Result<u64, StoreError> {
        let also = self.also.clone();
        self.persistently(move |db| {
            let (scope, also) = (Scope::ChangedSince(since), also.clone());
            Box::pin(async move { copy(&db, scope, Clears::Copy, &also, "write changed links").await })
        })
        .await
    }

    /// Runs a write on a task of its own, as dropping a transaction half way can poison a pooled connection, and
    /// again if it only stood in another's way.
    pub(super) async fn persistently<T, W>(&self, write: W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: Fn(DatabaseConnection) -> Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>
            + Send
            + 'static,
    {
        let (db, writes) = (self.db.clone(), self.writes.clone());
        let trying = async move {
            let mut tries = 1;
            loop {
                match write(db.clone()).await {
                    Err(error) if error.is_passing() && tries < TRIES => {
                        tracing::debug!(event = "store.retried", tries, error = ?error);
                        tries += 1;
                    }
                    done => {
                        let _ = done.as_ref().inspect_err(|error| writes.note(error));
                        return done;
                    }
                }
            }
        };
        tokio::spawn(trying.in_current_span()).await.map_err(|_| StoreError::Aborted)?
    }
}

pub(super) async fn begin(db: &DatabaseConnection) -> Result<DatabaseTransaction, StoreError> {
    // SQLite: take the write lock at once; a transaction that asks for it later fails instead of waiting.
    let sqlite_transaction_mode = Some(SqliteTransactionMode::Immediate);
    let options = TransactionOptions { sqlite_transaction_mode, ..Default::default() };
    db.begin_with_options(options).await.map_err(StoreError::doing("begin a transaction"))
}

/// The ids of the overviews that had lost something and have it again.
async fn restore(
    db: &DatabaseConnection,
    courses: &[CourseKey],
    also: &[AlsoColumn],
) -> Result<Vec<String>, DbErr> {
    let backend = db.get_database_backend();
    let mut update = statement(backend, Scope::Courses(courses), Clears::Leave, also);
    let id = |row: &QueryResult| row.try_get_by_index::<String>(0);
    if backend == DbBackend::Postgres {
        update.returning_col(overview::Column::Id);
        return db.query_all(&update).await?.iter().map(id).collect();
    }
    // MySQL returns nothing from an update, and on SQLite one that changes nothing waits for other writers.
    let lost = db.query_all(&lost(backend, courses, also)).await?;
    if !lost.is_empty() {
        db.execute(&update).await?;
    }
    lost.iter().map(id).collect()
}

/// A span of its own: when the row was there to be read is what a trace of an event is followed for.
pub(super) async fn commit(transaction: DatabaseTransaction) -> Result<(), StoreError> {
    let system = match transaction.get_database_backend() {
        DbBackend::MySql => "mysql",
        DbBackend::Postgres => "postgresql",
        _ => "sqlite",
    };
    let span = tracing::info_span!("commit", otel.kind = "client", db.system.name = system);
    transaction.commit().instrument(span).await.map_err(StoreError::doing("commit links"))
}

async fn copy<C: ConnectionTrait>(
    db: &C,
    scope: Scope<'_>,
    clears: Clears,
    also: &[AlsoColumn],
    doing: &'static str,
) -> Result<u64, StoreError> {
    let update = statement(db.get_database_backend(), scope, clears, also);
    let done = db.execute(&update).await.map_err(StoreError::doing(doing))?;
    Ok(done.rows_affected())
}
