//! What is asked: request targets, encoded as the Catalog needs them and no longer than its server takes.
//!
//! A raw `+` in a query is read as a blank and matches nothing, with a clean 200; so keys are encoded wholly.
//! `page_size` is ignored without `page`; so this asks by `limit` and `offset`, which are never ignored.

use url::Url;

use crate::also::AlsoColumn;
use crate::course_key::RunKey;

const PATH: &str = "/api/v1/course_runs/";
/// Stable values (`utm_source` would be whoever filled the server's cache), and 7 % of the bytes.
const ALWAYS: &str = "exclude_utm=1&fields=key,marketing_url";
/// Case-blind matching may bring runs that were not asked for.
const SLACK: usize = 20;
/// `keys=`, `&limit=` and `&offset=` with the longest numbers that go into them, and `&`.
const AROUND: usize = "keys=&limit=100000&offset=1000000&".len();

/// One request.
#[derive(Debug)]
pub(super) struct Target {
    /// Where it goes.
    pub(super) url: Url,
    /// Rows asked for; an answer with more is of no use.
    pub(super) rows: usize,
}

/// Where the list of runs is.
#[derive(Debug, Clone)]
pub(super) struct Targets {
    list: Url,
    always: String,
    budget: usize,
}

impl Targets {
    /// `root` as configured; a path in it is kept, with or without a slash at its end. What stands in `also` is
    /// asked for too.
    pub(super) fn new(root: &Url, max_url_bytes: usize, also: &[AlsoColumn]) -> Self {
        let mut list = root.clone();
        list.set_path(&format!("{}{PATH}", root.path().trim_end_matches('/')));
        list.set_query(None);
        list.set_fragment(None);
        let fields = also.iter().map(|column| format!(",{}", column.field()));
        let always = ALWAYS.to_owned() + &fields.collect::<String>();
        let around = list.path().len() + "?".len() + AROUND + always.len();
        Self { list, always, budget: max_url_bytes.saturating_sub(around) }
    }

    /// Bytes that the value of `keys=` may take.
    pub(super) fn key_budget(&self) -> usize {
        self.budget
    }

    /// One stretch of the whole list. A limit of 0 would mean 20 to the Catalog; it is taken as 1.
    pub(super) fn page(&self, offset: u64, limit: u32) -> Target {
        let rows = limit.max(1) as usize;
        self.with_query(&format!("limit={rows}&offset={offset}&{}", self.always), rows)
    }

    /// These runs, from `offset` of the answer on. None for no keys: an empty `keys=` means every run there is.
    pub(super) fn keys(&self, keys: &[RunKey], offset: u64) -> Option<Target> {
        if keys.is_empty() {
            return None;
        }
        let list = keys.iter().map(|key| encode(key.as_str())).collect::<Vec<_>>().join(",");
        let offset = if offset == 0 { String::new() } else { format!("&offset={offset}") };
        let rows = keys.len() + SLACK;
        Some(self.with_query(&format!("keys={list}&limit={rows}{offset}&{}", self.always), rows))
    }

    fn with_query(&self, query: &str, rows: usize) -> Target {
        let mut url = self.list.clone();
        url.set_query(Some(query));
        Target { url, rows }
    }
}

/// Bytes that a key takes in `keys=`: percent-encoded, with its comma.
pub fn key_cost(key: &RunKey) -> usize {
    key.as_str().bytes().map(|byte| if is_plain(byte) { 1 } else { 3 }).sum::<usize>() + 1
}

/// How many of the first keys go into one request: as many as cost at most `budget`, and always at least one.
pub(super) fn fitting<'a>(keys: impl Iterator<Item = &'a RunKey>, budget: usize) -> usize {
    let mut cost = 0;
    let fit = keys.take_while(|key| {
        cost += key_cost(key);
        cost <= budget
    });
    fit.count().max(1)
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b':')
}

fn encode(key: &str) -> String {
    let mut text = String::with_capacity(key.len() + 8);
    for byte in key.bytes() {
        if is_plain(byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course_key::CourseKey;
    use proptest::prelude::*;

    fn key(text: &str) -> RunKey {
        CourseKey::parse(text).unwrap().run_key()
    }

    fn targets(root: &str, max: usize) -> Targets {
        Targets::new(&Url::parse(root).unwrap(), max, &[])
    }

    fn target(target: &Target) -> String {
        let url = &target.url;
        url.as_str()[url.origin().ascii_serialization().len()..].to_owned()
    }

    #[test]
    fn keys_are_encoded_so_that_a_plus_stays_a_plus() {
        let url =
            targets("http://c.example", 1300).keys(&[key("course-v1:A+B+C"), key("ÉX/C%C/1")], 0).unwrap();
        assert_eq!(
            target(&url),
            "/api/v1/course_runs/?keys=course-v1:A%2BB%2BC,%C3%89X%2FC%25C%2F1\
             &limit=22&exclude_utm=1&fields=key,marketing_url"
        );
    }

    #[test]
    fn the_path_of_the_root_is_kept() {
        for root in ["http://c.example/sub", "http://c.example/sub/", "http://c.example/sub?x#y"] {
            let url = targets(root, 1300).page(40, 20);
            assert_eq!(
                target(&url),
                "/sub/api/v1/course_runs/?limit=20&offset=40&exclude_utm=1&fields=key,marketing_url"
            );
        }
    }

    #[test]
    fn what_the_catalog_would_misread_is_never_asked() {
        let targets = targets("http://c.example", 1300);
        assert!(targets.keys(&[], 0).is_none(), "empty keys= means all runs");
        assert!(target(&targets.page(0, 0)).contains("limit=1&"), "limit=0 means 20");
    }

    #[test]
    fn more_fields_are_asked_for_only_where_they_are_configured_and_leave_less_room() {
        let root = Url::parse("http://c.example").unwrap();
        let (off, on) = (Targets::new(&root, 1300, &[]), Targets::new(&root, 1300, &AlsoColumn::ALL));
        let fields =
            |targets: &Targets| target(&targets.page(0, 1)).rsplit_once("&fields=").unwrap().1.to_owned();
        assert_eq!(fields(&off), "key,marketing_url");
        assert_eq!(fields(&on), "key,marketing_url,eligible_for_financial_aid,content_language");
        assert_eq!(off.key_budget() - on.key_budget(), ",eligible_for_financial_aid,content_language".len());
    }

    #[test]
    fn a_usual_batch_has_some_thirty_keys() {
        let keys: Vec<_> = (0..100).map(|n| key(&format!("course-v1:AcmeX+CS{n:03}+2026_T1"))).collect();
        assert_eq!(fitting(keys.iter(), targets("http://127.0.0.1:18381", 1300).key_budget()), 35);
    }

    proptest! {
        #[test]
        fn batches_hold_every_key_once_and_keep_to_the_limit(
            names in proptest::collection::vec("[a-zA-Zé本_.~-]{1,40}", 1..80), max in 300usize..5000,
        ) {
            let keys: Vec<_> = names.iter().map(|name| key(&format!("course-v1:o+{name}+r"))).collect();
            let targets = targets("http://c.example/some/path", max);
            let (mut rest, mut seen) = (&keys[..], Vec::new());
            while !rest.is_empty() {
                let (batch, after) = rest.split_at(fitting(rest.iter(), targets.key_budget()));
                let url = targets.keys(batch, 999_999).unwrap();
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
