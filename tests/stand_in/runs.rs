//! What is listed: a few recorded or put runs, or a million made-up ones that cost eight bytes each until served.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering as AtomicOrdering};

use serde_json::Value;

/// Whether a run can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    #[default]
    Sound,
    /// Its key is no valid opaque key: a 500 for its page, but not with `fields=key,marketing_url`.
    BadKey,
    /// It has no run type: a 500 for its page whenever `marketing_url` is served.
    NoType,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub key: String,
    /// Without anyone's `utm_…`.
    pub url: Option<String>,
    pub health: Health,
    /// As it stands in the answer; anything goes, as an odd Catalog may say anything.
    pub financial_aid: Value,
    /// Likewise.
    pub language: Value,
    /// It is in the list of runs, and not among the runs of its course.
    pub hidden: bool,
}

/// All runs, in the order in which they are listed: that of the database's collation, without case or accents.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    order: Vec<Entry>,
    /// Behind the URL of every made-up run.
    edition: String,
    /// Another number after each save that empties the page cache.
    saved: Saved,
}

#[derive(Debug, Clone, Copy)]
struct Saved(u64);

impl Default for Saved {
    fn default() -> Self {
        Self(unique())
    }
}

/// A number that this process has not used before.
pub(super) fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, AtomicOrdering::Relaxed)
}

#[derive(Debug, Clone)]
enum Entry {
    Made(u32),
    Stored(Box<Run>),
}

impl Run {
    pub fn new(key: &str, url: Option<&str>) -> Self {
        let (financial_aid, language) = (Value::Bool(true), Value::from("en-us"));
        Self {
            key: key.to_owned(),
            url: url.map(str::to_owned),
            health: Health::Sound,
            financial_aid,
            language,
            hidden: false,
        }
    }

    fn made(number: u32, edition: &str) -> Self {
        let url = format!("https://www.campus.example/course/orgx-c{number:07}{edition}");
        Self::new(&made_key(number), Some(&url))
    }
}

fn made_key(number: u32) -> String {
    format!("course-v1:OrgX+C{number:07}+2026_T1")
}

impl Entry {
    fn key(&self) -> Cow<'_, str> {
        match self {
            Self::Made(number) => made_key(*number).into(),
            Self::Stored(run) => run.key.as_str().into(),
        }
    }
}

#[derive(serde::Deserialize)]
struct List {
    results: Vec<Row>,
}

#[derive(serde::Deserialize)]
struct Row {
    key: String,
    marketing_url: Option<String>,
    #[serde(default)]
    eligible_for_financial_aid: Value,
    #[serde(default)]
    content_language: Value,
}

impl Runs {
    /// The 241 runs of the recorded list.
    pub fn recorded() -> Self {
        let mut runs = Self::from_list(include_str!("../fixtures/catalog/list-limit1000-fields.json"))
            .expect("the recorded list is one");
        // That list was asked for two fields only; these, of the same runs, for all.
        for page in [
            include_str!("../fixtures/catalog/list-page1-size100.json"),
            include_str!("../fixtures/catalog/list-page2-size100.json"),
            include_str!("../fixtures/catalog/list-page3-size100.json"),
        ] {
            let page: List = serde_json::from_str(page).expect("the recorded page is one");
            for row in page.results {
                let (financial_aid, language) = (row.eligible_for_financial_aid, row.content_language);
                let places = runs.matching(&row.key);
                let run = places.filter_map(|place| runs.at(place)).find(|run| run.key == row.key);
                runs.put(Run { financial_aid, language, ..run.expect("one list, twice") });
            }
        }
        runs
    }

    /// So many made-up ones, at most ten million: `course-v1:OrgX+C0000000+2026_T1` and on.
    pub fn generated(count: u32) -> Self {
        let order = (0..count.min(10_000_000)).map(Entry::Made).collect();
        Self { order, ..Self::default() }
    }

    /// The same runs, the made-up ones with URLs that end so.
    pub fn of_edition(self, edition: &str) -> Self {
        Self { edition: edition.to_owned(), order: self.order, saved: Saved::default() }
    }

