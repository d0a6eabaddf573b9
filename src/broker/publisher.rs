//! Sends messages, and waits until a queue has confirmed each.
//!
//! The publisher has a connection of its own, and each message a channel of its own until it is confirmed: lapin passes a
//! returned message to the next confirmation of the channel, which may be that of another message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use parking_lot::Mutex;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tracing::{Instrument, Span};

use super::connection::{ANSWER_LIMIT, Broker, Connection, Role, answer};
use super::error::{BrokerError, refusal, timed_out};
use super::message::{Message, short};
use crate::telemetry::traces;

/// Messages that are sent at once.
const AT_ONCE: usize = 32;
/// For so long after a failure to connect, all messages get that failure without another try.
const SHARED_FAILURE: Duration = Duration::from_secs(1);

/// Sends messages. Cheap to clone. All clones share one connection, which is opened when it is first needed and replaced
/// after any failure.
#[derive(Clone)]
pub struct Publisher(Arc<Shared>);

struct Shared {
    broker: Broker,
    at_once: Semaphore,
    /// How the last try to connect ended; none before the first, and after the connection has failed.
    link: AsyncMutex<Option<Opened>>,
}

type Opened = Result<Arc<Link>, (Instant, BrokerError)>;

/// A connection, with its channels that are not in use.
struct Link {
    connection: Connection,
    idle: Mutex<Vec<Channel>>,
}

impl Publisher {
    /// A publisher that is not connected yet.
    pub fn new(broker: Broker) -> Self {
        Self(Arc::new(Shared { broker, at_once: Semaphore::new(AT_ONCE), link: AsyncMutex::default() }))
    }

    /// Sends a message, and waits until a queue has it on disk. Takes 10 s at most, 10 s more to connect,
    /// and before that its turn: so many are sent at once. If the future
    /// is dropped, the message may be sent or not.
    ///
    /// # Errors
    /// [`BrokerError::NotTaken`] if no queue took it or no confirmation came, [`BrokerError::Missing`] if the queue or
    /// exchange does not exist; else why it could not be sent. After an error the message may arrive nevertheless.
    pub async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        message: &Message,
    ) -> Result<(), BrokerError> {
        let span = span(exchange, routing_key, message);
        let sent = self.send(exchange, routing_key, message).instrument(span.clone()).await;
        sent.inspect_err(|error| traces::fail(&span, error.into(), error))
    }

    async fn send(&self, exchange: &str, routing_key: &str, message: &Message) -> Result<(), BrokerError> {
        // Fails only if the semaphore is closed, which never happens.
        let _turn = self.0.at_once.acquire().await;
        let link = self.link().await?;
        // From its first byte to its confirmation. With an alarm on the broker, this time runs out.
        let sent = tokio::time::timeout(ANSWER_LIMIT, link.send(exchange, routing_key, message)).await;
        let error = match sent {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            // An alarm ends by itself, and would block a new connection too.
            Err(_) if link.connection.is_blocked() => {
                let why = "RabbitMQ has blocked publishing because of an alarm; look at its memory and disk";
                return Err(not_taken(exchange, routing_key, why));
            }
            Err(_) => timed_out("waiting for a confirmation", ANSWER_LIMIT),
        };
        Err(self.explain(&link, exchange, routing_key, error).await)
    }

    /// What the end of a channel means. Anything but a refusal ends the connection.
    async fn explain(
        &self,
        link: &Arc<Link>,
        exchange: &str,
        routing_key: &str,
        error: BrokerError,
    ) -> BrokerError {
        let BrokerError::Lost { source, .. } = &error else { return error };
        match refusal(source) {
            (404, _) => {
                let fix = "create it, or let this program do so with amqp.declare = true".to_owned();
                BrokerError::Missing { what: format!("exchange {exchange:?}"), fix }
            }
            (403 | 530, said) => {
                // The name of the default exchange in permissions.
                let exchange = if exchange.is_empty() { "amq.default" } else { exchange };
                let fix = format!("publishing needs the permission to write to exchange {exchange:?}");
                BrokerError::Forbidden { fix, said }
            }
            // This message alone: larger than the broker's max_message_size, for example.
            (405 | 406, said) => not_taken(exchange, routing_key, &format!("RabbitMQ refuses it: {said}")),
            _ => {
                self.give_up(link).await;
                error
            }
        }
    }

    /// Closes the connection; the next message opens another.
    pub async fn close(&self) {
        let link = self.0.link.lock().await.take();
        if let Some(Ok(link)) = link {
            link.connection.close().await;
        }
    }

    async fn link(&self) -> Result<Arc<Link>, BrokerError> {
        let mut state = self.0.link.lock().await;
        match &*state {
            Some(Ok(link)) if link.connection.is_open() => return Ok(link.clone()),
            Some(Err((at, error))) if at.elapsed() < SHARED_FAILURE => return Err(error.clone()),
            _ => {}
        }
        let opened = self.0.broker.open(Role::Publisher).await;
        let link = opened.map(|connection| Arc::new(Link { connection, idle: Mutex::default() }));
        *state = Some(link.clone().map_err(|error| (Instant::now(), error)));
        link
    }

    /// Ends this connection with all that is sent on it; the next message gets a new one.
    async fn give_up(&self, link: &Arc<Link>) {
        link.connection.hang_up();
        let mut state = self.0.link.lock().await;
        if matches!(&*state, Some(Ok(current)) if Arc::ptr_eq(current, link)) {
            *state = None;
        }
    }
}

