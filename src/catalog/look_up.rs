//! Looks runs up by key. Every run gets an observation, whatever happens.
//!
//! Two failures may lie in the keys: a URL too long for the Catalog's server (a 400, or no answer), and a broken row,
//! which makes a 500 of each answer that it is in. Halving finds both. A Catalog that is down may answer 500 to
//! everything, and must not be asked for each run. So halving ends when as many requests in a row have failed as it takes
//! to get from a batch to a single run. To give up when both halves fail would be too early: a pass asks by key for what
//! its pages could not show, so several broken rows in one batch are normal.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Purpose;
use super::client::Client;
use super::error::{CatalogError, Defect};
use super::observation::{Observation, Unknown};
use super::retry_policy::Kind;
use super::url::{fitting, key_cost};
use super::wire::{ListedRun, Page};
use crate::model::course_key::{CourseKey, RunKey};
use crate::model::extra_columns::Also;

impl Client {
    /// What the Catalog says about each of these runs; every key has an entry. Sends as few requests as
    /// `catalog.max_url_bytes` allows, one after another: the Catalog does not answer faster when it gets several at once.
    pub async fn look_up(&self, keys: &[RunKey], purpose: Purpose) -> HashMap<RunKey, Observation> {
        let mut seen = HashSet::with_capacity(keys.len());
        let distinct: Vec<RunKey> = keys.iter().filter(|key| seen.insert(*key)).cloned().collect();
        let mut observations = HashMap::with_capacity(distinct.len());
        let mut batches = Batches::new(distinct, self.urls.key_budget());
        while let Some(batch) = batches.next() {
            match self.requests.ask(&self.urls.keys(&batch.keys), batch.kind, purpose).await {
                Ok(page) => {
                    batches.succeeded(&batch);
                    log_ignored_values(&page);
                    observations.extend(observe(page, &batch.keys));
                }
                Err(error) => {
                    let (lost, is_broken) = batches.failed(batch, &error);
                    if lost.is_empty() {
                        tracing::debug!(error = %error, "a batch of runs failed; its halves are asked for next");
                    }
                    let error = Arc::new(error);
                    let why = if is_broken { Unknown::Broken(error) } else { Unknown::Failed(error) };
                    observations.extend(lost.into_iter().map(|key| (key, Observation::Unknown(why.clone()))));
                }
            }
        }
        observations
    }
}

fn log_ignored_values(page: &Page) {
    for run in &page.rows {
        for column in &run.odd {
            tracing::warn!(
                event = "catalog.odd_value",
                course = run.key.as_ref().map_or("", CourseKey::as_str),
                field = column.field(),
                "the value in the Catalog is not valid and is ignored; the overview keeps its own"
            );
        }
    }
}

/// One observation for each of `keys`. The Catalog ignores case and accents; here only the exact text matches. A run counts
/// as not listed only where the answer was complete.
pub(super) fn observe(page: Page, keys: &[RunKey]) -> HashMap<RunKey, Observation> {
    // Only where every matching run is among the rows a run without a row is not listed.
    let is_complete =
        !page.has_next && page.count == page.rows.len() as u64 && page.rows.iter().all(ListedRun::is_named);
    let mut listed: HashMap<RunKey, Observation> = HashMap::with_capacity(page.rows.len());
    for ListedRun { key, observation, .. } in page.rows {
        let Ok(run) = key.map(|key| key.own_key()) else { continue };
        let observation = match listed.remove(&run) {
            Some(other) => of_both(other, observation),
            None => observation,
        };
        listed.insert(run, observation);
    }
    let observe = |key: &RunKey| match listed.get(key) {
        Some(observation) => observation.clone(),
        None if is_complete => Observation::NotListed,
        None => {
            let why = "it is incomplete, and this run is not in the part that came";
            Observation::Unknown(CatalogError::Unreadable(Defect::Odd(why.to_owned())).into())
        }
    };
    keys.iter().map(|key| (key.clone(), observe(key))).collect()
}

/// What two rows say about one run. With different URLs it is unknown.
fn of_both(one: Observation, two: Observation) -> Observation {
    let same = |one: Also, two: Also| if one == two { one } else { Also::NOTHING };
    match (one, two) {
        (Observation::Url(url, one), Observation::Url(other, two)) if url == other => {
            Observation::Url(url, same(one, two))
        }
        (Observation::NoUrl(one), Observation::NoUrl(two)) => Observation::NoUrl(same(one, two)),
        (Observation::Refused(one), Observation::Refused(two)) if one == two => Observation::Refused(one),
        _ => Observation::Unknown(Unknown::Row("it is listed twice, with different URLs")),
    }
}

/// The runs that are still to be asked for.
#[derive(Debug)]
struct Batches {
    rest: Vec<RunKey>,
    parts: Vec<Batch>,
    budget: usize,
    failed_in_a_row: u32,
    patience: u32,
}

