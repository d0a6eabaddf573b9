//! No wait for the database is without an end: a server that fell silent is told from one that is slow.

use std::time::Duration;

use sea_orm::DbErr;

use super::StoreError;

/// For a statement on a batch of rows, the wait for a connection included; less than the 30 s in which an outage has
/// to be noticed.
const ANSWER: Duration = Duration::from_secs(20);

/// Asks one question, and gives up after 20 s. The driver throws a connection away that was left in the middle.
///
/// # Errors
/// What the database says, or [`StoreError::Silent`].
pub(super) async fn within<T>(
    doing: &'static str,
    question: impl Future<Output = Result<T, DbErr>>,
) -> Result<T, StoreError> {
    prompt(doing, async { question.await.map_err(StoreError::doing(doing)) }).await
}

/// The same for work of several statements. Work on a task of its own goes on when the wait for it is over.
///
/// # Errors
/// Those of the work, or [`StoreError::Silent`].
pub(super) async fn prompt<T>(
    doing: &'static str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(ANSWER, work).await {
        Ok(done) => done,
        Err(_) => Err(StoreError::Silent { doing }),
    }
}
