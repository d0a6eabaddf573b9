//! Looks runs up by key. Every run gets an observation, whatever happens.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::course_key::RunKey;
use crate::model::marketing_url::UrlPolicy;

use super::Purpose;
use super::batches::{Batches, Lost};
use super::matching::observe;
use super::observation::{Observation, Unknown};
use super::request::{Answered, Requests};
use super::url::Urls;
use super::wire::List;

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
        match requests.ask(&urls.keys(&batch.keys), batch.kind, purpose).await {
            Ok(Answered { list, .. }) => {
                batches.succeeded(&batch);
                log_ignored_values(&list);
                observations.extend(observe(&list, &batch.keys, policy));
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

fn log_ignored_values(list: &List) {
    for row in &list.rows {
        for column in &row.odd {
            tracing::warn!(
                event = "catalog.odd_value",
                course = row.key.as_deref().unwrap_or_default(),
                field = column.field(),
                "the value in the Catalog is not valid and is ignored; the overview keeps its own"
            );
        }
    }
}
