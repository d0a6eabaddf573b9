//! Looking runs up by key: every run asked for gets an observation, whatever happens.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::course_key::RunKey;
use crate::marketing_url::UrlPolicy;

use super::Purpose;
use super::answers::Gathered;
use super::asking::Asker;
use super::batches::{Batch, Batches, Lost};
use super::error::CatalogError;
use super::observation::{Observation, Unknown};
use super::target::Targets;

/// More answers than this to one query, and it is left as not whole.
const ANSWERS: usize = 20;

/// One after another, as the Catalog answers no faster when asked for several pages at once.
pub(super) async fn look_up(
    asker: &Asker,
    targets: &Targets,
    policy: &UrlPolicy,
    keys: &[RunKey],
    purpose: Purpose,
) -> HashMap<RunKey, Observation> {
    let mut seen = HashSet::with_capacity(keys.len());
    let distinct: Vec<RunKey> = keys.iter().filter(|key| seen.insert(*key)).cloned().collect();
    let mut observations = HashMap::with_capacity(distinct.len());
    let mut batches = Batches::new(distinct, targets.key_budget());
    while let Some(batch) = batches.next() {
        match gather(asker, targets, &batch, purpose).await {
            Ok(gathered) => {
                batches.succeeded(&batch);
                observations.extend(gathered.observe(&batch.keys, policy));
            }
            Err(error) => {
                let lost = batches.failed(batch, &error);
                let error = Arc::new(error);
                let (keys, why) = match lost {
                    Lost::None => {
                        tracing::debug!(error = %error, "a batch of runs failed and is asked for in halves");
                        continue;
                    }
                    Lost::One(keys) => (keys, Unknown::broken(error)),
                    Lost::All(keys) => (keys, error.into()),
                };
                observations.extend(keys.into_iter().map(|key| (key, Observation::Unknown(why.clone()))));
            }
        }
    }
    observations
}

/// All that a query matches. The Catalog pages an answer by key like any other, and may match more runs than were
/// asked for.
async fn gather(
    asker: &Asker,
    targets: &Targets,
    batch: &Batch,
    purpose: Purpose,
) -> Result<Gathered, CatalogError> {
    let mut gathered = Gathered::default();
    for _ in 0..ANSWERS {
        let Some(target) = targets.keys(&batch.keys, gathered.len()) else { break };
        let answered = asker.ask(&target, batch.kind, purpose).await?;
        for row in &answered.list.rows {
            let course = row.key.as_deref().unwrap_or_default();
            for column in &row.odd {
                tracing::warn!(
                    event = "catalog.odd_value",
                    course,
                    field = column.field(),
                    "the Catalog's value is not usable; the overview keeps what it has"
                );
            }
        }
        if !gathered.add(answered.list) {
            break;
        }
    }
    Ok(gathered)
}
