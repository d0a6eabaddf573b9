//! The exchange and the queues, the same on RabbitMQ 3.10 as on 4.x: declared, or verified, with errors that say what to
//! do. Each request has a channel of its own, because a refusal closes the channel.
//!
//! ```text
//! exchange ──▶ <prefix>.events ──▶ consumer ──▶ <prefix>.delay.<seconds> ──(time is up)──▶ <prefix>.events
//!                     │ (delivered too often)       └──▶ <prefix>.dead
//!                     └────────────────────────────────────▶ <prefix>.dead
//! ```

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{ExchangeKind, Queue};

use super::connection::{Connection, answer};
use super::error::{BrokerError, refusal};
use super::headers::DELAY;
use super::message::short;
use crate::config::Amqp;

/// How long a message waits before it is tried again, in seconds; each step has a queue of its own. With one queue for
/// all, a message would wait behind others with longer delays. A new course appears in the Catalog after a minute to
/// some hours; the sum of the steps is longer.
pub const STEPS: [u32; 6] = [10, 60, 180, 900, 3600, 14_400];

/// The routing keys of Studio and the LMS.
const ROUTING_KEYS: [&str; 2] = ["course-publish", "overview-recreated"];

/// Against a message that ends the process or the connection each time. Other failures are counted in our own header and
/// end far earlier. High, as each reconnect counts for all unacknowledged messages, and a bad network must not make dead
/// letters.
const DELIVERY_LIMIT: u32 = 1000;

/// From RabbitMQ 4.0 on the default is 20, after which a message is dropped. Before 4.0, -1 for no limit is refused. So
/// this is a number that is never reached.
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000;

/// The names of exchange and queues, and whether this program declares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// The durable topic exchange that events are published to.
    pub exchange: String,
    /// The queue of events.
    pub events: String,
    /// The queue of dead letters.
    pub dead: String,
    /// The prefix of the names of the delay queues.
    pub prefix: String,
    /// The delays in seconds, each with a queue: [`STEPS`].
    pub steps: Vec<u32>,
    /// Deliveries of one event before the broker makes it a dead letter.
    pub delivery_limit: u32,
    /// True: declare what is missing. False: only verify.
    pub declare: bool,
}

impl Topology {
    /// The topology with the names of the configuration.
    pub fn new(config: &Amqp) -> Self {
        let prefix = config.queue_prefix();
        Self {
            exchange: config.exchange.clone(),
            events: config.queue.clone(),
            dead: format!("{prefix}.dead"),
            prefix: prefix.to_owned(),
            steps: STEPS.to_vec(),
            delivery_limit: DELIVERY_LIMIT,
            declare: config.declare,
        }
    }

    /// The queue where messages wait `step` seconds.
    pub fn delay(&self, step: u32) -> String {
        format!("{}{DELAY}{step}", self.prefix)
    }

    /// All queues with their arguments, each after those to which it sends.
    fn queues(&self) -> Vec<(String, FieldTable)> {
        let dead = arguments("x-delivery-limit", DEAD_DELIVERY_LIMIT, None);
        let events = arguments("x-delivery-limit", self.delivery_limit.into(), Some(&self.dead));
        let mut queues = vec![(self.dead.clone(), dead), (self.events.clone(), events)];
        queues.extend(self.steps.iter().map(|&step| {
            let ttl = i64::from(step) * 1000;
            (self.delay(step), arguments("x-message-ttl", ttl, Some(&self.events)))
        }));
        queues
    }
}

/// The arguments of a queue: a limit, and where its messages go then.
///
/// To another queue by the default exchange. By the exchange of the events, a message would reach the queues of other
/// programs again. Without at-least-once a message between two queues is lost if the broker stops, and without
/// reject-publish the broker silently ignores at-least-once.
fn arguments(limit: &str, value: i64, dead_letters_to: Option<&str>) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert(limit.into(), value.into());
    if let Some(queue) = dead_letters_to {
        arguments.insert("x-dead-letter-exchange".into(), text(""));
        arguments.insert("x-dead-letter-routing-key".into(), text(queue));
        arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        arguments.insert("x-overflow".into(), text("reject-publish"));
    }
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// The number of messages ready in each queue, without those that are delivered and unacknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Waiting for a consumer.
    pub events: u32,
    /// Consumers on the events queue.
    pub consumers: u32,
    /// Delayed, by the seconds of the delay.
    pub delayed: Vec<(u32, u32)>,
    /// Dead letters that no worker has taken over yet.
    pub dead: u32,
}

