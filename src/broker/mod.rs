//! RabbitMQ: topology as data, consuming, publishing, and what becomes of a delivery. Carries bytes, knows no
//! courses.
//!
//! [`Broker`] is where it is; [`Consumer`] takes [`Delivery`]s from the events queue, for ever; a [`Settler`]
//! acknowledges, delays or buries them; [`DeadLetters`] is where those wait that were given up.

mod ack_window;
mod connection;
mod consumer;
mod dead_letters;
mod declare;
mod delivery;
mod error;
mod headers;
pub mod ladder;
mod publisher;
mod received;
mod screen;
mod settle;
mod tls;
mod topology;
mod transport;

pub use self::connection::{Broker, Connection, Role};
pub use self::consumer::{Attachment, Consumer, Stopped};
pub use self::dead_letters::{DeadLetters, Feed};
pub use self::declare::Counts;
pub use self::delivery::{Delivery, ack_many};
pub use self::error::BrokerError;
pub use self::headers::{ATTEMPT, FIRST_SEEN, PROPERTIES, REASON, ROUTING_KEY, UNREADABLE};
pub use self::publisher::{Message, Publisher};
pub use self::received::Received;
pub use self::settle::Settler;
pub use self::topology::{ROUTING_KEYS, Topology};