/// The keys of one request, at least one.
#[derive(Debug)]
struct Batch {
    /// The runs.
    keys: Vec<RunKey>,
    /// What a failure may mean.
    kind: Kind,
    shortened: bool,
}

impl Batches {
    /// `keys` without duplicates; `budget` in bytes of `keys=`.
    fn new(mut keys: Vec<RunKey>, budget: usize) -> Self {
        keys.reverse();
        Self { rest: keys, parts: Vec::new(), budget, failed_in_a_row: 0, patience: 0 }
    }

    /// The next request.
    fn next(&mut self) -> Option<Batch> {
        if let Some(part) = self.parts.pop() {
            return Some(part);
        }
        if self.rest.is_empty() {
            return None;
        }
        // The rest is stored in reverse, as taking from the end is cheap.
        let count = fitting(self.rest.iter().rev(), self.budget);
        let mut keys = self.rest.split_off(self.rest.len() - count);
        keys.reverse();
        self.patience = self.patience.max(keys.len().ilog2() + 3);
        let kind = if count == 1 { Kind::One } else { Kind::Batch };
        Some(Batch { keys, kind, shortened: false })
    }

    /// A request was answered.
    fn succeeded(&mut self, batch: &Batch) {
        self.failed_in_a_row = 0;
        if batch.shortened {
            // The server accepts no longer URL: later batches get the length that worked.
            self.budget = self.budget.min(batch.keys.iter().map(key_cost).sum());
        }
    }

