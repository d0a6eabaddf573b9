//! `[database]`

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::ConfigError;

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
        let url = Url::parse(self.url.expose_secret());
        if !url.is_ok_and(|url| matches!(url.scheme(), "sqlite" | "mysql" | "postgres" | "postgresql")) {
            let why = "expected a URL that begins with sqlite:, mysql: (MySQL and MariaDB) or postgres:; \
                       in a user name or password, percent-encode / # ? @ and :"
                .to_owned();
            return Err(ConfigError::Invalid { key: "database.url", why });
        }
        if self.max_connections < 2 {
            let why = "expected 2 or more".to_owned();
            return Err(ConfigError::Invalid { key: "database.max_connections", why });
        }
        Ok(())
    }
}