impl Topology {
    /// Declares the topology, or only verifies it if `amqp.declare` is false. Doing it again changes nothing.
    ///
    /// # Errors
    /// [`BrokerError::Conflict`], [`BrokerError::Missing`] and [`BrokerError::Forbidden`] name the queue or exchange and
    /// what to do. After [`BrokerError::Lost`] a retry may succeed.
    pub async fn ensure(&self, connection: &Connection) -> Result<(), BrokerError> {
        if !self.declare {
            return self.verify(connection).await;
        }
        self.declare_exchange(connection, false).await?;
        for (queue, arguments) in self.queues() {
            declare_queue(connection, &queue, Some(arguments)).await?;
        }
        // Last, so that no event arrives before all queues exist.
        for key in ROUTING_KEYS {
            self.bind(connection, key).await?;
        }
        Ok(())
    }

    /// Verifies that exchange and queues exist. AMQP cannot ask for bindings or arguments, so an unbound queue is not
    /// noticed.
    pub async fn verify(&self, connection: &Connection) -> Result<(), BrokerError> {
        self.declare_exchange(connection, true).await?;
        self.counts(connection).await.map(drop)
    }

    /// The number of messages ready in each queue.
    pub async fn counts(&self, connection: &Connection) -> Result<Counts, BrokerError> {
        let dead = self.count(connection, &self.dead).await?;
        let events = declare_queue(connection, &self.events, None).await?;
        let mut delayed = Vec::with_capacity(self.steps.len());
        for &step in &self.steps {
            delayed.push((step, self.count(connection, &self.delay(step)).await?));
        }
        Ok(Counts { events: events.message_count(), consumers: events.consumer_count(), delayed, dead })
    }

    /// The number of messages ready in one of the queues.
    pub(super) async fn count(&self, connection: &Connection, queue: &str) -> Result<u32, BrokerError> {
        Ok(declare_queue(connection, queue, None).await?.message_count())
    }

    async fn declare_exchange(&self, connection: &Connection, passive: bool) -> Result<(), BrokerError> {
        let channel = connection.channel().await?;
        let options = ExchangeDeclareOptions { passive, durable: true, ..Default::default() };
        let name = short(&self.exchange)?;
        let asked = channel.exchange_declare(name, ExchangeKind::Topic, options, FieldTable::default());
        let done = answer("declaring the exchange", asked).await;
        done.map_err(|error| explain(error, &format!("exchange {:?}", self.exchange), passive))
    }

    async fn bind(&self, connection: &Connection, key: &str) -> Result<(), BrokerError> {
        let channel = connection.channel().await?;
        let (queue, exchange) = (short(&self.events)?, short(&self.exchange)?);
        let options = QueueBindOptions::default();
        let asked = channel.queue_bind(queue, exchange, short(key)?, options, FieldTable::default());
        let done = answer("binding the events queue", asked).await;
        done.map_err(|error| match explain(error, &format!("queue {:?}", self.events), false) {
            BrokerError::Forbidden { said, .. } => {
                let fix = format!(
                    "binding needs the permission to write to queue {:?} and to read from exchange {:?}",
                    self.events, self.exchange
                );
                BrokerError::Forbidden { fix, said }
            }
            other => other,
        })
    }
}

/// Declares a queue with these arguments; without any it only looks at it.
async fn declare_queue(
    connection: &Connection,
    queue: &str,
    arguments: Option<FieldTable>,
) -> Result<Queue, BrokerError> {
    let channel = connection.channel().await?;
    let passive = arguments.is_none();
    let options = QueueDeclareOptions { passive, durable: true, ..Default::default() };
    let asked = channel.queue_declare(short(queue)?, options, arguments.unwrap_or_default());
    let declared = answer("declaring a queue", asked).await;
    declared.map_err(|error| explain(error, &format!("queue {queue:?}"), passive))
}

