//! The operator's hand in the dead-letter queue: look, replay, discard. Needs no management plugin.
//!
//! Letters are taken one by one and not acknowledged; what is to stay goes back in its order when the channel
//! closes. Several hands at once see different letters, and none gets lost. The broker puts them back a moment after
//! the channel is gone, so each walk waits for that moment: whoever comes next would miss them.

use std::time::Duration;

use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use super::connection::{Broker, Connection, Role, answer};
use super::error::{BrokerError, Refusal, refusal};
use super::publisher::Publisher;
use super::received::Received;
use super::topology::{Topology, short};

/// The longest wait for letters to be back; somebody else may have taken them, so it is not for ever.
const BACK: Duration = Duration::from_secs(5);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// The queue of dead letters, as an operator sees it.
pub struct DeadLetters {
    broker: Broker,
    topology: Topology,
    publisher: Publisher,
}

/// How a walk through the queue ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Walk {
    /// Letters looked at.
    pub seen: u32,
    /// Letters that the filter wanted, and that were replayed or discarded where that was asked.
    pub matched: u32,
}

enum Verdict {
    Keep,
    Replay,
    Discard,
}

impl DeadLetters {
    /// The dead letters of this topology.
    pub fn new(broker: Broker, topology: Topology, publisher: Publisher) -> Self {
        Self { broker, topology, publisher }
    }

    /// Shows the first `limit` wanted letters to `each`, the oldest first, and counts them all.
    ///
    /// One letter at a time is in memory. Everything goes back as it was; to that end the walk goes through to the
    /// last letter, as 3.10 puts what is returned behind the rest where a queue has a delivery limit.
    ///
    /// # Errors
    /// Why the queue cannot be read.
    pub async fn list(
        &self,
        limit: u32,
        wanted: impl Fn(&Received) -> bool,
        mut each: impl FnMut(&Received),
    ) -> Result<Walk, BrokerError> {
        let mut shown = 0;
        self.walk(|letter| {
            let wanted = wanted(letter);
            if wanted && shown < limit {
                shown += 1;
                each(letter);
            }
            (wanted, Verdict::Keep)
        })
        .await
    }

    /// Sends the wanted letters to the events queue once more, as if they had never been tried, and removes them
    /// from here once they are there.
    ///
    /// # Errors
    /// Why it stopped; the letters before have been replayed, the others are still here.
    pub async fn replay(&self, wanted: impl Fn(&Received) -> bool) -> Result<Walk, BrokerError> {
        let decide = |letter: &Received| {
            if wanted(letter) { (true, Verdict::Replay) } else { (false, Verdict::Keep) }
        };
        self.walk(decide).await
    }

    /// Removes the wanted letters for good.
    ///
    /// # Errors
    /// Why it stopped; the letters before are removed, the others are still here.
    pub async fn discard(&self, wanted: impl Fn(&Received) -> bool) -> Result<Walk, BrokerError> {
        let decide = |letter: &Received| {
            if wanted(letter) { (true, Verdict::Discard) } else { (false, Verdict::Keep) }
        };
        self.walk(decide).await
    }

    async fn walk(&self, mut decide: impl FnMut(&Received) -> (bool, Verdict)) -> Result<Walk, BrokerError> {
        let connection = self.broker.open(Role::Operator).await?;
        let mut kept = 0;
        let walked = self.walk_on(&connection, &mut decide, &mut kept).await;
        if walked.is_ok() && kept > 0 {
            self.until_back(&connection, kept).await;
        }
        connection.close().await;
        walked
    }

    /// Waits until the queue has at least so many letters to give. What cannot be asked now, the next walk will tell.
    async fn until_back(&self, connection: &Connection, kept: u32) {
        let back = async {
            let channel = connection.channel().await?;
            while self.count(&channel).await? < kept {
                tokio::time::sleep(LOOK).await;
            }
            Ok::<_, BrokerError>(())
        };
        if !matches!(tokio::time::timeout(BACK, back).await, Ok(Ok(()))) {
            tracing::debug!(event = "dead_letters.not_back", kept);
        }
    }

    async fn walk_on(
        &self,
        connection: &Connection,
        decide: &mut impl FnMut(&Received) -> (bool, Verdict),
        kept: &mut u32,
    ) -> Result<Walk, BrokerError> {
        let channel = connection.channel().await?;
        let mut walk = Walk::default();
        // What dies meanwhile is left for the next walk: else a letter that dies again at once would be replayed
        // for ever.
        let there = self.count(&channel).await?;
        while walk.seen < there {
            let get = channel.basic_get(short(&self.topology.dead)?, BasicGetOptions { no_ack: false });
            let doing = "reading a dead letter";
            let Some(got) = answer(doing, get).await? else { break };
            let tag = got.delivery.delivery_tag;
            let letter = Received::new(got.delivery, chrono::Utc::now());
            walk.seen += 1;
            let (matched, verdict) = decide(&letter);
            match verdict {
                Verdict::Keep => *kept += 1,
                Verdict::Replay => {
                    let again = letter.sent_on(0, None);
                    self.publisher.publish("", &self.topology.events, &again).await?;
                    remove(&channel, tag).await?;
                }
                Verdict::Discard => remove(&channel, tag).await?,
            }
            walk.matched += u32::from(matched);
        }
        // This is what puts back the letters that stay.
        answer("putting dead letters back", channel.close(200, short("done")?)).await?;
        Ok(walk)
    }

    async fn count(&self, channel: &Channel) -> Result<u32, BrokerError> {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let asked = channel.queue_declare(short(&self.topology.dead)?, options, FieldTable::default());
        match answer("counting dead letters", asked).await {
            Ok(queue) => Ok(queue.message_count()),
            Err(BrokerError::Lost { source, .. }) if matches!(refusal(&source).0, Refusal::NotFound) => {
                let what = format!("queue {:?}", self.topology.dead);
                let fix = "the worker creates it when it starts, with amqp.declare = true".to_owned();
                Err(BrokerError::Missing { what, fix })
            }
            Err(error) => Err(error),
        }
    }
}

async fn remove(channel: &Channel, tag: u64) -> Result<(), BrokerError> {
    let removed = channel.basic_ack(tag, BasicAckOptions { multiple: false });
    answer("removing a dead letter", removed).await
}
