//! What the Catalog says about one run. Not knowing is a result of its own.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::model::extra_columns::Also;
use crate::model::marketing_url::MarketingUrl;
use crate::refused_url::RefusedUrl;

use super::error::CatalogError;

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
    pub fn gives_no_url(&self) -> bool {
        matches!(self, Self::NoUrl(_) | Self::Refused(_) | Self::NotListed)
    }
}

/// Why nothing is known about a run. `Display` says it in one line.
#[derive(Debug, Clone)]
pub struct Unknown(Reason);

#[derive(Debug, Clone)]
enum Reason {
    Row(&'static str),
    Broken(Arc<CatalogError>),
    Failed(Arc<CatalogError>),
}

impl Unknown {
    /// The row of this run cannot be used, and why.
    pub(crate) fn row(why: &'static str) -> Self {
        Self(Reason::Row(why))
    }

    /// A request for this run alone failed, while others succeed.
    pub(crate) fn broken(error: Arc<CatalogError>) -> Self {
        Self(Reason::Broken(error))
    }

    /// True if the reason seems to be the run itself, and not an outage whose end can be waited for.
    pub fn is_of_the_run_alone(&self) -> bool {
        !matches!(self.0, Reason::Failed(_))
    }

    /// When requests may be sent again, if none was sent for this run.
    pub fn reopens_at(&self) -> Option<Instant> {
        self.error().and_then(CatalogError::reopens_at)
    }

    /// The failed request, if that is why.
    pub fn error(&self) -> Option<&CatalogError> {
        match &self.0 {
            Reason::Row(_) => None,
            Reason::Broken(error) | Reason::Failed(error) => Some(error),
        }
    }
}

impl From<Arc<CatalogError>> for Unknown {
    fn from(error: Arc<CatalogError>) -> Self {
        Self(Reason::Failed(error))
    }
}

impl From<CatalogError> for Unknown {
    fn from(error: CatalogError) -> Self {
        Arc::new(error).into()
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::Row(why) => write!(f, "what the Catalog lists of it cannot be used: {why}"),
            Reason::Broken(error) => write!(f, "asked for alone, {error}"),
            Reason::Failed(error) => error.fmt(f),
        }
    }
}
