//! What one look at the Catalog taught about one run. Not knowing is a result of its own.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::also::Also;
use crate::marketing_url::MarketingUrl;
use crate::refused_url::RefusedUrl;

use super::error::CatalogError;

/// The ways in which a look-up of one run can end.
#[derive(Debug, Clone)]
pub enum Observation {
    /// Listed, with a URL that may be shared, and with what `sync.also` asks for.
    Url(MarketingUrl, Also),
    /// Listed, with an explicit null (or an empty text, which the Catalog means the same by); the rest likewise.
    NoUrl(Also),
    /// Listed, with a URL that must not be shared. It is an answer, and no reason to change a link.
    Refused(RefusedUrl),
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
    Row(&'static str),
    Broken(Arc<CatalogError>),
    Failed(Arc<CatalogError>),
}

impl Unknown {
    /// For a row of this run, in a whole answer, that cannot be understood; why.
    pub(crate) fn row(why: &'static str) -> Self {
        Self(Reason::Row(why))
    }

    /// For a failure of a question about this run that others do not meet.
    pub(crate) fn broken(error: Arc<CatalogError>) -> Self {
        Self(Reason::Broken(error))
    }

    /// True if the run itself is what keeps it unknown, as far as can be told: no outage, whose end is to be waited for.
    pub fn is_of_the_run_alone(&self) -> bool {
        !matches!(self.0, Reason::Failed(_))
    }

    /// When the gate is expected to let requests through again, if the gate is why; none otherwise.
    pub fn reopens_at(&self) -> Option<Instant> {
        self.error().and_then(CatalogError::reopens_at)
    }

    /// The failure to ask or to understand, if that is why.
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
