//! What the HTTP port asks of the worker: readiness, links and status, from the database and the broker themselves.

use std::collections::HashMap;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::broker::{Attachment, Broker, BrokerError, Counts, Role, Topology};
use crate::config;
use crate::course_key::CourseKey;
use crate::http::{Links, Readiness, Status};
use crate::share_link::{self, ShareLink};
use crate::store::StoreError;
use crate::sync::Engine;
use crate::telemetry::report;

/// Passes shown.
const PASSES: u64 = 10;

/// Everything the port needs.
#[derive(Clone)]
pub(super) struct Port {
    pub(super) engine: Engine,
    pub(super) broker: Broker,
    pub(super) topology: Topology,
    pub(super) lms: config::Lms,
    pub(super) attachment: watch::Receiver<Attachment>,
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

    async fn gather(&self) -> Value {
        let store = self.engine.store();
        let (overviews, passes, queues) =
            tokio::join!(store.counts(), store.last_passes(PASSES), self.counts());
        let consumer = match &*self.attachment.borrow() {
            Attachment::Attached { since } => json!({ "attached_since": since }),
            Attachment::Detached { since, why } => json!({ "detached_since": since, "why": why }),
        };
        json!({
            "overviews": shown(overviews.map(|c| json!({ "linked": c.linked, "blank": c.blank }))),
            "consumer": consumer,
            "queues": shown(queues.map(|counts| json!({
                "events": counts.events,
                "delayed": counts.delayed.iter().map(|(step, n)| json!({ "seconds": step, "messages": n })).collect::<Vec<_>>(),
                "dead": counts.dead,
            }))),
            "catalog": format!("{:?}", self.engine.catalog().gate()),
            "passes": shown(passes.map(|passes| passes.into_iter().map(|pass| json!({
                "started_at": pass.started_at,
                "finished_at": pass.finished_at,
                "verdict": pass.verdict,
                "listed": pass.listed,
                "updated": pass.updated,
                "cleared": pass.cleared,
                "held_back": pass.held_back,
                "failures": pass.failures,
            })).collect())),
        })
    }
}

fn shown<E: std::error::Error>(part: Result<Value, E>) -> Value {
    part.unwrap_or_else(|error| json!({ "error": report(&error) }))
}

impl Readiness for Port {
    fn database(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { self.engine.store().check_schema().await.map_err(|error| report(&error)) })
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

impl Status for Port {
    fn status(&self) -> BoxFuture<'_, Value> {
        Box::pin(self.gather())
    }
}
