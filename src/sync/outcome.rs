//! How a look-up of one course ended; what events are settled by, and what `sync` prints.

use crate::catalog::Unknown;
use crate::refused_url::RefusedUrl;

/// How it ended for one course.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The overview has got its URL, or a column of `sync.also`: it had none, or another.
    Updated,
    /// The overview had the right URL already.
    Unchanged,
    /// The URL was taken away, as the Catalog has said twice that there is none.
    Cleared,
    /// The Catalog says that there is no page; a URL, if there was one, stays until it says so again.
    NoPage,
    /// The Catalog lists a URL that must not be shared; a URL known before stays.
    Refused(RefusedUrl),
    /// The Catalog does not list the run (yet).
    NotListed,
    /// The LMS has no overview of the course (yet); the URL is kept in the ledger for it.
    NoOverview,
    /// The database rejects the row, which no waiting helps; what it says.
    Rejected(String),
    /// Nothing was written, as the ledger has an answer to a later question: the Catalog is to be asked again.
    Superseded,
    /// The Catalog could not say.
    Unknown(Unknown),
}

impl Outcome {
    /// The word for logs, metrics and the eye.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Cleared => "cleared",
            Self::NoPage => "no_page",
            Self::Refused(_) => "refused",
            Self::NotListed => "not_listed",
            Self::NoOverview => "no_overview",
            Self::Rejected(_) => "rejected",
            Self::Superseded => "superseded",
            Self::Unknown(_) => "unknown",
        }
    }
}
