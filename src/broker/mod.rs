//! RabbitMQ: topology, consuming, publishing, and how a delivery ends. Does not know courses.
//!
//! [`Broker`] opens connections. [`Consumer`] takes [`Delivery`]s from the events queue. Each can be acknowledged, or moved
//! to a delay queue or to the dead letters, which [`DeadLetters`] reads.

mod connection;
mod consumer;
mod dead_letters;
mod error;
mod headers;
mod message;
mod publisher;
mod screen;
mod session;
mod topology;
mod transport;

pub use self::connection::{Broker, Connection, Role};
pub use self::consumer::{Attachment, Consumer, Stopped};
pub use self::dead_letters::{DeadLetters, Feed};
pub use self::error::BrokerError;
pub(crate) use self::headers::{FIRST_SEEN, HINT, ROUTING_KEY, TRACE};
pub use self::message::{Message, Received};
pub use self::publisher::Publisher;
pub use self::session::{Delivery, ack_many};
pub use self::topology::{Counts, STEPS, Topology};
