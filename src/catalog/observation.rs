//! What one look at the Catalog taught about one run. Not knowing is a result of its own.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::also::Also;
use crate::marketing_url::{MarketingUrl, UrlRefused};

use super::error::CatalogError;

/// The four ways in which a look-up of one run can end.
#[derive(Debug, Clone)]
pub enum Observation {
    /// Listed, with a URL that may be shared, and with what `sync.also` asks for.
    Url(MarketingUrl, Also),
    /// Listed, with an explicit null (or an empty text, which the Catalog means the same by); the rest likewise.
    NoUrl(Also),
    /// A whole and valid answer came without it.
    NotListed,
    /// Anything else. It is no reason to change anything.
    Unknown(Unknown),
}

/// Why nothing is known about a run. `Display` says it in a line.
#[derive(Debug, Clone)]
pub struct Unknown(Reason);

#[derive(Debug, Clone)]
enum Reason {
    Refused(UrlRefused),
    Failed(Arc<CatalogError>),
}

impl Unknown {
    /// When the gate is expected to let requests through again, if the gate is why; none otherwise.
    pub fn reopens_at(&self) -> Option<Instant> {
        self.error().and_then(CatalogError::reopens_at)
    }

    /// The rule that the listed URL breaks, if that is why: true of this run alone, and until someone acts.
    pub fn refused(&self) -> Option<&UrlRefused> {
        match &self.0 {
            Reason::Refused(why) => Some(why),
            Reason::Failed(_) => None,
        }
    }

    /// The failure to ask or to understand, if that is why.
    pub fn error(&self) -> Option<&CatalogError> {
        match &self.0 {
            Reason::Refused(_) => None,
            Reason::Failed(error) => Some(error),
        }
    }
}

impl From<UrlRefused> for Unknown {
    fn from(why: UrlRefused) -> Self {
        Self(Reason::Refused(why))
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
            Reason::Refused(why) => write!(f, "the URL that the Catalog lists is refused: {why}"),
            Reason::Failed(error) => error.fmt(f),
        }
    }
}
