//! The URLs of requests, encoded as the Catalog needs them and no longer than its server accepts.
//!
//! The Catalog reads a raw `+` in a query as a blank, matches nothing and answers 200; so keys are fully encoded. It
//! ignores `page_size` without `page`; so this uses `limit` and `offset`, which it never ignores.

use chrono::{DateTime, SecondsFormat, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use url::Url;

use crate::model::course_key::RunKey;
use crate::model::extra_columns::AlsoColumn;

const PATH: &str = "/api/v1/course_runs/";
const COURSES: &str = "/api/v1/courses/";
/// Of each course, with its hidden runs, of which the LMS has overviews. The Catalog gives the runs in a course with these
/// fields only too, so of a run the key.
const OF_COURSES: &str =
    "exclude_utm=1&include_hidden_course_runs=1&fields=key,course_runs,data_modified_timestamp";
/// URLs without `utm_source`, which depends on the server's cache; and only these fields, which are 7 % of the bytes.
const ALWAYS: &str = "exclude_utm=1&fields=key,marketing_url";
/// Rows for runs that were not asked for, as the Catalog ignores case.
const SLACK: usize = 20;
/// The rest of the query, with the longest numbers that it may have.
const AROUND: usize = "keys=&limit=100000&&pass=00000000".len();

/// All but letters, digits and these.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':');

/// The URL of one request.
#[derive(Debug)]
pub(super) struct Target {
    /// The URL.
    pub(super) url: Url,
    /// Rows asked for; an answer with more is refused.
    pub(super) rows: usize,
}

/// Makes the URLs of the list of runs.
#[derive(Debug, Clone)]
pub(super) struct Urls {
    list: Url,
    courses: Url,
    always: String,
    /// Empty, or a parameter that makes the URLs new to the Catalog.
    unique: String,
    budget: usize,
}

impl Urls {
    /// `root` as configured; its path is kept, with or without a slash at the end. The columns of `also` are asked for
    /// too.
    pub(super) fn new(root: &Url, max_url_bytes: usize, also: &[AlsoColumn]) -> Self {
        let (list, courses) = (below(root, PATH), below(root, COURSES));
        let fields = also.iter().map(|column| format!(",{}", column.field()));
        let always = ALWAYS.to_owned() + &fields.collect::<String>();
        let around = list.path().len() + "?".len() + AROUND + always.len();
        let budget = max_url_bytes.saturating_sub(around);
        Self { list, courses, always, unique: String::new(), budget }
    }

    /// The same with a parameter that the Catalog ignores. It keeps whole answers by URL: under a new one it looks at its
    /// database.
    pub(super) fn past_cache(&self, unique: u32) -> Self {
        Self { unique: format!("&pass={unique:08x}"), ..self.clone() }
    }

    /// The bytes that the value of `keys=` may take.
    pub(super) fn key_budget(&self) -> usize {
        self.budget
    }

    /// One page of the whole list. The Catalog takes a limit of 0 for 20; here it means 1.
    pub(super) fn page(&self, offset: u64, limit: u32) -> Target {
        let rows = limit.max(1) as usize;
        let query = format!("limit={rows}&offset={offset}&{}{}", self.always, self.unique);
        with_query(&self.list, &query, rows)
    }

    /// These runs, at least one: an empty `keys=` means all runs. With some rows more, as the Catalog ignores case.
    pub(super) fn keys(&self, keys: &[RunKey]) -> Target {
        debug_assert!(!keys.is_empty());
        let list = keys.iter().map(|key| encoded(key.as_str()).to_string()).collect::<Vec<_>>().join(",");
        let rows = keys.len() + SLACK;
        let query = format!("keys={list}&limit={rows}&{}{}", self.always, self.unique);
        with_query(&self.list, &query, rows)
    }

    /// The courses that changed at `since` or later, `limit` of them from `offset` on. Always with a time: an empty one
    /// filters nothing.
    pub(super) fn changed_since(&self, since: DateTime<Utc>, offset: usize, limit: usize) -> Target {
        let since = since.to_rfc3339_opts(SecondsFormat::Micros, true);
        let query = format!("limit={limit}&offset={offset}&{OF_COURSES}{}&timestamp={since}", self.unique);
        with_query(&self.courses, &query, limit)
    }
}

fn below(root: &Url, path: &str) -> Url {
    let mut url = root.clone();
    url.set_path(&format!("{}{path}", root.path().trim_end_matches('/')));
    url.set_query(None);
    url.set_fragment(None);
    url
}

fn with_query(list: &Url, query: &str, rows: usize) -> Target {
    let mut url = list.clone();
    url.set_query(Some(query));
    Target { url, rows }
}

/// The bytes that a key takes in `keys=`: percent-encoded, with its comma.
pub(crate) fn key_cost(key: &RunKey) -> usize {
    encoded(key.as_str()).map(str::len).sum::<usize>() + 1
}

/// How many of the first keys fit into `budget` bytes; at least one.
pub(super) fn fitting<'a>(keys: impl Iterator<Item = &'a RunKey>, budget: usize) -> usize {
    let mut cost = 0;
    let fit = keys.take_while(|key| {
        cost += key_cost(key);
        cost <= budget
    });
    fit.count().max(1)
}

