//! `[marketing_url]`

use serde::Deserialize;

use super::{ConfigError, list::list};
use crate::marketing_url::UrlPolicy;

/// Which URLs may be shown to learners.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MarketingUrl {
    /// Exact hosts or `*.host`; in the environment separated by commas. Empty: any host.
    #[serde(deserialize_with = "list")]
    pub allowed_hosts: Vec<String>,
    /// Whether `http:` will do.
    pub allow_http: bool,
}

/// Hosts that may be named, at most.
const MAX_HOSTS: usize = 1_000;

impl MarketingUrl {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let invalid = |why| Err(ConfigError::Invalid { key: "marketing_url.allowed_hosts", why });
        if self.allowed_hosts.len() > MAX_HOSTS {
            return invalid(format!("expected {MAX_HOSTS} hosts at most"));
        }
        for rule in &self.allowed_hosts {
            let host = rule.strip_prefix("*.").unwrap_or(rule);
            let bare = url::Host::parse(host).is_ok() && host.len() <= 253 && !host.contains('*');
            if !bare {
                let rule: String = rule.chars().take(80).collect();
                return invalid(format!(
                    "{rule:?} is no host; expected names like www.example.org or *.example.org"
                ));
            }
        }
        Ok(())
    }

    /// The same as the rule that the Catalog's answers are held against.
    pub fn policy(&self) -> UrlPolicy {
        UrlPolicy { allowed_hosts: self.allowed_hosts.clone(), allow_http: self.allow_http }
    }
}