    /// From an answer of the list, recorded with `exclude_utm=1`.
    pub fn from_list(json: &str) -> Result<Self, serde_json::Error> {
        let list: List = serde_json::from_str(json)?;
        let mut runs = Self::default();
        for row in list.results {
            runs.put(Run::new(&row.key, row.marketing_url.as_deref()));
        }
        Ok(runs)
    }

    pub fn count(&self) -> usize {
        self.order.len()
    }

    /// All keys in their order; for tests with few runs.
    pub fn keys(&self) -> Vec<String> {
        self.order.iter().map(|entry| entry.key().into_owned()).collect()
    }

    /// The run at a place of the order.
    pub fn at(&self, place: usize) -> Option<Run> {
        self.order.get(place).map(|entry| match entry {
            Entry::Made(number) => Run::made(*number, &self.edition),
            Entry::Stored(run) => (**run).clone(),
        })
    }

    /// The places of all runs that the database takes for this key.
    pub fn matching(&self, key: &str) -> Range<usize> {
        let order = |entry: &Entry| fold(&entry.key()).cmp(fold(key));
        let from = self.order.partition_point(|entry| order(entry).is_lt());
        let mut to = from;
        while self.order.get(to).is_some_and(|entry| order(entry).is_eq()) {
            to += 1;
        }
        from..to
    }

    /// Those whose key starts so, but for case and accents, in their order.
    pub(super) fn starting_with(&self, start: &str) -> Vec<Run> {
        let from = self.order.partition_point(|entry| fold(&entry.key()).lt(fold(start)));
        let runs = (from..self.order.len()).filter_map(|place| self.at(place));
        let starts = |run: &Run| {
            let mut key = fold(&run.key);
            fold(start).all(|c| key.next() == Some(c))
        };
        runs.take_while(starts).collect()
    }

    pub(super) fn saved(&self) -> u64 {
        self.saved.0
    }

    /// Adds a run, or replaces the one of exactly this key.
    pub fn put(&mut self, run: Run) {
        self.update(run);
        self.saved = Saved::default();
    }

    /// The same without a signal, which leaves old pages in the cache.
    pub fn update(&mut self, run: Run) {
        let place = self.order.binary_search_by(|entry| compare(&entry.key(), &run.key));
        let entry = Entry::Stored(Box::new(run));
        match place {
            Ok(place) => self.order[place] = entry,
            Err(place) => self.order.insert(place, entry),
        }
    }

    /// Takes the run of exactly this key away.
    pub fn remove(&mut self, key: &str) -> bool {
        let place = self.order.binary_search_by(|entry| compare(&entry.key(), key));
        place.is_ok_and(|place| {
            self.order.remove(place);
            self.saved = Saved::default();
            true
        })
    }

    /// Takes the first run away.
    pub fn remove_first(&mut self) {
        if !self.order.is_empty() {
            self.order.remove(0);
            self.saved = Saved::default();
        }
    }
}

fn compare(one: &str, other: &str) -> Ordering {
    fold(one).cmp(fold(other)).then_with(|| one.cmp(other))
}

/// Without case, and without the accents of the Latin letters in use; near enough to utf8mb4_unicode_ci.
/// Letter by letter, so that a look for a key among a million makes no text of each that it passes.
pub(super) fn fold(key: &str) -> impl Iterator<Item = char> {
    key.chars().flat_map(lower).map(without_accent)
}

fn lower(c: char) -> impl Iterator<Item = char> {
    let (ascii, other) = if c.is_ascii() { (Some(c.to_ascii_lowercase()), None) } else { (None, Some(c)) };
    ascii.into_iter().chain(other.into_iter().flat_map(char::to_lowercase))
}

fn without_accent(c: char) -> char {
    match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è'..='ë' | 'ē' | 'ę' | 'ě' => 'e',
        'ì'..='ï' | 'ī' => 'i',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ō' | 'ő' => 'o',
        'ś' | 'š' => 's',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        other => other,
    }
}
