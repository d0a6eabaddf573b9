//! `[database]`

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::{ConfigError, address, bounds};

/// The parameters of `mysql:` URLs that the driver reads.
const MYSQL: &[&str] = &[
    "ssl-mode",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "sslmode",
    "sslca",
    "sslcert",
    "sslkey",
    "charset",
    "collation",
    "socket",
    "statement-cache-capacity",
    "timezone",
    "time-zone",
];
/// The same of `postgres:` URLs.
const POSTGRES: &[&str] = &[
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "ssl-mode",
    "ssl-root-cert",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "statement-cache-capacity",
];

/// Where overviews and our own tables are.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// `sqlite:`, `mysql:` (MySQL and MariaDB) or `postgres:`; holds a password, so it is never shown.
    pub url: SecretString,
    /// Connections in the pool, at most.
    pub max_connections: u32,
}

impl Default for Database {
    fn default() -> Self {
        Self { url: "sqlite://course-sharing.db?mode=rwc".into(), max_connections: 8 }
    }
}

impl Database {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        // Here, as the library quotes a URL that it cannot read, with the password in it.
        let text = self.url.expose_secret();
        // A SQLite URL has no password, and its path may have any character.
        let url = if text.starts_with("sqlite:") { Url::parse(text).ok() } else { address::parse(text) };
        let known = url.as_ref().and_then(|url| match url.scheme() {
            // Its driver refuses what it does not know.
            "sqlite" => Some(None),
            "mysql" => Some(Some(MYSQL)),
            "postgres" | "postgresql" => Some(Some(POSTGRES)),
            _ => None,
        });
        let (Some(url), Some(known)) = (url, known) else {
            let why = format!(
                "expected a URL that begins with sqlite:, mysql: (MySQL and MariaDB) or postgres:; {}",
                address::ENCODE
            );
            return Err(ConfigError::Invalid { key: "database.url", why });
        };
        if let Some(known) = known {
            let unread = |why| ConfigError::Invalid { key: "database.url", why };
            address::known_parameters(&url, known).map_err(unread)?;
        }
        bounds::number("database.max_connections", self.max_connections, 2..=1_000)
    }
}
