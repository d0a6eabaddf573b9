//! RabbitMQ: topology, consuming, publishing, and how a delivery ends. Does not know courses.
//!
//! [`Broker`] opens connections. [`Consumer`] takes [`Delivery`]s from the events queue. [`Acker`] acknowledges them, or
//! moves them to a delay queue or to the dead letters, which [`DeadLetters`] reads.

mod ack_window;
mod acker;
mod connection;
mod consumer;
mod dead_letters;
mod declare;
mod error;
mod headers;
mod publisher;
mod received;
pub mod retry_schedule;
mod screen;
mod session;
mod tls;
mod topology;
mod transport;

pub use self::acker::Acker;
pub use self::connection::{Broker, Connection, Role};
pub use self::consumer::{Attachment, Consumer, Stopped};
pub use self::dead_letters::{DeadLetters, Feed};
pub use self::declare::Counts;
pub use self::error::BrokerError;
pub use self::headers::{ATTEMPT, FIRST_SEEN, HINT, PROPERTIES, REASON, ROUTING_KEY, UNREADABLE};
pub use self::publisher::{Message, Publisher};
pub use self::received::Received;
pub use self::session::{Delivery, ack_many};
pub use self::topology::{ROUTING_KEYS, Topology};
