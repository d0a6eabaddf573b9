//! `[lms]`

use serde::Deserialize;
use url::Url;

use super::ConfigError;

/// What the LMS's own settings say about links; the same order of links follows from the same flags.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lms {
    /// `LMS_ROOT_URL`, for the About-page fallback.
    pub root_url: Url,
    /// `SOCIAL_SHARING_SETTINGS["CUSTOM_COURSE_URLS"]`.
    pub custom_course_urls: bool,
    /// `FEATURES["ENABLE_MKTG_SITE"]`.
    pub marketing_site: bool,
}

impl Default for Lms {
    fn default() -> Self {
        Self {
            #[expect(clippy::unwrap_used, reason = "a literal that parses")]
            root_url: Url::parse("http://localhost:8000").unwrap(),
            custom_course_urls: true,
            marketing_site: true,
        }
    }
}

impl Lms {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let url = &self.root_url;
        let is_web = matches!(url.scheme(), "http" | "https") && url.query().is_none();
        // Learners are shown it.
        if !is_web || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            let why = "expected an http: or https: URL without a query, a user name or a password".to_owned();
            return Err(ConfigError::Invalid { key: "lms.root_url", why });
        }
        Ok(())
    }
}
