//! `COURSE_SHARING_<SECTION>__<KEY>` and its `_FILE` form, as a list of overrides.

use std::ffi::OsString;
use std::path::Path;

use super::is_key;
use super::secret::read_file;

const PREFIX: &str = "COURSE_SHARING_";

/// What can be wrong with the environment, before any value is looked at.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// A `_FILE` variable whose file cannot be read.
    #[error("{variable}: cannot read {path:?}: {source}")]
    File {
        /// The variable's name.
        variable: String,
        /// What it names.
        path: OsString,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// Both `X` and `X_FILE` are set.
    #[error("{0} and {0}_FILE are both set; leave one of them away")]
    Both(String),
    /// A name that cannot be a key of ours.
    #[error("{0}: expected COURSE_SHARING_<SECTION>__<KEY>, or that with _FILE")]
    Name(String),
    /// A value of ours that is no text.
    #[error("{0}: its value is not UTF-8")]
    NotText(String),
}

/// `(section.key, value)` for every variable of ours. Variables without `__` are left alone, as Kubernetes sets
/// some of its own (`COURSE_SHARING_SERVICE_HOST`) for a service of our name.
pub(super) fn values(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, EnvironmentError> {
    let mut ours: Vec<(String, OsString)> = environment
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.strip_prefix(PREFIX).is_some_and(|rest| rest.contains("__")))
        .collect();
    ours.sort();
    let mut values: Vec<(String, String)> = Vec::with_capacity(ours.len());
    for (name, value) in &ours {
        let (plain, value) = match name.strip_suffix("_FILE") {
            None => {
                let not_text = |_| EnvironmentError::NotText(name.clone());
                (name.as_str(), value.clone().into_string().map_err(not_text)?)
            }
            Some(plain) => {
                if ours.iter().any(|(other, _)| other == plain) {
                    return Err(EnvironmentError::Both(plain.to_owned()));
                }
                let content = read_file(Path::new(value)).map_err(|source| EnvironmentError::File {
                    variable: name.clone(),
                    path: value.clone(),
                    source,
                })?;
                (plain, content.trim_end_matches(['\n', '\r']).to_owned())
            }
        };
        let key = plain[PREFIX.len()..].to_ascii_lowercase().replacen("__", ".", 1);
        if !is_key(&key) {
            return Err(EnvironmentError::Name(name.chars().take(80).collect()));
        }
        values.push((key, value));
    }
    Ok(values)
}
