//! What the port needs of the other rooms.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use super::fresh::{Fresh, bounded};
use super::health::Health;
use super::ready;
use super::status::Status;
use crate::course_key::CourseKey;
use crate::share_link::ShareLink;

/// Look-ups of links at once; the rest wait their turn. So the pool of database connections is left to the worker's
/// own use, and the memory for ids is bounded.
const LOOKUPS: usize = 8;
/// Searches at once: each may look through the dead letters.
const SEARCHES: usize = 2;
/// For one of them.
const SEARCH_LIMIT: Duration = Duration::from_secs(4);
/// How long the status may take to gather, and a search with its turn.
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

/// A label, and a text that need not be safe to show as it is.
pub type Line = (&'static str, String);

/// What is wrong now, since when and why; without secrets.
pub trait Look: Send + Sync {
    /// How everything stands.
    fn status(&self) -> BoxFuture<'_, Status>;
    /// Why this course's link is as it is, as the command `explain` tells it; else why nobody knows.
    fn explain<'a>(&'a self, course: &'a CourseKey) -> BoxFuture<'a, Result<Vec<Line>, String>>;
}

/// Everything the port shows.
#[derive(Clone)]
pub struct AppState {
    /// What the worker notes of its jobs and its consumer.
    pub health: Arc<Health>,
    /// For `/readyz`.
    pub readiness: Arc<dyn Readiness>,
    /// For `/api/v1/share-links`.
    pub links: Arc<dyn Links>,
    /// For `/api/v1/status` and `/`.
    pub look: Arc<dyn Look>,
}

/// The same, with what the handlers share.
pub(super) struct Shared {
    pub(super) state: AppState,
    pub(super) ready: ready::Answers,
    pub(super) lookups: Semaphore,
    searches: Semaphore,
    status: Fresh<Result<Status, String>>,
}

impl Shared {
    pub(super) fn new(state: AppState) -> Self {
        Self {
            state,
            ready: ready::Answers::default(),
            lookups: Semaphore::new(LOOKUPS),
            searches: Semaphore::new(SEARCHES),
            status: Fresh::default(),
        }
    }

    /// The status, or why it cannot be told.
    pub(super) async fn status(&self) -> Result<Status, String> {
        let ours = self.state.look.clone();
        self.status.get(|| bounded(STATUS_LIMIT, async move { ours.status().await })).await
    }

    /// What is known of a course, or why that cannot be told.
    pub(super) async fn explain(&self, course: &CourseKey) -> Result<Vec<Line>, String> {
        let (ours, course) = (self.state.look.clone(), course.clone());
        let search = async {
            // The semaphore is never closed.
            let _turn = self.searches.acquire().await;
            bounded(SEARCH_LIMIT, async move { ours.explain(&course).await }).await?
        };
        let waited = tokio::time::timeout(STATUS_LIMIT, search).await;
        waited.unwrap_or_else(|_| Err("others are searching; try again".to_owned()))
    }
}
