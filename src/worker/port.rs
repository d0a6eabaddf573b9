//! What the HTTP port asks of the worker: readiness, links and status, from the database and the broker themselves.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::explaining;
use super::looking::Heard;
use crate::broker::{Attachment, Broker, BrokerError, Counts, Role, Topology};
use crate::config;
use crate::course_key::CourseKey;
use crate::http::status::reads_only;
use crate::http::{Line, Links, Look, Readiness, Status};
use crate::share_link::{self, ShareLink};
use crate::store::{LetterFilter, StoreError};
use crate::sync::Engine;
use crate::telemetry::report;

/// Everything the port needs.
#[derive(Clone)]
pub(super) struct Port {
    pub(super) engine: Engine,
    pub(super) broker: Broker,
    pub(super) topology: Topology,
    pub(super) lms: config::Lms,
    pub(super) attachment: watch::Receiver<Attachment>,
    pub(super) heard: Arc<Heard>,
}

impl Port {
    /// The number of messages in each queue.
    ///
    /// # Errors
    /// Why the broker does not tell.
    pub(super) async fn counts(&self) -> Result<Counts, BrokerError> {
        let connection = self.broker.open(Role::Operator).await?;
        let counts = self.topology.counts(&connection).await;
        connection.close().await;
        counts
    }

    /// The number of dead letters, in the table and in the queue.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn dead_letters(&self, counts: &Counts) -> Result<u64, StoreError> {
        let kept = self.engine.store().count_letters(&LetterFilter::default()).await?;
        Ok(kept + u64::from(counts.dead))
    }

    async fn links(&self, courses: &[CourseKey]) -> Result<HashMap<CourseKey, ShareLink>, StoreError> {
        let rows = self.engine.store().links(courses).await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let link = share_link::of(&row, &self.lms);
                (row.course, link)
            })
            .collect())
    }
}

impl Readiness for Port {
    fn database(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            let store = self.engine.store();
            store.check_schema().await.map_err(|error| report(&error))?;
            store.writes().refused().map_or(Ok(()), |refused| Err(reads_only(&refused.why)))
        })
    }

    fn broker(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            // A question on a connection of its own: the consumer's may look well and be dead.
            let looked = async {
                let connection = self.broker.open(Role::Operator).await?;
                let stands = self.topology.verify(&connection).await;
                connection.close().await;
                stands
            };
            looked.await.map_err(|error| report(&error))
        })
    }
}

impl Links for Port {
    fn share_links<'a>(
        &'a self,
        courses: &'a [CourseKey],
    ) -> BoxFuture<'a, Result<HashMap<CourseKey, ShareLink>, String>> {
        Box::pin(async move { self.links(courses).await.map_err(|error| report(&error)) })
    }
}

impl Look for Port {
    fn status(&self) -> BoxFuture<'_, Status> {
        Box::pin(self.look())
    }

    fn explain<'a>(&'a self, course: &'a CourseKey) -> BoxFuture<'a, Result<Vec<Line>, String>> {
        Box::pin(async move {
            let explained = explaining::explain(self.engine.store(), course).await;
            explained.map(|explained| explained.lines(&self.lms)).map_err(|error| report(&error))
        })
    }
}
