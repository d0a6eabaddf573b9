//! `[marketing_url]`

use serde::Deserialize;

use super::list::list;
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

impl MarketingUrl {
    /// The same as the rule that the Catalog's answers are held against.
    pub fn policy(&self) -> UrlPolicy {
        UrlPolicy { allowed_hosts: self.allowed_hosts.clone(), allow_http: self.allow_http }
    }
}
