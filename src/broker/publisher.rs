//! Sending: done only when a queue has taken the message over.
//!
//! The publisher has a connection of its own, and each message a channel of its own while it is under way. lapin
//! hands a returned message to whichever confirmation of the channel comes next, so with two messages on one
//! channel the wrong one could pass for sent.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use super::connection::{ANSWER_LIMIT, Broker, Connection, Role, answer};
use super::error::{BrokerError, Refusal, refusal, timed_out};
use super::topology::short;

/// Messages under way at once.
const LANES: usize = 32;
/// From the message's first byte to its confirmation; an alarm on the broker shows as this running out.
const CONFIRM_LIMIT: Duration = ANSWER_LIMIT;
/// So long after a failure to connect, others that want to send share that failure instead of trying each.
const SHARED_FAILURE: Duration = Duration::from_secs(1);
const PERSISTENT: u8 = 2;

/// A message to be sent; always persistent.
#[derive(Debug, Clone)]
pub struct Message {
    body: Vec<u8>,
    properties: BasicProperties,
}

impl Message {
    /// A JSON message.
    pub fn json(body: Vec<u8>) -> Self {
        Self::with_properties(body, BasicProperties::default().with_content_type("application/json".into()))
    }

    /// The message with one more text header.
    ///
    /// # Errors
    /// If the name is longer than 255 bytes.
    pub fn with_header(mut self, name: &str, value: &str) -> Result<Self, BrokerError> {
        let mut headers: FieldTable = self.properties.headers().clone().unwrap_or_default();
        headers.insert(short(name)?, AMQPValue::LongString(value.into()));
        self.properties = self.properties.with_headers(headers);
        Ok(self)
    }

    /// The message with another content type.
    ///
    /// # Errors
    /// If it is longer than 255 bytes.
    pub fn with_content_type(mut self, content_type: &str) -> Result<Self, BrokerError> {
        self.properties = self.properties.with_content_type(short(content_type)?);
        Ok(self)
    }

    pub(super) fn with_properties(body: Vec<u8>, properties: BasicProperties) -> Self {
        Self { body, properties: properties.with_delivery_mode(PERSISTENT) }
    }
}

/// Sends messages. Cheap to clone; all clones share one connection, which is opened when first needed and replaced
/// as a whole after any failure.
#[derive(Clone)]
pub struct Publisher(Arc<Shared>);

struct Shared {
    broker: Broker,
    lanes: Semaphore,
    link: AsyncMutex<LinkState>,
}

#[derive(Default)]
struct LinkState {
    link: Option<Arc<Link>>,
    failed: Option<(Instant, BrokerError)>,
}

/// A connection, and its channels that confirm and that nobody uses just now.
struct Link {
    connection: Connection,
    idle: Mutex<Vec<Channel>>,
}

/// What became of a message.
enum Confirmed {
    /// A queue has it.
    Taken,
    /// It leads to no queue; in the broker's words.
    Returned(String),
    /// No queue would have it; why.
    Refused(&'static str),
}

impl Publisher {
    /// A publisher that is not connected yet.
    pub fn new(broker: Broker) -> Self {
        Self(Arc::new(Shared { broker, lanes: Semaphore::new(LANES), link: AsyncMutex::default() }))
    }

    /// Sends a message, and waits until a queue has it on disk. Many may be under way at once.
    ///
    /// Once it is its turn it takes 10 s at most, and 10 s more if it has to connect first. Dropping the future leaves open whether the
    /// message is sent.
    ///
    /// # Errors
    /// [`BrokerError::NotTaken`] if no queue took it or no confirmation came, [`BrokerError::Missing`] if the queue or
    /// exchange that it was sent to is not there; else why it could not be sent. After an error the message may still arrive, never after an `Ok` be missing.
    pub async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        message: &Message,
    ) -> Result<(), BrokerError> {
        // Fails only where a semaphore is closed, and nobody closes this one.
        let _lane = self.0.lanes.acquire().await;
        let link = self.link().await?;
        let sent = tokio::time::timeout(CONFIRM_LIMIT, link.send(exchange, routing_key, message)).await;
        let error = match sent {
            Ok(Ok(Confirmed::Taken)) => return Ok(()),
            // The exchange without a name leads to every queue that there is.
            Ok(Ok(Confirmed::Returned(_))) if exchange.is_empty() => {
                let what = format!("queue {routing_key:?}");
                let fix = "the worker declares it when it connects, with amqp.declare = true".to_owned();
                return Err(BrokerError::Missing { what, fix });
            }
            Ok(Ok(Confirmed::Returned(said))) => {
                let why = format!("RabbitMQ returned it ({said}); is a queue bound?");
                return Err(self.not_taken(exchange, routing_key, &why));
            }
            Ok(Ok(Confirmed::Refused(why))) => return Err(self.not_taken(exchange, routing_key, why)),
            Ok(Err(error)) => error,
            // An alarm ends by itself, and a new connection would be blocked just the same.
            Err(_) if link.connection.is_blocked() => {
                let why = "RabbitMQ has blocked publishing because of an alarm; look at its memory and disk";
                return Err(self.not_taken(exchange, routing_key, why));
            }
            Err(_) => timed_out("waiting for a confirmation", CONFIRM_LIMIT),
        };
        Err(self.explain(&link, exchange, error).await)
    }

