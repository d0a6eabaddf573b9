//! What can go wrong with the broker, told apart by what somebody has to do about it.

use lapin::protocol::AMQPErrorKind;
use lapin::protocol::{AMQPHardError, AMQPSoftError};

/// Why something asked of the broker was not done. No variant shows a password.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// No connection: a wrong address, a closed port, TLS, or nobody answering in time.
    #[error("RabbitMQ at {address} cannot be reached: {why}")]
    Unreachable {
        /// Scheme, host, port and virtual host.
        address: String,
        /// What happened, and what to look at.
        why: String,
    },
    /// The broker answers and does not let us in.
    #[error("RabbitMQ at {address} does not let user {user:?} in: {why}")]
    Denied {
        /// Scheme, host, port and virtual host.
        address: String,
        /// The user name of `amqp.url`.
        user: String,
        /// Wrong password or no access to the virtual host, in the broker's words and ours.
        why: String,
    },
    /// A queue or exchange stands and is another than the one needed.
    #[error("{what} is there and differs from what is needed{}: {fix} (RabbitMQ says: {said})",
            argument.as_ref().map(|name| format!(" in {name}")).unwrap_or_default())]
    Conflict {
        /// As in `queue "course-sharing.events"`.
        what: String,
        /// The argument that differs, where the broker names it.
        argument: Option<String>,
        /// What the operator can do.
        fix: String,
        /// The broker's own words.
        said: String,
    },
    /// A queue or exchange is not there.
    #[error("{what} is missing: {fix}")]
    Missing {
        /// As in `queue "course-sharing.events"`.
        what: String,
        /// What the operator can do.
        fix: String,
    },
    /// The user may connect and may not do this.
    #[error("RabbitMQ forbids it: {fix} (it says: {said})")]
    Forbidden {
        /// Which permission is needed, on what.
        fix: String,
        /// The broker's own words.
        said: String,
    },
    /// A message was not taken over by a queue: returned, refused, or not confirmed in time. It may nevertheless
    /// arrive, so that sending it again can make it arrive twice.
    #[error("message to {target} was not taken over: {why}")]
    NotTaken {
        /// As in `exchange "course-events" with key "course-publish"`.
        target: String,
        /// What happened.
        why: String,
    },
    /// The connection that a delivery came by is gone. Nothing is lost: the broker delivers it again, and this
    /// copy of it is to be forgotten.
    #[error("the delivery's connection is gone ({0}); the broker will deliver it again")]
    Stale(String),
    /// The connection or channel broke while it was needed; worth another try.
    #[error("{doing} failed: the connection to RabbitMQ broke")]
    Lost {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        source: lapin::Error,
    },
}

/// The refusals of the broker that have a meaning of their own here.
pub(super) enum Refusal {
    /// 404.
    NotFound,
    /// 403.
    Forbidden,
    /// 405 and 406.
    Differs,
    /// Anything else, the loss of the connection among it.
    Other,
}

/// What the broker meant, and its words.
pub(super) fn refusal(error: &lapin::Error) -> (Refusal, String) {
    let lapin::ErrorKind::ProtocolError(amqp) = error.kind() else {
        return (Refusal::Other, error.to_string());
    };
    let meaning = match amqp.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => Refusal::NotFound,
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED)
        | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => Refusal::Forbidden,
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED | AMQPSoftError::RESOURCELOCKED) => {
            Refusal::Differs
        }
        _ => Refusal::Other,
    };
    (meaning, amqp.get_message().to_string())
}

/// An error of our own making in lapin's clothes, for what lapin itself never notices: a time limit.
pub(super) fn timed_out(doing: &'static str, limit: std::time::Duration) -> BrokerError {
    let why = format!("no answer within {} s", limit.as_secs());
    let source = lapin::Error::from(std::io::Error::new(std::io::ErrorKind::TimedOut, why));
    BrokerError::Lost { doing, source }
}
