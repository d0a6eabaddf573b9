//! Whether a database that answers refuses to write: no right, a server that only reads, a full disk.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

use super::StoreError;
use crate::clock;
use crate::telemetry::report;

/// A database that reads, and does not write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOnly {
    /// Since when this is known.
    pub since: DateTime<Utc>,
    /// Why, and where it can be said, what to do.
    pub why: String,
}

/// Whether the database writes, as far as is known; shared by the clones of a store.
#[derive(Debug, Clone)]
pub struct Writes(Arc<watch::Sender<Known>>);

/// What is known, each until the opposite is.
#[derive(Debug, Default)]
pub struct Known {
    /// By a statement that was refused, or by a look at the rights.
    refused: Option<ReadOnly>,
    /// By a COMMIT that failed. No look finds that, as what is looked at need not be what fails.
    uncommitted: Option<ReadOnly>,
}

impl Default for Writes {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(Known::default())))
    }
}

impl Writes {
    /// Why it does not, if it does not.
    pub fn read_only(&self) -> Option<ReadOnly> {
        let known = self.0.borrow();
        known.refused.as_ref().or(known.uncommitted.as_ref()).cloned()
    }

    /// Returns at the next change, and at once for one that the receiver has not seen.
    pub fn watch(&self) -> watch::Receiver<Known> {
        self.0.subscribe()
    }

    /// Notes a statement that was refused, or a COMMIT that failed; what is known already stays.
    pub(super) fn note(&self, error: &StoreError) {
        let refused = || Some(ReadOnly { since: clock::now(), why: report(error) });
        let note = |known: &mut Option<ReadOnly>| {
            let is_new = known.is_none();
            if is_new {
                *known = refused();
            }
            is_new
        };
        if error.refusal().is_some() {
            self.0.send_if_modified(|known| note(&mut known.refused));
        } else if error.is_failed_commit() {
            self.0.send_if_modified(|known| note(&mut known.uncommitted));
        }
    }

    /// Notes that links or answers were committed.
    pub(super) fn committed(&self) {
        self.0.send_if_modified(|known| known.uncommitted.take().is_some());
    }

    /// Notes what a look at the rights came to: none, that it writes; else why not.
    pub(super) fn set(&self, why: Option<String>) {
        self.0.send_if_modified(|known| {
            let is_new = known.refused.as_ref().map(|refused| &refused.why) != why.as_ref();
            if is_new {
                let since = known.refused.take().map_or_else(clock::now, |refused| refused.since);
                known.refused = why.map(|why| ReadOnly { since, why });
            }
            is_new
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays_until_a_look_finds_another_or_none() {
        let writes = Writes::default();
        writes.set(Some("no right".to_owned()));
        let first = writes.read_only().unwrap();
        writes.set(Some("read-only".to_owned()));
        let second = writes.read_only().unwrap();
        assert_eq!((second.why.as_str(), second.since), ("read-only", first.since));
        writes.set(None);
        assert_eq!(writes.read_only(), None);
    }
}