/// Percent-encoded, in pieces.
fn encoded(key: &str) -> PercentEncode<'_> {
    utf8_percent_encode(key, ENCODED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::course_key::CourseKey;
    use proptest::prelude::*;

    fn key(text: &str) -> RunKey {
        CourseKey::parse(text).unwrap().run_key()
    }

    fn urls(root: &str, max: usize) -> Urls {
        Urls::new(&Url::parse(root).unwrap(), max, &[])
    }

    fn target(target: &Target) -> String {
        let url = &target.url;
        url.as_str()[url.origin().ascii_serialization().len()..].to_owned()
    }

    #[test]
    fn keys_are_encoded_so_that_a_plus_stays_a_plus() {
        let url = urls("http://c.example", 1300).keys(&[key("course-v1:A+B+C"), key("ÉX/C%C/1")]);
        assert_eq!(
            target(&url),
            "/api/v1/course_runs/?keys=course-v1:A%2BB%2BC,%C3%89X%2FC%25C%2F1\
             &limit=22&exclude_utm=1&fields=key,marketing_url"
        );
    }

    #[test]
    fn the_path_of_the_root_is_kept() {
        for root in ["http://c.example/sub", "http://c.example/sub/", "http://c.example/sub?x#y"] {
            let url = urls(root, 1300).page(40, 20);
            assert_eq!(
                target(&url),
                "/sub/api/v1/course_runs/?limit=20&offset=40&exclude_utm=1&fields=key,marketing_url"
            );
        }
    }

    #[test]
    fn a_time_is_in_a_form_that_the_catalog_takes() {
        let since = "2026-11-24T16:45:54.303022Z".parse().unwrap();
        assert_eq!(
            target(&urls("http://c.example/sub", 1300).past_cache(7).changed_since(since, 2000, 1000)),
            "/sub/api/v1/courses/?limit=1000&offset=2000&exclude_utm=1&include_hidden_course_runs=1\
             &fields=key,course_runs,data_modified_timestamp&pass=00000007&timestamp=2026-11-24T16:45:54.303022Z"
        );
    }

    #[test]
    fn what_the_catalog_misreads_is_never_asked() {
        let urls = urls("http://c.example", 1300);
        assert!(target(&urls.page(0, 0)).contains("limit=1&"), "limit=0 means 20");
    }

    #[test]
    fn more_fields_are_asked_for_only_where_they_are_configured_and_leave_less_room() {
        let root = Url::parse("http://c.example").unwrap();
        let (off, on) = (Urls::new(&root, 1300, &[]), Urls::new(&root, 1300, &AlsoColumn::ALL));
        let fields = |urls: &Urls| target(&urls.page(0, 1)).rsplit_once("&fields=").unwrap().1.to_owned();
        assert_eq!(fields(&off), "key,marketing_url");
        assert_eq!(fields(&on), "key,marketing_url,eligible_for_financial_aid,content_language");
        assert_eq!(off.key_budget() - on.key_budget(), ",eligible_for_financial_aid,content_language".len());
    }

    #[test]
    fn a_usual_batch_has_some_thirty_keys() {
        let keys: Vec<_> = (0..100).map(|n| key(&format!("course-v1:AcmeX+CS{n:03}+2026_T1"))).collect();
        assert_eq!(fitting(keys.iter(), urls("http://127.0.0.1:18381", 1300).key_budget()), 35);
    }

    proptest! {
        #[test]
        fn batches_hold_every_key_once_and_keep_to_the_limit(
            names in proptest::collection::vec("[a-zA-Zé本_.~-]{1,40}", 1..80), max in 300usize..5000,
        ) {
            let keys: Vec<_> = names.iter().map(|name| key(&format!("course-v1:o+{name}+r"))).collect();
            let urls = urls("http://c.example/some/path", max);
            let (mut rest, mut seen) = (&keys[..], Vec::new());
            while !rest.is_empty() {
                let (batch, after) = rest.split_at(fitting(rest.iter(), urls.key_budget()));
                let url = urls.keys(batch);
                prop_assert!(batch.len() == 1 || target(&url).len() <= max);
                let keys_value = url.url.query().unwrap().strip_prefix("keys=").unwrap().split('&').next().unwrap();
                prop_assert_eq!(keys_value.len() + 1, batch.iter().map(key_cost).sum::<usize>());
                let read: Vec<_> = url.url.query_pairs().find(|(name, _)| name == "keys").unwrap().1
                    .split(',').map(str::to_owned).collect();
                prop_assert_eq!(&read, &batch.iter().map(ToString::to_string).collect::<Vec<_>>());
                seen.extend_from_slice(batch);
                rest = after;
            }
            prop_assert_eq!(seen, keys);
        }
    }
}
