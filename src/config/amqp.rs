//! `[amqp]`

use lapin::uri::AMQPUri;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{ConfigError, TlsFiles, address, bounds};

/// What every events queue's name ends with; the other queues' names are built from what is before it.
const EVENTS: &str = ".events";

/// The broker, and the names of the topology on it.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Amqp {
    /// `amqp:` or, with TLS, `amqps:`; holds a password, so it is never shown.
    pub url: SecretString,
    /// The durable topic exchange that Studio and the LMS publish to.
    pub exchange: String,
    /// The events queue; ends with `.events`.
    pub queue: String,
    /// Deliveries in hand at once, at most.
    pub prefetch: u16,
    /// True: declare the topology. False: only check that it is there.
    pub declare: bool,
}

impl Default for Amqp {
    fn default() -> Self {
        Self {
            url: "amqp://guest:guest@127.0.0.1:5672/%2f".into(),
            exchange: "course-events".to_owned(),
            queue: "course-sharing.events".to_owned(),
            prefetch: 500,
            declare: true,
        }
    }
}

impl Amqp {
    /// What the names of all our queues begin with: the events queue's name less `.events`.
    pub fn queue_prefix(&self) -> &str {
        self.queue.strip_suffix(EVENTS).unwrap_or(&self.queue)
    }

    /// The files with certificates that the URL names.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn tls_files(&self) -> Result<TlsFiles, ConfigError> {
        let invalid = |why| ConfigError::Invalid { key: "amqp.url", why };
        // Here, as the library quotes a URL that it cannot read, with the password in it; and it takes one without
        // a host for this machine's.
        let text = self.url.expose_secret();
        let url = address::parse(text).filter(|url| url.host_str().is_some_and(|host| !host.is_empty()));
        let (Some(url), Ok(uri)) = (url, text.parse::<AMQPUri>()) else {
            return Err(invalid(format!(
                "expected a URL like amqp://user:password@host:5672/%2f, or amqps: for TLS; {}",
                address::ENCODE
            )));
        };
        TlsFiles::of(&url, &uri).map_err(invalid)
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.tls_files()?;
        bounds::name("amqp.exchange", &self.exchange, 255)?;
        // 255, less what the longest name of a queue has more.
        bounds::name("amqp.queue", &self.queue, 240)?;
        if !self.queue.ends_with(EVENTS) || self.queue.len() == EVENTS.len() {
            let why =
                format!("expected a name that ends with {EVENTS}, as the other queues are named after it");
            return Err(ConfigError::Invalid { key: "amqp.queue", why });
        }
        // 0 would be no limit at all, to the broker.
        bounds::number("amqp.prefetch", self.prefetch, 1..=10_000)
    }
}