    /// A request failed for good. Returns the runs that this leaves unknown, and whether it is one that was asked for
    /// alone; else it is all without an answer so far. Runs that are not lost come again in [`Self::next`].
    fn failed(&mut self, mut batch: Batch, error: &CatalogError) -> (Vec<RunKey>, bool) {
        self.failed_in_a_row += 1;
        let closed = matches!(error, CatalogError::Unreachable { closed: true, .. });
        let too_long = closed || matches!(error, CatalogError::Status { code: 400 | 414, .. });
        // One broken row causes a plain 500.
        let in_the_keys = too_long || matches!(error, CatalogError::Status { code: 500, .. });
        if !in_the_keys || self.failed_in_a_row > self.patience || (closed && batch.keys.len() == 1) {
            let mut lost = batch.keys;
            lost.extend(self.parts.drain(..).rev().flat_map(|part| part.keys));
            lost.extend(self.rest.drain(..).rev());
            return (lost, false);
        }
        if batch.keys.len() == 1 {
            return (batch.keys, true);
        }
        let shortened = too_long || batch.shortened;
        let second = batch.keys.split_off(batch.keys.len() / 2);
        for keys in [second, batch.keys] {
            // If a single run gets no answer either, the Catalog gives none: that counts, and is retried.
            let kind = if closed && keys.len() == 1 { Kind::One } else { Kind::Part };
            self.parts.push(Batch { keys, kind, shortened });
        }
        (Vec::new(), false)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::marketing_url::UrlPolicy;

    fn keys(count: usize) -> Vec<RunKey> {
        (0..count).map(|n| CourseKey::parse(&format!("course-v1:o+c{n:04}+r")).unwrap().run_key()).collect()
    }

    fn status(code: u16) -> CatalogError {
        CatalogError::Status { code, said: String::new(), retry_after: None }
    }

    fn closed() -> CatalogError {
        CatalogError::Unreachable { closed: true, source: None }
    }

    /// Plays the Catalog; gives requests, found and lost keys.
    fn play(
        keys: Vec<RunKey>,
        budget: usize,
        answer: impl Fn(&[RunKey]) -> Option<CatalogError>,
    ) -> (usize, Vec<RunKey>, Vec<RunKey>) {
        let mut batches = Batches::new(keys, budget);
        let (mut requests, mut found, mut lost) = (0, Vec::new(), Vec::new());
        while let Some(batch) = batches.next() {
            requests += 1;
            match answer(&batch.keys) {
                None => {
                    batches.succeeded(&batch);
                    found.extend(batch.keys);
                }
                Some(error) => lost.extend(batches.failed(batch, &error).0),
            }
        }
        (requests, found, lost)
    }

    #[test]
    fn a_broken_row_is_lost_alone() {
        let all = keys(36);
        for broken in &all {
            let (requests, found, lost) =
                play(all.clone(), 1200, |asked| asked.contains(broken).then(|| status(500)));
            assert_eq!(lost, std::slice::from_ref(broken));
            assert_eq!(found.len(), 35);
            assert!(requests <= 13, "{requests}");
        }
    }

    #[test]
    fn broken_rows_in_both_halves_are_lost_alone_too() {
        let all = keys(36);
        let (_, found, lost) = play(all.clone(), 1200, |asked| {
            asked.iter().any(|k| *k == all[3] || *k == all[30]).then(|| status(500))
        });
        assert_eq!((found.len(), lost.len()), (34, 2));
    }

    #[test]
    fn a_broken_catalog_is_not_asked_for_each_run() {
        for error in [status(500), status(400)] {
            let (requests, found, lost) = play(keys(200), 900, |_| {
                Some(match &error {
                    CatalogError::Status { code, .. } => status(*code),
                    _ => closed(),
                })
            });
            assert_eq!((found.len(), lost.len()), (0, 200));
            assert!(requests <= 9, "{requests}");
        }
        for error in [status(503), status(404), CatalogError::Unauthorised { token: true }] {
            let error = std::cell::Cell::new(Some(error));
            let (requests, _, lost) = play(keys(200), 900, |_| error.take());
            assert_eq!((requests, lost.len()), (1, 200));
        }
        let (requests, _, lost) = play(keys(200), 900, |_| Some(closed()));
        assert!(requests <= 6 && lost.len() == 200, "{requests}");
    }

    #[test]
    fn a_server_with_a_shorter_limit_shows_it_once() {
        let (requests, found, lost) =
            play(keys(400), 4000, |asked| (asked.iter().map(key_cost).sum::<usize>() > 1300).then(closed));
        assert_eq!((found.len(), lost.len()), (400, 0));
        assert!(requests <= 14, "{requests}");
    }

    const URL: &str = "https://x.example/1";

    fn key(text: &str) -> RunKey {
        CourseKey::parse(text).unwrap().run_key()
    }

    fn in_language(key: &str, url: &str, language: Option<&str>) -> ListedRun {
        let also = Also { language: language.map(str::to_owned), ..Also::NOTHING };
        let url = UrlPolicy::default().accept(url).unwrap();
        ListedRun { key: CourseKey::parse(key), observation: Observation::Url(url, also), odd: Vec::new() }
    }

    fn listed(key: &str, url: &str) -> ListedRun {
        in_language(key, url, None)
    }

    fn page(count: u64, has_next: bool, rows: Vec<ListedRun>) -> Page {
        Page { count, has_next, rows, bytes: 0, elapsed: Default::default(), clock_ahead: None }
    }

    fn look(page: Page, text: &str) -> Observation {
        observe(page, &[key(text)]).remove(&key(text)).unwrap()
    }

    #[test]
    fn only_the_exact_key_counts() {
        let answer = || page(2, false, vec![listed("a/b/c", URL), listed("É/b/c", URL)]);
        assert!(matches!(look(answer(), "a/b/c"), Observation::Url(..)));
        assert!(matches!(look(answer(), "A/b/c"), Observation::NotListed));
        assert!(matches!(look(answer(), "E/b/c"), Observation::NotListed));
    }

    #[test]
    fn only_a_complete_answer_says_not_listed() {
        let one = || vec![listed("a/b/c", URL)];
        let nameless = || ListedRun { key: CourseKey::parse(""), ..listed("a/b/c", URL) };
        let odd = || ListedRun { key: CourseKey::parse("A-b"), ..listed("a/b/c", URL) };
        for page in [
            page(2, false, one()),
            page(1, true, one()),
            page(0, false, one()),
            page(1, false, vec![nameless()]),
        ] {
            assert!(matches!(look(page, "x/y/z"), Observation::Unknown(_)));
        }
        for page in [page(0, false, vec![]), page(1, false, vec![odd()])] {
            assert!(matches!(look(page, "x/y/z"), Observation::NotListed));
        }
    }

    #[test]
    fn a_run_with_two_different_urls_is_unknown() {
        let twice = |b: &str| look(page(2, false, vec![listed("a/b/c", URL), listed("a/b/c", b)]), "a/b/c");
        assert!(matches!(twice("https://x.example/2"), Observation::Unknown(_)));
        assert!(matches!(twice(URL), Observation::Url(..)));
    }

    #[test]
    fn a_run_with_two_languages_has_none_and_keeps_its_url() {
        let twice = |b: &str| {
            let rows = ["en", b].map(|language| in_language("a/b/c", URL, Some(language)));
            match look(page(2, false, rows.into()), "a/b/c") {
                Observation::Url(_, also) => also.language,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!((twice("en"), twice("fr")), (Some("en".to_owned()), None));
    }

    proptest! {
        #[test]
        fn every_key_ends_in_exactly_one_place(
            count in 0usize..120, budget in 10usize..2000, room in 20usize..3000,
            broken in proptest::collection::vec(0usize..120, 0..5), ill in any::<bool>(),
        ) {
            let all = keys(count);
            let (requests, found, lost) = play(all.clone(), budget, |asked| {
                if asked.iter().map(key_cost).sum::<usize>() > room { return Some(closed()); }
                let hit = asked.iter().any(|key| broken.iter().any(|n| all.get(*n) == Some(key)));
                (ill || hit).then(|| status(500))
            });
            let mut ended: Vec<_> = found.iter().chain(&lost).cloned().collect();
            ended.sort();
            prop_assert_eq!(ended, all);
            prop_assert!(requests <= 2 * count + 1);
        }
    }
}
