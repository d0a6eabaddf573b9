//! What the Catalog says about one run. Not knowing is a result of its own.

use std::sync::Arc;
use std::time::Instant;

use super::error::CatalogError;
use crate::model::extra_columns::Also;
use crate::model::marketing_url::{MarketingUrl, RefusedUrl};

/// How the look-up of one run ended.
#[derive(Debug, Clone)]
pub enum Observation {
    /// Listed, with a URL that may be shared, and with the columns of `sync.also`.
    Url(MarketingUrl, Also),
    /// Listed, with null or an empty string, which mean the same to the Catalog; and with the columns of `sync.also`.
    NoUrl(Also),
    /// Listed, with a URL that must not be shared. It changes no link.
    Refused(RefusedUrl),
    /// A complete and valid answer came without it.
    NotListed,
    /// Anything else. It changes nothing.
    Unknown(Unknown),
}

impl Observation {
    /// Whether it is known that the run has no URL that may be shared.
    pub(crate) fn gives_no_url(&self) -> bool {
        matches!(self, Self::NoUrl(_) | Self::Refused(_) | Self::NotListed)
    }
}

/// Why nothing is known about a run. `Display` says it in one line.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unknown {
    /// The row of this run cannot be used, and why.
    #[error("what the Catalog lists of it cannot be used: {0}")]
    Row(&'static str),
    /// A request for this run alone failed, while others succeed.
    #[error("asked for alone, {0}")]
    Broken(Arc<CatalogError>),
    /// Requests fail.
    #[error("{0}")]
    Failed(Arc<CatalogError>),
}

impl Unknown {
    /// True if the reason seems to be the run itself, and not an outage whose end can be waited for.
    pub fn is_of_the_run_alone(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }

    /// When requests may be sent again, if none was sent for this run.
    pub fn reopens_at(&self) -> Option<Instant> {
        self.error().and_then(CatalogError::reopens_at)
    }

    /// The failed request, if that is why.
    pub fn error(&self) -> Option<&CatalogError> {
        match self {
            Self::Row(_) => None,
            Self::Broken(error) | Self::Failed(error) => Some(error),
        }
    }
}

impl From<CatalogError> for Unknown {
    fn from(error: CatalogError) -> Self {
        Self::Failed(Arc::new(error))
    }
}
