//! What is in the queues, asked of the broker itself.

use std::time::{Duration, Instant};

use anyhow::Context;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::protocol::basic::parse_properties;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use test_support::until;

use crate::history::Found;
use crate::publisher::{ID, connect};

const STEPS: [u32; 6] = [10, 60, 180, 900, 3600, 14_400];
const REASON: &str = "x-course-sharing-reason";
const ANSWER: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(90);

/// The queues of one worker's topology.
pub(crate) struct Queues {
    url: String,
    prefix: String,
}

/// How much is in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Depths {
    /// Ready in the events queue; what a worker has in hand is not in it.
    pub(crate) events: u32,
    /// In all delay queues together.
    pub(crate) delayed: u32,
    /// Dead letters that no worker has taken over.
    pub(crate) dead: u32,
    /// Consumers of the events queue.
    pub(crate) consumers: u32,
}

impl Queues {
    /// Those whose names begin with `prefix`.
    pub(crate) fn new(url: String, prefix: String) -> Self {
        Self { url, prefix }
    }

    /// What their names begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// How much is in them now.
    ///
    /// # Errors
    /// If the broker does not answer, or a queue is missing.
    pub(crate) async fn depths(&self) -> anyhow::Result<Depths> {
        let asking = async {
            let (connection, channel) = connect(&self.url).await?;
            let mut depths = Depths::default();
            let (events, consumers) = depth(&channel, &format!("{}.events", self.prefix)).await?;
            (depths.events, depths.consumers) = (events, consumers);
            depths.dead = depth(&channel, &format!("{}.dead", self.prefix)).await?.0;
            for step in STEPS {
                depths.delayed += depth(&channel, &format!("{}.delay.{step}", self.prefix)).await?.0;
            }
            let _ = connection.close(200, "OK".into()).await;
            anyhow::Ok(depths)
        };
        tokio::time::timeout(ANSWER, asking).await.context("the broker does not answer")?
    }

    /// Waits until so many consumers are attached to the events queue.
    pub(crate) async fn consumers(&self, wanted: u32) -> anyhow::Result<()> {
        until("the worker consumes", PATIENCE, async || {
            // Until the worker has declared them there are no queues to ask for.
            Ok(self.depths().await.is_ok_and(|depths| depths.consumers >= wanted))
        })
        .await?;
        Ok(())
    }

    /// Every message in the events queue and the delay queues; and every dead letter that no worker has taken over.
    /// They go back when we hang up.
    pub(crate) async fn contents(&self) -> anyhow::Result<(Vec<Found>, Vec<Found>)> {
        let since = Instant::now();
        loop {
            match self.look_through().await {
                // A queue that a crash has left without a leader needs some time to answer.
                Err(_) if since.elapsed() < PATIENCE => tokio::time::sleep(Duration::from_secs(1)).await,
                looked => return looked,
            }
        }
    }

    async fn look_through(&self) -> anyhow::Result<(Vec<Found>, Vec<Found>)> {
        let (connection, channel) = connect(&self.url).await?;
        let mut waiting = take(&channel, &format!("{}.events", self.prefix)).await?;
        for step in STEPS {
            waiting.extend(take(&channel, &format!("{}.delay.{step}", self.prefix)).await?);
        }
        let dead = take(&channel, &format!("{}.dead", self.prefix)).await?;
        let _ = connection.close(200, "OK".into()).await;
        Ok((waiting, dead))
    }
}

async fn depth(channel: &Channel, queue: &str) -> anyhow::Result<(u32, u32)> {
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    let queue = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
    Ok((queue.message_count(), queue.consumer_count()))
}

async fn take(channel: &Channel, queue: &str) -> anyhow::Result<Vec<Found>> {
    let mut found = Vec::new();
    while let Some(message) = channel.basic_get(queue.into(), BasicGetOptions::default()).await? {
        found.push(read(&message.properties, &message.data));
    }
    Ok(found)
}

/// The dead letter of which these are properties and body, as its row has them.
pub(crate) fn dead_letter(properties: &[u8], body: &[u8]) -> anyhow::Result<Found> {
    let (_, properties) = parse_properties(properties).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(read(&properties, body))
}

fn read(properties: &BasicProperties, body: &[u8]) -> Found {
    let header =
        |name: &str| properties.headers().as_ref().and_then(|headers| headers.inner().get(name).cloned());
    let id = match header(ID) {
        Some(AMQPValue::LongLongInt(id)) => u64::try_from(id).ok(),
        _ => crate::load::id_in(body),
    };
    let reason = match header(REASON) {
        Some(AMQPValue::LongString(reason)) => Some(reason.to_string()),
        _ => None,
    };
    Found { id, reason }
}