impl Link {
    /// Sends a message and waits for the confirmation.
    ///
    /// The channel is used again only after a clear answer. Otherwise it is dropped and closed, so that a late confirmation
    /// reaches no other message.
    async fn send(&self, exchange: &str, routing_key: &str, message: &Message) -> Result<(), BrokerError> {
        self.unblocked().await;
        let channel = self.channel().await?;
        // Mandatory: a confirmation alone does not mean that a queue has it.
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let (to, key) = (short(exchange)?, short(routing_key)?);
        let properties = message.traced();
        let asked = channel.basic_publish(to, key, options, &message.body, properties);
        let confirm = answer("publishing", asked).await?;
        let confirmation = answer("waiting for a confirmation", confirm).await?;
        self.idle.lock().push(channel);
        match confirmation {
            Confirmation::Ack(None) => Ok(()),
            // The default exchange leads to every queue that exists.
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) if exchange.is_empty() => {
                let what = format!("queue {routing_key:?}");
                let fix = "the worker declares it when it connects, with amqp.declare = true".to_owned();
                Err(BrokerError::Missing { what, fix })
            }
            Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
                let why = format!("RabbitMQ returned it ({}); is a queue bound?", returned.reply_text);
                Err(not_taken(exchange, routing_key, &why))
            }
            Confirmation::Nack(None) => {
                let why = "RabbitMQ refused it; is the queue full (by max-length of a policy: rabbitmqctl list_policies) or \
                           without a leader?";
                Err(not_taken(exchange, routing_key, why))
            }
            Confirmation::NotRequested => {
                Err(not_taken(exchange, routing_key, "the channel does not confirm"))
            }
        }
    }

    /// Waits for the end of an alarm: what is sent during one stays in memory.
    async fn unblocked(&self) {
        while self.connection.is_blocked() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn channel(&self) -> Result<Channel, BrokerError> {
        let idle = self.idle.lock().pop();
        if let Some(channel) = idle.filter(|channel| channel.status().connected()) {
            return Ok(channel);
        }
        let channel = self.connection.channel().await?;
        answer("asking for confirmations", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(channel)
    }
}

/// The span of sending, by OpenTelemetry's conventions for messaging. None outside a trace.
fn span(exchange: &str, routing_key: &str, message: &Message) -> Span {
    if !traces::is_running() {
        return Span::none();
    }
    let destination = match exchange {
        "" => routing_key.to_owned(),
        _ => format!("{exchange}:{routing_key}"),
    };
    tracing::info_span!(
        "send",
        otel.name = format!("send {destination}"),
        otel.kind = "producer",
        messaging.system = "rabbitmq",
        messaging.operation.name = "send",
        messaging.operation.r#type = "send",
        messaging.destination.name = destination,
        messaging.rabbitmq.destination.routing_key = routing_key,
        messaging.message.id = message.id(),
    )
}

fn not_taken(exchange: &str, routing_key: &str, why: &str) -> BrokerError {
    let target = match exchange {
        "" => format!("queue {routing_key:?}"),
        _ => format!("exchange {exchange:?} with key {routing_key:?}"),
    };
    BrokerError::NotTaken { target, why: why.to_owned() }
}
