//! `[http]`

use std::net::{Ipv4Addr, SocketAddr};

use serde::{Deserialize, Deserializer, de::Error};

/// The worker's port.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Where health, metrics, links and the status page are served.
    pub listen: Listen,
}

/// An address to listen on, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// No port at all.
    Off,
    /// This address.
    On(SocketAddr),
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: Listen::On(SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))) }
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(Self::Off);
        }
        let bad =
            |_| D::Error::custom(format!("{text:?} is no address; write it like 127.0.0.1:8080, or \"off\""));
        text.parse().map(Self::On).map_err(bad)
    }
}
