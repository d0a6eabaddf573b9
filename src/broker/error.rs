//! How the broker can fail, by what an operator has to do about it.

/// Why the broker did not do something. No variant shows a password.
#[derive(Debug, Clone, thiserror::Error, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum BrokerError {
    /// No connection: a wrong address, a closed port, TLS, or no answer in time.
    #[error("RabbitMQ at {address} cannot be reached: {why}")]
    Unreachable {
        /// Scheme, host, port and virtual host.
        address: String,
        /// What happened, and what to check.
        why: String,
    },
    /// The broker refuses the login.
    #[error("RabbitMQ at {address} does not let user {user:?} in: {why}")]
    Denied {
        /// Scheme, host, port and virtual host.
        address: String,
        /// The user name of `amqp.url`.
        user: String,
        /// Wrong password, or no access to the virtual host.
        why: String,
    },
    /// A queue or exchange exists with other arguments.
    #[error("{what} exists and differs from what is needed{}: {fix} (RabbitMQ says: {said})",
            argument.as_ref().map(|name| format!(" in {name}")).unwrap_or_default())]
    Conflict {
        /// As in `queue "course-sharing.events"`.
        what: String,
        /// The argument that differs, if the broker names it.
        argument: Option<String>,
        /// What the operator can do.
        fix: String,
        /// The broker's message.
        said: String,
    },
    /// A queue or exchange does not exist.
    #[error("{what} is missing: {fix}")]
    Missing {
        /// As in `queue "course-sharing.events"`.
        what: String,
        /// What the operator can do.
        fix: String,
    },
    /// The user may connect, but not do this.
    #[error("RabbitMQ forbids it: {fix} (it says: {said})")]
    Forbidden {
        /// Which permission is needed, on what.
        fix: String,
        /// The broker's message.
        said: String,
    },
    /// No queue took a message: it was returned, refused, or not confirmed in time. It may arrive nevertheless, so a second
    /// try may make a duplicate.
    #[error("message to {target} was not taken over: {why}")]
    NotTaken {
        /// As in `exchange "course-events" with key "course-publish"`.
        target: String,
        /// What happened.
        why: String,
    },
    /// The connection of a delivery is closed. Nothing is lost: the broker delivers it again, and this copy is to be
    /// dropped.
    #[error("the connection of the delivery is closed ({0}); the broker will deliver it again")]
    Stale(String),
    /// The connection or channel broke; a retry may succeed.
    #[error("{doing} failed: the connection to RabbitMQ broke")]
    Lost {
        /// What was being done.
        doing: &'static str,
        /// The cause.
        source: lapin::Error,
    },
}

/// AMQP's reply code in a refusal of the broker, and its message: 404 not found, 403 or 530 not allowed, 405 or 406 other
/// than asked for. 0 for anything else, such as the loss of the connection.
pub(super) fn refusal(error: &lapin::Error) -> (u16, String) {
    match error.kind() {
        lapin::ErrorKind::ProtocolError(amqp) => (amqp.get_id(), amqp.get_message().to_string()),
        _ => (0, error.to_string()),
    }
}

/// The error for an answer that did not come in time, which lapin does not notice.
pub(super) fn timed_out(doing: &'static str, limit: std::time::Duration) -> BrokerError {
    let why = format!("no answer within {} s", limit.as_secs());
    let source = lapin::Error::from(std::io::Error::new(std::io::ErrorKind::TimedOut, why));
    BrokerError::Lost { doing, source }
}
