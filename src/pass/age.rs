//! How old the changes are that a pass brings. Nothing says when the Catalog's row was changed; but the pass before saw it
//! as it was, so that a change is at most as old as the start of that one.

use std::time::{Duration, Instant};

use crate::store::{PassKind, PassRow, Store, StoreError, Verdict};
use crate::telemetry::metrics;

/// How many passes are looked through for one that has seen everything.
const LOOKED_AT: u64 = 10;

/// The age, as it grows while the pass runs.
pub(super) struct ChangeAge {
    /// How long before this start the last complete pass, light or full, began. `None` if there was none, or if this one writes
    /// nothing.
    before: Option<Duration>,
    start: Instant,
}

impl ChangeAge {
    /// `row`: that of the pass which begins; none in a dry run.
    pub(super) async fn at_the_start(store: &Store, row: Option<&PassRow>) -> Result<Self, StoreError> {
        let start = Instant::now();
        let Some(row) = row else { return Ok(Self { before: None, start }) };
        let passes = store.last_passes(None, LOOKED_AT).await?;
        let last = passes.iter().find(|pass| pass.id < row.id && pass.verdict == Verdict::Complete);
        let before = match last {
            Some(last) => (store.now().await? - last.started_at).to_std().ok(),
            None => None,
        };
        Ok(Self { before, start })
    }

    /// Whether a pass before has seen everything.
    pub(super) fn has_before(&self) -> bool {
        self.before.is_some()
    }

    /// So many links have just been written.
    pub(super) fn note(&self, kind: PassKind, links: u64) {
        if let Some(before) = self.before {
            metrics::get().links_to_write(kind.as_str(), before + self.start.elapsed(), links);
        }
    }
}
