//! What the port needs of the other rooms.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::fresh::{Fresh, bounded};
use super::health::Health;
use super::ready;
use crate::course_key::CourseKey;
use crate::share_link::ShareLink;

/// Look-ups of links at once; the rest wait their turn. So the memory for bodies is bounded, and the pool of
/// database connections is left to the worker's own use.
const LOOKUPS: usize = 8;
/// How long the status may take to gather.
const STATUS_LIMIT: Duration = Duration::from_secs(5);

/// Whether the worker can work. What is said is shown to whoever asks: it must hold no secret.
pub trait Readiness: Send + Sync {
    /// The database answers and its schema is ours; else why not.
    fn database(&self) -> BoxFuture<'_, Result<(), String>>;
    /// The broker answers and the topology stands; else why not.
    fn broker(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// The links to share.
pub trait Links: Send + Sync {
    /// The link for each of `courses` that has an overview, with one SQL statement; else why that failed, for the log.
    fn share_links<'a>(
        &'a self,
        courses: &'a [CourseKey],
    ) -> BoxFuture<'a, Result<HashMap<CourseKey, ShareLink>, String>>;
}

/// What is wrong now, since when and why.
pub trait Status: Send + Sync {
    /// One JSON object, without secrets.
    fn status(&self) -> BoxFuture<'_, serde_json::Value>;
}

/// Everything the port shows.
#[derive(Clone)]
pub struct AppState {
    /// Told by the worker's loops.
    pub health: Arc<Health>,
    /// For `/readyz`.
    pub readiness: Arc<dyn Readiness>,
    /// For `/api/v1/share-links`.
    pub links: Arc<dyn Links>,
    /// For `/api/v1/status` and `/`.
    pub status: Arc<dyn Status>,
}

/// The same, with what the handlers share.
pub(super) struct Shared {
    pub(super) state: AppState,
    pub(super) ready: Fresh<ready::Report>,
    pub(super) lookups: Semaphore,
    status: Fresh<Result<serde_json::Value, String>>,
}

impl Shared {
    pub(super) fn new(state: AppState) -> Self {
        Self { state, ready: Fresh::default(), lookups: Semaphore::new(LOOKUPS), status: Fresh::default() }
    }

    /// The status, or why it cannot be told.
    pub(super) async fn status(&self) -> Result<serde_json::Value, String> {
        let ours = self.state.status.clone();
        self.status.get(|| bounded(STATUS_LIMIT, async move { ours.status().await })).await
    }
}
