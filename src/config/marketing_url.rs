//! `[marketing_url]`

use serde::{Deserialize, Deserializer};

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

/// A list, or its elements in one text with commas between, which is all that the environment can say.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        List(Vec<String>),
        Text(String),
    }
    Ok(match Written::deserialize(deserializer)? {
        Written::List(list) => list,
        Written::Text(text) => {
            text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
        }
    })
}
