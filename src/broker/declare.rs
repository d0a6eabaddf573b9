//! Declares the topology, or verifies that it exists, with errors that say what to do.
//!
//! Each request has a channel of its own, because a refusal closes the channel.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{ExchangeKind, Queue};

use super::connection::{Connection, answer};
use super::error::{BrokerError, Refusal, refusal};
use super::topology::{QueueSpec, ROUTING_KEYS, Topology, short};

/// The number of messages ready in each queue, without those that are delivered and unacknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Waiting for a consumer.
    pub events: u32,
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
        if self.declare { self.create(connection).await } else { self.verify(connection).await }
    }

    /// Verifies that exchange and queues exist. AMQP cannot ask for bindings or arguments, so an unbound queue is not
    /// noticed.
    ///
    /// # Errors
    /// As [`Topology::ensure`].
    pub async fn verify(&self, connection: &Connection) -> Result<(), BrokerError> {
        self.declare_exchange(connection, true).await?;
        for queue in self.queues() {
            declare_queue(connection, &queue, true).await?;
        }
        Ok(())
    }

    /// The number of messages ready in each queue.
    ///
    /// # Errors
    /// As [`Topology::ensure`].
    pub async fn counts(&self, connection: &Connection) -> Result<Counts, BrokerError> {
        let mut counts = Counts { events: 0, delayed: Vec::new(), dead: 0 };
        for queue in self.queues() {
            let ready = declare_queue(connection, &queue, true).await?.message_count();
            if queue.name == self.events {
                counts.events = ready;
            } else if queue.name == self.dead {
                counts.dead = ready;
            } else if let Some(&step) = self.steps.iter().find(|step| self.delay(**step) == queue.name) {
                counts.delayed.push((step, ready));
            }
        }
        Ok(counts)
    }

    /// The number of dead letters ready in their queue.
    pub(super) async fn count_dead(&self, connection: &Connection) -> Result<u32, BrokerError> {
        let queue = QueueSpec { name: self.dead.clone(), arguments: FieldTable::default() };
        Ok(declare_queue(connection, &queue, true).await?.message_count())
    }

    async fn create(&self, connection: &Connection) -> Result<(), BrokerError> {
        self.declare_exchange(connection, false).await?;
        for queue in self.queues() {
            declare_queue(connection, &queue, false).await?;
        }
        // Last, so that no event arrives before all queues exist.
        for key in ROUTING_KEYS {
            self.bind(connection, key).await?;
        }
        Ok(())
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
        done.map_err(|error| match error {
            BrokerError::Lost { source, .. } if matches!(refusal(&source).0, Refusal::Forbidden) => {
                let fix = format!(
                    "binding needs the permission to write to queue {:?} and to read from exchange {:?}",
                    self.events, self.exchange
                );
                BrokerError::Forbidden { fix, said: refusal(&source).1 }
            }
            other => explain(other, &format!("queue {:?}", self.events), false),
        })
    }
}

async fn declare_queue(
    connection: &Connection,
    queue: &QueueSpec,
    passive: bool,
) -> Result<Queue, BrokerError> {
    let channel = connection.channel().await?;
    let options = QueueDeclareOptions { passive, durable: true, ..Default::default() };
    let asked = channel.queue_declare(short(&queue.name)?, options, queue.arguments.clone());
    let declared = answer("declaring a queue", asked).await;
    declared.map_err(|error| explain(error, &format!("queue {:?}", queue.name), passive))
}

/// Adds advice to a refusal to declare `what`. Other errors are unchanged.
fn explain(error: BrokerError, what: &str, passive: bool) -> BrokerError {
    let BrokerError::Lost { source, .. } = &error else { return error };
    let (meaning, said) = refusal(source);
    match meaning {
        Refusal::NotFound => {
            let fix = "create it, or let this program do so with amqp.declare = true";
            BrokerError::Missing { what: what.to_owned(), fix: fix.to_owned() }
        }
        Refusal::Forbidden if passive => {
            let fix =
                format!("the user needs a permission on {what} to look at it, configure, write or read");
            BrokerError::Forbidden { fix, said }
        }
        Refusal::Forbidden => {
            let fix = format!(
                "declaring {what} needs the permissions to configure, write and read it; grant them, or create \
                 the topology by other means and set amqp.declare = false"
            );
            BrokerError::Forbidden { fix, said }
        }
        Refusal::Differs => {
            let fix = "arguments cannot be changed: empty and delete it so that it is created again, or choose \
                       other names with amqp.queue and amqp.exchange, or take it as it is with amqp.declare = false";
            BrokerError::Conflict {
                what: what.to_owned(),
                argument: argument(&said).map(str::to_owned),
                fix: fix.to_owned(),
                said,
            }
        }
        Refusal::Other => error,
    }
}

/// The argument in "… inequivalent arg 'x-queue-type' for queue …".
fn argument(said: &str) -> Option<&str> {
    said.split_once("inequivalent arg '")?.1.split_once('\'').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::argument;

    #[test]
    fn the_argument_is_taken_from_what_the_broker_says() {
        let said =
            "PRECONDITION_FAILED - inequivalent arg 'x-overflow' for queue 'a' in vhost '/': received…";
        assert_eq!(argument(said), Some("x-overflow"));
        assert_eq!(argument("RESOURCE_LOCKED - cannot obtain exclusive access"), None);
        assert_eq!(argument("inequivalent arg 'unfinished"), None);
    }
}
