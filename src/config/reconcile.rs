//! `[reconcile]`

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use serde::{Deserialize, Deserializer, de::Error};

use super::{ConfigError, bounds, duration::duration};

/// The pass over the whole Catalog.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reconcile {
    /// When the worker runs a pass, in UTC.
    pub schedule: Schedule,
    /// Runs asked for in one request.
    pub page_size: PageSize,
    /// The brake: the part of all linked overviews that one pass may clear or re-host.
    pub max_change_ratio: f64,
    /// What to do with the URL of a run that the Catalog no longer lists.
    pub absent: Absent,
    /// A pass that was killed is taken up where it stood if its last sign of life is no older than this.
    #[serde(deserialize_with = "duration")]
    pub resume_within: Duration,
}

impl Default for Reconcile {
    fn default() -> Self {
        Self {
            schedule: Schedule::nightly(),
            page_size: PageSize::Auto,
            max_change_ratio: 0.05,
            absent: Absent::Keep,
            resume_within: Duration::from_secs(2 * 60 * 60),
        }
    }
}

impl Reconcile {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        bounds::number("reconcile.max_change_ratio", self.max_change_ratio, 0.0..=1.0)?;
        let week = Duration::from_secs(7 * 24 * 60 * 60);
        bounds::duration("reconcile.resume_within", self.resume_within, Duration::ZERO..=week)
    }
}

/// When passes are due. `Debug` shows the expression.
#[derive(Clone)]
pub enum Schedule {
    /// Only by command.
    Off,
    /// By a cron expression with seconds, in UTC.
    Cron(Box<Cron>),
}

impl Schedule {
    /// 03:30, parsed once: a cron expression takes longer to parse than all the other defaults together.
    fn nightly() -> Self {
        #[expect(clippy::unwrap_used, reason = "a literal that parses")]
        static NIGHTLY: LazyLock<Schedule> = LazyLock::new(|| "0 30 3 * * *".parse().unwrap());
        NIGHTLY.clone()
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Cron(cron) => fmt::Debug::fmt(cron.as_str(), f),
        }
    }
}

impl FromStr for Schedule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let parser = CronParser::builder().seconds(Seconds::Required).build();
        let cron = parser.parse(text).map_err(|e| {
            format!("{text:?} is no schedule ({e}); write seconds, minutes, hours, day, month, weekday, or \"off\"")
        })?;
        if cron.find_next_occurrence(&chrono::Utc::now(), false).is_err() {
            return Err(format!("{text:?}: this time never comes"));
        }
        Ok(Self::Cron(Box::new(cron)))
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
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

impl<'de> Deserialize<'de> for PageSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(i64),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Number(number) => number.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(D::Error::custom)
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
