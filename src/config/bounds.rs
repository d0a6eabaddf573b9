//! The least and the most that a value may be: values beyond them would panic, abort or hang somewhere else, later.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::ConfigError;

/// # Errors
/// `value` is not in `range`; the error names `key` and both bounds.
pub(super) fn number<T: PartialOrd + Display>(
    key: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    let why = format!("{value} is out of bounds; expected {} to {}", range.start(), range.end());
    Err(ConfigError::Invalid { key, why })
}

/// # Errors
/// `value` is not in `range`; the error names `key` and both bounds.
pub(super) fn duration(
    key: &'static str,
    value: Duration,
    range: RangeInclusive<Duration>,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    let show = |duration: &Duration| humantime::format_duration(*duration).to_string();
    let (from, to) = (show(range.start()), show(range.end()));
    let why = format!("{} is out of bounds; expected {from} to {to}", show(&value));
    Err(ConfigError::Invalid { key, why })
}

/// # Errors
/// `text` has less than one or more than `most` bytes, or a control character.
pub(super) fn name(key: &'static str, text: &str, most: usize) -> Result<(), ConfigError> {
    if (1..=most).contains(&text.len()) && !text.contains(char::is_control) {
        return Ok(());
    }
    let why = format!("expected a name of 1 to {most} bytes without control characters");
    Err(ConfigError::Invalid { key, why })
}
