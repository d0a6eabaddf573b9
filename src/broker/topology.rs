//! The exchange and the queues as data, the same on RabbitMQ 3.10 as on 4.x.
//!
//! ```text
//! exchange ──▶ <prefix>.events ──▶ consumer ──▶ <prefix>.delay.<seconds> ──(time is up)──▶ <prefix>.events
//!                     │ (delivered too often)       └──▶ <prefix>.dead
//!                     └────────────────────────────────────▶ <prefix>.dead
//! ```

use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::error::BrokerError;
use super::retry_schedule;
use crate::config::Amqp;

/// The routing keys of Studio and the LMS.
pub const ROUTING_KEYS: [&str; 2] = ["course-publish", "overview-recreated"];

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
    /// The delays in seconds, each with a queue: [`retry_schedule::STEPS`].
    pub steps: Vec<u32>,
    /// Deliveries of one event before the broker makes it a dead letter.
    pub delivery_limit: u32,
    /// True: declare what is missing. False: only verify.
    pub declare: bool,
}

/// The arguments that a queue must have.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct QueueSpec {
    pub(super) name: String,
    pub(super) arguments: FieldTable,
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
            steps: retry_schedule::STEPS.to_vec(),
            delivery_limit: DELIVERY_LIMIT,
            declare: config.declare,
        }
    }

    /// The queue where messages wait `step` seconds.
    pub fn delay(&self, step: u32) -> String {
        format!("{}.delay.{step}", self.prefix)
    }

    /// All queues, each after those to which it sends.
    pub(super) fn queues(&self) -> Vec<QueueSpec> {
        let mut queues = vec![
            queue(&self.dead, vec![("x-delivery-limit", DEAD_DELIVERY_LIMIT.into())]),
            queue(&self.events, {
                let mut arguments = dead_letters_to(&self.dead);
                arguments.push(("x-delivery-limit", i64::from(self.delivery_limit).into()));
                arguments
            }),
        ];
        queues.extend(self.steps.iter().map(|&step| {
            let mut arguments = dead_letters_to(&self.events);
            arguments.push(("x-message-ttl", (i64::from(step) * 1000).into()));
            queue(&self.delay(step), arguments)
        }));
        queues
    }
}

fn queue(name: &str, mut arguments: Vec<(&'static str, AMQPValue)>) -> QueueSpec {
    arguments.push(("x-queue-type", text("quorum")));
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        table.insert(key.into(), value);
    }
    QueueSpec { name: name.to_owned(), arguments: table }
}

/// To another queue by the default exchange. By the exchange of the events, a message would reach the queues of other
/// programs again.
///
/// Without at-least-once a message between two queues is lost if the broker stops, and without reject-publish the broker
/// silently ignores at-least-once.
fn dead_letters_to(queue: &str) -> Vec<(&'static str, AMQPValue)> {
    vec![
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(queue)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ]
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// A name in AMQP's encoding. lapin panics on one that is too long.
pub(super) fn short(name: &str) -> Result<ShortString, BrokerError> {
    ShortString::try_new(name).map_err(|_| BrokerError::Missing {
        what: format!("a queue, exchange or key with a name of {} bytes", name.len()),
        fix: "AMQP allows names of at most 255 bytes; choose a shorter one".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(spec: &QueueSpec) -> String {
        let arguments = spec.arguments.into_iter().map(|(key, value)| match value {
            AMQPValue::LongString(text) => format!("{key}={text}"),
            AMQPValue::LongLongInt(number) => format!("{key}={number}"),
            other => panic!("{other:?}"),
        });
        format!("{}: {}", spec.name, arguments.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_queues_are_the_documented_ones() {
        let queues = Topology::new(&Amqp::default()).queues();
        let names: Vec<&str> = queues.iter().map(|queue| queue.name.as_str()).collect();
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
}
