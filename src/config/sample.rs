//! The sample, `ops/course-sharing.toml`: every key there is, at its default, with a comment. It is what an operator
//! reads, what `init` fills in, and where names, kinds and defaults of keys are known from. A test holds it against
//! [`super::Config`].

use std::fmt;

const SAMPLE: &str = include_str!("../../ops/course-sharing.toml");
/// What the names of our variables begin with.
pub(super) const PREFIX: &str = "COURSE_SHARING_";

/// A key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    section: &'static str,
    name: &'static str,
    /// What follows it in the sample: its default, or an example.
    pub(super) value: &'static str,
    /// Its default, as a TOML file has it, if it has one.
    pub(super) default: Option<&'static str>,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.section, self.name)
    }
}

impl Key {
    /// Whether this is `section.key`.
    pub(super) fn is(&self, key: &str) -> bool {
        key.split_once('.') == Some((self.section, self.name))
    }

    /// Whether nothing of its value may be shown.
    pub(super) fn is_secret(&self) -> bool {
        self.name.ends_with("_secret")
    }

    /// Whether its value is a URL, in which a password may stand.
    pub(super) fn is_url(&self) -> bool {
        self.name.ends_with("url")
    }
}

/// The lines of the sample, each with the key on it.
fn lines() -> impl Iterator<Item = (&'static str, Option<Key>)> {
    let mut section = "";
    SAMPLE.lines().map(move |line| {
        section = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')).unwrap_or(section);
        // One without a default stands in a comment.
        let bare = line.strip_prefix("# ");
        let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let pair = bare.unwrap_or(line).split_once(" = ").filter(|(name, _)| is_name(name));
        let default = |value| bare.is_none().then_some(value);
        (line, pair.map(|(name, value)| Key { section, name, value, default: default(value) }))
    })
}

/// Every key there is, in the order of the sample.
pub(super) fn keys() -> impl Iterator<Item = Key> {
    lines().filter_map(|(_, key)| key)
}

/// Whether there is such a section.
pub(super) fn is_section(name: &str) -> bool {
    keys().any(|key| key.section == name)
}

/// The sample with other values: those that `value` gives, as a TOML file has them.
pub(super) fn with(value: impl Fn(&Key) -> Option<String>) -> String {
    let text = lines().map(|(line, key)| match key.and_then(|key| Some((key.name, value(&key)?))) {
        Some((name, value)) => format!("{name} = {value}\n"),
        None => format!("{line}\n"),
    });
    text.collect()
}

/// The name of the variable for `section.key`.
pub(super) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replacen('.', "__", 1))
}

/// Whether this is the variable of a key.
pub(super) fn is_variable(name: &str) -> bool {
    keys().any(|key| variable(&key.to_string()) == name)
}

/// The key whose variable this would be with a second underscore between section and key.
pub(super) fn with_one_underscore(variable: &str) -> Option<Key> {
    let rest = variable.strip_prefix(PREFIX)?.to_ascii_lowercase();
    keys().find(|key| format!("{}_{}", key.section, key.name) == rest)
}

/// The key that was probably meant.
pub(super) fn nearest(text: &str) -> Option<String> {
    let text: String = text.chars().take(80).collect();
    let misspelt = keys()
        .map(|key| (strsim::damerau_levenshtein(&key.to_string(), &text), key))
        .filter(|(distance, _)| *distance <= 3)
        .min_by_key(|(distance, _)| *distance);
    // The right name in the wrong section.
    let elsewhere = || keys().find(|key| text.rsplit('.').next() == Some(key.name));
    misspelt.map(|(_, key)| key).or_else(elsewhere).map(|key| key.to_string())
}
