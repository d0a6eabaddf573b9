//! `[sync]` and `[heal]`

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::{ConfigError, Every, bounds, duration::duration, list::list};
use crate::also::AlsoColumn;

/// How events are worked off.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sync {
    /// Events settled in one go, at most.
    pub max_batch: usize,
    /// A run is asked for at most once in this time.
    #[serde(deserialize_with = "duration")]
    pub min_interval: Duration,
    /// How far apart a null must be seen twice before a URL is cleared.
    #[serde(deserialize_with = "duration")]
    pub clear_after: Duration,
    /// Columns of the overview that are copied beside the URL; in the environment separated by commas.
    #[serde(deserialize_with = "columns")]
    pub also: Vec<AlsoColumn>,
}

impl Default for Sync {
    fn default() -> Self {
        Self {
            max_batch: 200,
            min_interval: Duration::from_secs(5),
            clear_after: Duration::from_secs(15 * 60),
            also: Vec::new(),
        }
    }
}

/// Each column once.
fn columns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<AlsoColumn>, D::Error> {
    let mut columns: Vec<AlsoColumn> = list(deserializer)?;
    columns.sort_unstable();
    columns.dedup();
    Ok(columns)
}

impl Sync {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        // No more than one SQL statement takes.
        bounds::number("sync.max_batch", self.max_batch, 1..=500)?;
        let (hour, month) = (Duration::from_secs(60 * 60), Duration::from_secs(30 * 24 * 60 * 60));
        bounds::duration("sync.min_interval", self.min_interval, Duration::ZERO..=hour)?;
        bounds::duration("sync.clear_after", self.clear_after, Duration::ZERO..=month)
    }
}

/// Copying last-known URLs back to overviews that lost them.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Heal {
    /// How often the worker heals.
    pub interval: Every,
}

impl Default for Heal {
    fn default() -> Self {
        Self { interval: Every::Period(Duration::from_secs(60)) }
    }
}

impl Heal {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        match self.interval {
            Every::Off => Ok(()),
            Every::Period(interval) => {
                let day = Duration::from_secs(24 * 60 * 60);
                bounds::duration("heal.interval", interval, Duration::from_secs(1)..=day)
            }
        }
    }
}
