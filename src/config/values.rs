//! Kinds of values: lengths of time, addresses, schedules; and `off` where a thing may be off.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::clock;
use crate::model::extra_columns::AlsoColumn;

/// For `#[serde(deserialize_with)]`: a length of time, as people write it: `20s`, `15m`, `1h 30m`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is no length of time; write it like 20s, 15m or 2h"))
}

/// For `#[serde(deserialize_with)]`: columns, each once.
pub(super) fn columns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AlsoColumn>, D::Error> {
    let mut columns = Vec::<AlsoColumn>::deserialize(deserializer)?;
    columns.sort_unstable();
    columns.dedup();
    Ok(columns)
}

/// Reads values of these types by their `FromStr`.
macro_rules! deserialize_from_str {
    ($($type:ty),+) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )+};
}
deserialize_from_str!(PageSize, super::address::WebUrl, super::address::TraceUrl);

/// None for `off`, else what `read` makes of the text.
fn or_off<'de, T, D: Deserializer<'de>>(
    deserializer: D,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "off" => Ok(None),
        text => read(text).map(Some).map_err(D::Error::custom),
    }
}

/// For `#[serde(deserialize_with)]`: a period, or off.
pub(super) fn period<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    or_off(deserializer, |text| match parse_duration(text)? {
        Duration::ZERO => Err("expected a time above 0, or \"off\"".to_owned()),
        period => Ok(period),
    })
}

/// For `#[serde(deserialize_with)]`: an address to listen on, or off.
pub(super) fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    or_off(deserializer, |text| {
        text.parse().map_err(|_| format!("{text:?} is no address; write it like 127.0.0.1:8080, or \"off\""))
    })
}

/// For `#[serde(deserialize_with)]`: a schedule, or off.
pub(super) fn schedule<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Schedule>, D::Error> {
    or_off(deserializer, str::parse)
}

/// When passes are due: a cron expression with seconds, in UTC. `Debug` shows the expression.
#[derive(Clone)]
pub struct Schedule(pub Cron);

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0.as_str(), f)
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "{text:?} is no schedule ({why}); write seconds, minutes, hours, day, month, weekday, or \"off\""
            )
        };
        // The parser takes an empty item for none at all, and then looks for a time that never comes for minutes.
        if text.split_whitespace().any(|field| field.split(',').any(str::is_empty)) {
            return Err(wrong("nothing stands before or after a comma"));
        }
        let parser = CronParser::builder().seconds(Seconds::Required).build();
        let cron = parser.parse(text).map_err(|error| wrong(&error.to_string()))?;
        if cron.find_next_occurrence(&clock::now(), false).is_err() {
            return Err(format!("{text:?}: this time never comes"));
        }
        Ok(Self(cron))
    }
}

/// Runs a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageSize {
    /// Found by how long pages take.
    Auto,
    /// Always this many.
    Fixed(u32),
    /// What the LMS's staff have set in Django admin: the newest row of `catalog_catalogintegration`, read at each
    /// pass.
    Lms,
}

impl FromStr for PageSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "auto" => Ok(Self::Auto),
            _ if text == "lms" => Ok(Self::Lms),
            Ok(size @ 1..=10_000) => Ok(Self::Fixed(size)),
            _ => Err(format!(
                "{text:?} is no page size; expected \"auto\", \"lms\" or a number from 1 to 10000"
            )),
        }
    }
}

/// What becomes of the URL of a run that a whole pass did not find in the Catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Absent {
    /// It stays.
    Keep,
    /// It is cleared, after a pass that was complete.
    Clear,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people where stderr is a terminal, else JSON.
    Auto,
    /// One JSON object a line, for Splunk and its like.
    Json,
    /// For people.
    Pretty,
}
