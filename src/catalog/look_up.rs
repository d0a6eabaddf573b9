//! Looks runs up by key. Every run gets an observation, whatever happens.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::course_key::RunKey;
use crate::marketing_url::UrlPolicy;

use super::Purpose;
use super::batches::{Batch, Batches, Lost};
use super::error::CatalogError;
use super::matching::Gathered;
use super::observation::{Observation, Unknown};
use super::request::Requests;
use super::url::Urls;

/// A query with more pages than this is left incomplete.
const MAX_PAGES: usize = 20;

/// Sends one request after another: the Catalog does not answer faster when it gets several at once.
pub(super) async fn look_up(
    requests: &Requests,
    urls: &Urls,
    policy: &UrlPolicy,
    keys: &[RunKey],
    purpose: Purpose,
) -> HashMap<RunKey, Observation> {
    let mut seen = HashSet::with_capacity(keys.len());
    let distinct: Vec<RunKey> = keys.iter().filter(|key| seen.insert(*key)).cloned().collect();
    let mut observations = HashMap::with_capacity(distinct.len());
    let mut batches = Batches::new(distinct, urls.key_budget());
    while let Some(batch) = batches.next() {
        match gather(requests, urls, &batch, purpose).await {
            Ok(gathered) => {
                batches.succeeded(&batch);
                observations.extend(gathered.observe(&batch.keys, policy));
            }
            Err(error) => {
                let lost = batches.failed(batch, &error);
                let error = Arc::new(error);
                let (keys, why) = match lost {
                    Lost::None => {
                        tracing::debug!(error = %error, "a batch of runs failed; its halves are asked for next");
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

/// All rows that a query matches. The Catalog also pages answers by key, and may match more runs than were asked for.
async fn gather(
    requests: &Requests,
    urls: &Urls,
    batch: &Batch,
    purpose: Purpose,
) -> Result<Gathered, CatalogError> {
    let mut gathered = Gathered::default();
    for _ in 0..MAX_PAGES {
        let Some(target) = urls.keys(&batch.keys, gathered.len()) else { break };
        let answered = requests.ask(&target, batch.kind, purpose).await?;
        for row in &answered.list.rows {
            let course = row.key.as_deref().unwrap_or_default();
            for column in &row.odd {
                tracing::warn!(
                    event = "catalog.odd_value",
                    course,
                    field = column.field(),
                    "the value in the Catalog is not valid and is ignored; the overview keeps its own"
                );
            }
        }
        if !gathered.add(answered.list) {
            break;
        }
    }
    Ok(gathered)
}