    /// What the end of a channel means; anything but a refusal is taken for the end of the connection.
    async fn explain(&self, link: &Arc<Link>, exchange: &str, error: BrokerError) -> BrokerError {
        let BrokerError::Lost { source, .. } = &error else { return error };
        match refusal(source) {
            (Refusal::NotFound, _) => {
                let fix = "create it, or let this program do so with amqp.declare = true".to_owned();
                BrokerError::Missing { what: format!("exchange {exchange:?}"), fix }
            }
            (Refusal::Forbidden, said) => {
                // What permissions call the exchange without a name.
                let exchange = if exchange.is_empty() { "amq.default" } else { exchange };
                let fix = format!("publishing needs the permission to write to exchange {exchange:?}");
                BrokerError::Forbidden { fix, said }
            }
            _ => {
                self.give_up(link).await;
                error
            }
        }
    }

    /// Closes the connection; the next message opens another.
    pub async fn close(&self) {
        let link = self.0.link.lock().await.link.take();
        if let Some(link) = link {
            link.connection.close().await;
        }
    }

    async fn link(&self) -> Result<Arc<Link>, BrokerError> {
        let mut state = self.0.link.lock().await;
        if let Some(link) = state.link.as_ref().filter(|link| link.connection.is_open()) {
            return Ok(link.clone());
        }
        if let Some((at, error)) = &state.failed
            && at.elapsed() < SHARED_FAILURE
        {
            return Err(error.clone());
        }
        match self.0.broker.open(Role::Publisher).await {
            Ok(connection) => {
                let link = Arc::new(Link { connection, idle: Mutex::default() });
                *state = LinkState { link: Some(link.clone()), failed: None };
                Ok(link)
            }
            Err(error) => {
                *state = LinkState { link: None, failed: Some((Instant::now(), error.clone())) };
                Err(error)
            }
        }
    }

    /// Ends this connection, and whatever else is under way on it; whoever sends next gets another.
    async fn give_up(&self, link: &Arc<Link>) {
        link.connection.hang_up();
        let mut state = self.0.link.lock().await;
        if state.link.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
            state.link = None;
        }
    }

    fn not_taken(&self, exchange: &str, routing_key: &str, why: &str) -> BrokerError {
        let target = match exchange {
            "" => format!("queue {routing_key:?}"),
            _ => format!("exchange {exchange:?} with key {routing_key:?}"),
        };
        BrokerError::NotTaken { target, why: why.to_owned() }
    }
}

impl Link {
    /// What the broker did with it, while the connection is fine.
    ///
    /// The channel goes back among the idle ones only after a clear answer. Dropped on the way, by a time limit
    /// among others, it is closed, and takes a late confirmation with it.
    async fn send(
        &self,
        exchange: &str,
        routing_key: &str,
        message: &Message,
    ) -> Result<Confirmed, BrokerError> {
        self.unblocked().await;
        let channel = self.lane().await?;
        // Mandatory: a confirmation alone does not mean that there was a queue.
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let (exchange, routing_key) = (short(exchange)?, short(routing_key)?);
        let properties = message.properties.clone();
        let asked = channel.basic_publish(exchange, routing_key, options, &message.body, properties);
        let confirm = answer("publishing", asked).await?;
        let confirmed = match answer("waiting for a confirmation", confirm).await? {
            Confirmation::Ack(None) => Confirmed::Taken,
            Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
                Confirmed::Returned(returned.reply_text.to_string())
            }
            Confirmation::Nack(None) => {
                Confirmed::Refused("RabbitMQ refused it; is the queue full or without a leader?")
            }
            Confirmation::NotRequested => Confirmed::Refused("the channel does not confirm"),
        };
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        Ok(confirmed)
    }

    /// What is sent while an alarm lasts stays in our memory; so nothing is, beyond what finds the alarm out.
    async fn unblocked(&self) {
        while self.connection.is_blocked() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn lane(&self) -> Result<Channel, BrokerError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(channel) = idle.filter(|channel| channel.status().connected()) {
            return Ok(channel);
        }
        let channel = self.connection.channel().await?;
        answer("asking for confirmations", channel.confirm_select(ConfirmSelectOptions::default())).await?;
        Ok(channel)
    }
}
