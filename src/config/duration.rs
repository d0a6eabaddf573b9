//! Lengths of time as people write them: `20s`, `15m`, `1h 30m`; and `off` where a thing may be off.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// For `#[serde(deserialize_with)]`: a length of time.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(D::Error::custom)
}

/// A period, or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// Never.
    Off,
    /// Each time this long has passed.
    Period(Duration),
}

impl<'de> Deserialize<'de> for Every {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(Self::Off);
        }
        match parse(&text).map_err(D::Error::custom)? {
            Duration::ZERO => Err(D::Error::custom("expected a time above 0, or \"off\"")),
            period => Ok(Self::Period(period)),
        }
    }
}

fn parse(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is no length of time; write it like 20s, 15m or 2h"))
}