/// Adds advice to a refusal to declare `what`. Other errors are unchanged.
fn explain(error: BrokerError, what: &str, passive: bool) -> BrokerError {
    let BrokerError::Lost { source, .. } = &error else { return error };
    let (code, said) = refusal(source);
    match code {
        404 => {
            let fix = "create it, or let the worker do so when it connects, with amqp.declare = true. If it was there \
                       before: did somebody delete it, or a policy with expires (rabbitmqctl list_policies)?";
            BrokerError::Missing { what: what.to_owned(), fix: fix.to_owned() }
        }
        403 | 530 if passive => {
            let fix =
                format!("the user needs a permission on {what} to look at it, configure, write or read");
            BrokerError::Forbidden { fix, said }
        }
        403 | 530 => {
            let fix = format!(
                "declaring {what} needs the permissions to configure, write and read it; grant them, or create \
                 the topology by other means and set amqp.declare = false"
            );
            BrokerError::Forbidden { fix, said }
        }
        405 | 406 => {
            let fix = "arguments cannot be changed: empty and delete it so that it is created again, or choose \
                       other names with amqp.queue and amqp.exchange, or take it as it is with amqp.declare = false";
            BrokerError::Conflict {
                what: what.to_owned(),
                argument: argument(&said).map(str::to_owned),
                fix: fix.to_owned(),
                said,
            }
        }
        _ => error,
    }
}

/// The argument in "… inequivalent arg 'x-queue-type' for queue …".
fn argument(said: &str) -> Option<&str> {
    said.split_once("inequivalent arg '")?.1.split_once('\'').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown((name, arguments): &(String, FieldTable)) -> String {
        let arguments = arguments.into_iter().map(|(key, value)| match value {
            AMQPValue::LongString(text) => format!("{key}={text}"),
            AMQPValue::LongLongInt(number) => format!("{key}={number}"),
            other => panic!("{other:?}"),
        });
        format!("{name}: {}", arguments.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_queues_are_the_documented_ones() {
        let queues = Topology::new(&Amqp::default()).queues();
        let names: Vec<&str> = queues.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[..2], ["course-sharing.dead", "course-sharing.events"]);
        let waits = ["10", "60", "180", "900", "3600", "14400"].map(|s| format!("course-sharing.delay.{s}"));
        assert_eq!(names[2..], waits);
        let onward = "x-dead-letter-strategy=at-least-once";
        assert_eq!(shown(&queues[0]), "course-sharing.dead: x-delivery-limit=1000000 x-queue-type=quorum");
        assert_eq!(
            shown(&queues[1]),
            format!(
                "course-sharing.events: x-dead-letter-exchange= x-dead-letter-routing-key=course-sharing.dead \
                 {onward} x-delivery-limit=1000 x-overflow=reject-publish x-queue-type=quorum"
            )
        );
        assert_eq!(
            shown(&queues[2]),
            format!(
                "course-sharing.delay.10: x-dead-letter-exchange= x-dead-letter-routing-key=course-sharing.events \
                 {onward} x-message-ttl=10000 x-overflow=reject-publish x-queue-type=quorum"
            )
        );
    }

    #[test]
    fn a_name_that_is_too_long_is_an_error() {
        assert!(short(&"x".repeat(255)).is_ok());
        let error = short(&"x".repeat(256)).unwrap_err().to_string();
        assert!(error.contains("256 bytes") && error.contains("255"), "{error}");
    }

    #[test]
    fn the_argument_is_taken_from_what_the_broker_says() {
        let said =
            "PRECONDITION_FAILED - inequivalent arg 'x-overflow' for queue 'a' in vhost '/': received…";
        assert_eq!(argument(said), Some("x-overflow"));
        assert_eq!(argument("RESOURCE_LOCKED - cannot obtain exclusive access"), None);
        assert_eq!(argument("inequivalent arg 'unfinished"), None);
    }
}
