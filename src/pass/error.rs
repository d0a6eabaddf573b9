//! Why a pass breaks off.

use crate::store::StoreError;

/// Why a pass did not end by itself. What it had written stays, and is right; the next one goes on from there.
#[derive(Debug, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum PassError {
    /// The database failed.
    #[error("the pass broke off at the database")]
    Store(#[from] StoreError),
    /// It was stopped.
    #[error("the pass was stopped; the next one goes on from there")]
    Stopped,
    /// Another pass is running.
    #[error("another pass is running (in {holder}); wait for its end")]
    Taken {
        /// Whose it is: process id and a random part.
        holder: String,
    },
    /// It could not keep its lease: the database did not answer for too long, or another pass took over.
    #[error("the pass lost its lease, so that another may have begun; it stopped")]
    LeaseLost,
    /// `reconcile.page_size` is `lms`, and there is no such table.
    #[error(
        "reconcile.page_size is \"lms\", and page_size cannot be read from the table catalog_catalogintegration: \
         is database.url the LMS's database, and may this user read that table?"
    )]
    LmsPageSize(#[source] StoreError),
}
