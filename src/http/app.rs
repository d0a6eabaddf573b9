//! What the handlers share: where answers come from, and limits on how much of it is read at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::config::{self, TraceUrl};
use crate::model::course_key::CourseKey;
use crate::status::cached::{Cached, with_deadline};
use crate::status::{Explanation, Health, Readiness, Sources, Status};
use crate::store::{Store, StoreError};
use crate::telemetry::report;

/// Look-ups of links at once; further requests wait. This leaves database connections to the worker, and bounds the
/// memory for ids.
const LOOKUPS: usize = 8;
/// Searches at once.
const SEARCHES: usize = 2;
/// For one search.
const SEARCH_LIMIT: Duration = Duration::from_secs(4);
/// For gathering the status, and for a search together with its wait.
const STATUS_LIMIT: Duration = Duration::from_secs(5);

/// Everything that is served.
pub struct App {
    pub(super) health: Arc<Health>,
    pub(super) sources: Sources,
    pub(super) lms: config::Lms,
    pub(super) readiness: Readiness,
    pub(super) lookups: Arc<Semaphore>,
    pub(super) links: Links,
    searches: Arc<Semaphore>,
    status: Cached<Result<Status, String>>,
}

/// Where the pages link to, beside each other.
#[derive(Debug, Clone, Default)]
pub(super) struct Links {
    pub(super) grafana: Option<String>,
    pub(super) trace: Option<TraceUrl>,
}

impl App {
    /// `lms` decides which link is shared.
    pub fn new(health: Arc<Health>, sources: Sources, lms: config::Lms, http: &config::Http) -> Self {
        Self {
            health,
            sources,
            lms,
            links: Links {
                grafana: http.grafana_url.as_ref().map(|url| url.as_str().to_owned()),
                trace: http.trace_url.clone(),
            },
            readiness: Readiness::default(),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            searches: Arc::new(Semaphore::new(SEARCHES)),
            status: Cached::default(),
        }
    }

    /// The status, or why it is not known.
    pub(super) async fn status(&self) -> Result<Status, String> {
        let sources = self.sources.clone();
        self.status.get(|| with_deadline(STATUS_LIMIT, async move { sources.status().await })).await
    }

    /// What is known of a course, or why nothing is.
    pub(super) async fn explain(&self, course: CourseKey) -> Result<Explanation, String> {
        self.ask(move |store| async move { Explanation::read(&store, &course).await }).await
    }

    /// The answer of the database to somebody's question, or why there is none.
    pub(super) async fn ask<T, F>(&self, question: impl FnOnce(Store) -> F) -> Result<T, String>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let question = question(self.sources.store().clone());
        let search = async {
            // The semaphore is never closed.
            let turn = self.searches.clone().acquire_owned().await;
            let question = async move {
                // Until the database has answered, even if nobody waits for that any more.
                let _turn = turn;
                question.await
            };
            with_deadline(SEARCH_LIMIT, question).await
        };
        match tokio::time::timeout(STATUS_LIMIT, search).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(error))) => Err(report(&error)),
            Ok(Err(late)) => Err(late),
            Err(_) => Err("too many searches at once; try again".to_owned()),
        }
    }
}
