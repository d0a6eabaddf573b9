//! Why a course's link is as it is, for the command `explain` and for the page's search: everything that is known of the
//! course, as labels and texts.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::config;
use crate::model::course_key::CourseKey;
use crate::model::extra_columns::{Also, AlsoColumn};
use crate::pass::Report;
use crate::share_link;
use crate::store::{
    Blank, Entry, Failure, LetterFilter, LetterHead, LinkChange, Overview, PassRow, Store, StoreError,
};

/// Dead letters of one course, and changes of its link, that are shown.
const SHOWN: u64 = 20;

/// A label, and a text that may contain anything: escape it before it is shown.
pub type Line = (&'static str, String);

/// Everything that is known of one course.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The course.
    pub course: CourseKey,
    /// Its overview, if the LMS has one.
    pub overview: Option<Overview>,
    /// The ledger's row that its link follows: its run's; for a custom course its parent's or its own.
    pub entry: Option<Entry>,
    /// The last look-up of its run alone that failed, if none has been answered since.
    pub failure: Option<Failure>,
    /// Since when its overview is blank and why, if it is and that has been noted.
    pub blank: Option<Blank>,
    /// The change of its run that the brake of the last pass holds back.
    pub held: Option<Held>,
    /// Its dead letters, oldest first.
    pub dead_letters: Vec<LetterHead>,
    /// The last changes of its link, newest first.
    pub history: Vec<LinkChange>,
}

/// A change that the brake of a pass holds back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The number of the pass.
    pub pass: i64,
    /// The new URL. None: the link would be cleared.
    pub to: Option<String>,
}

impl Explanation {
    /// Reads everything that is known of `course` from the database.
    pub async fn read(store: &Store, course: &CourseKey) -> Result<Self, StoreError> {
        let (courses, runs) = (std::slice::from_ref(course), [course.run_key(), course.own_key()]);
        let about = LetterFilter { course: Some(course.clone()), ..LetterFilter::default() };
        let (mut links, entries, failure, blank, last, dead_letters, history) = tokio::try_join!(
            store.links(courses),
            store.entries(&runs),
            store.failure(&runs[0]),
            store.blank(course.as_str()),
            store.last_ended(None),
            store.letters(&about, 0, SHOWN),
            store.changes(course.as_str(), SHOWN),
        )?;
        let overview = links.pop();
        // Blanks are noted every half minute; this one may have got its link since.
        let blank = blank.filter(|_| overview.as_ref().is_some_and(|row| row.marketing_url.is_none()));
        Ok(Self {
            course: course.clone(),
            overview,
            entry: Entry::choose(entries.get(&runs[0]), entries.get(&runs[1])).cloned(),
            failure,
            blank,
            held: last.and_then(|pass| held(&pass, course)),
            dead_letters,
            history,
        })
    }

    /// Everything but the history, in the order in which a person would ask.
    pub fn lines(&self, lms: &config::Lms) -> Vec<Line> {
        let mut lines = vec![("course", self.course.to_string())];
        if self.course.is_ccx() {
            let own = self.entry.as_ref().is_some_and(|entry| entry.run.is_ccx());
            let from = if own { "a listing of its own serves" } else { "its URL is taken" };
            lines.push(("parent run", format!("{}; {from}", self.course.run_key())));
        }
        match self.overview.as_ref().map(|row| share_link::of(row, lms)) {
            Some(link) => lines.push(("shared link", format!("{} ({})", link.url, link.source.as_str()))),
            None => lines.push(("shared link", "none: the LMS has no overview".to_owned())),
        }
        lines.push(("why", self.why()));
        if let Some(Blank { since, reason, .. }) = &self.blank {
            let (since, reason) = (instant(*since), reason.as_str());
            lines.push(("blank since", format!("{since} ({reason})")));
        }
        if let Some(row) = &self.overview {
            lines.push(("marketing_url", or_blank(row.marketing_url.as_deref())));
            lines.push(("social_sharing_url", or_blank(row.social_sharing_url.as_deref())));
        }
        lines.extend(self.also_lines());
        match &self.entry {
            None => lines.push(("ledger", "nothing is known of the run".to_owned())),
            Some(entry) => lines.extend(ledger_lines(entry)),
        }
        if let Some(Held { pass, to }) = &self.held {
            lines.push(("held back", format!("{} (pass {pass})", or_blank(to.as_deref()))));
        }
        if let Some(Failure { at, why }) = &self.failure {
            lines.push(("failed look-up", format!("{}: {why}", instant(*at))));
        }
        if self.dead_letters.is_empty() {
            lines.push(("dead letters", "none".to_owned()));
        }
        let letter = |l: &LetterHead| format!("{}, first seen {}: {}", l.id, instant(l.first_seen), l.reason);
        lines.extend(self.dead_letters.iter().map(|l| ("dead letter", letter(l))));
        lines
    }

    /// The history, a change a line.
    pub fn history_lines(&self) -> Vec<Line> {
        if self.history.is_empty() {
            return vec![("history", "no change of the link is noted".to_owned())];
        }
        let line = |change: &LinkChange| {
            let (at, by) = (instant(change.changed_at), change.changed_by);
            let [old, new] = [&change.old_url, &change.new_url].map(|url| or_blank(url.as_deref()));
            let trace = change.trace_id.as_ref().map_or(String::new(), |id| format!("; trace {id}"));
            ("history", format!("{at}, by {by}: {old} -> {new}{trace}"))
        };
        self.history.iter().map(line).collect()
    }

    /// The columns of `sync.also`: the value in the overview, and the value in the ledger.
    fn also_lines(&self) -> impl Iterator<Item = Line> {
        let stands = self.overview.as_ref().map_or(&Also::NOTHING, |row| &row.also);
        let known = self.entry.as_ref().map_or(&Also::NOTHING, |entry| &entry.also);
        AlsoColumn::ALL.into_iter().filter_map(move |column| {
            let line = match (stands.get(column), known.get(column)) {
                (None, None) => return None,
                (stands, _) if self.course.is_ccx() => {
                    format!("{}; a custom course has its own", or_blank(stands.as_deref()))
                }
                (stands, None) => format!("{}; the Catalog has given none", or_blank(stands.as_deref())),
                (stands, Some(known)) => format!("{}; last known {known}", or_blank(stands.as_deref())),
            };
            Some((column.name(), line))
        })
    }
}

/// The change of this course that the brake of the pass holds back, if it is among the first hundred, which the report
/// of the pass names.
fn held(pass: &PassRow, course: &CourseKey) -> Option<Held> {
    let report: Report = serde_json::from_str(&pass.report).ok()?;
    let (run, own) = (course.run_key(), course.own_key());
    let change = report.held.into_iter().find(|held| held.key == run.as_str() || held.key == own.as_str())?;
    Some(Held { pass: pass.id, to: change.to })
}

fn ledger_lines(entry: &Entry) -> Vec<Line> {
    let mut lines = vec![
        ("last URL known", or_blank(entry.url.as_deref())),
        ("in the Catalog", if entry.listed { "listed".to_owned() } else { "not listed".to_owned() }),
        ("last look", format!("{}, by {}", instant(entry.observed_at), entry.observed_by)),
    ];
    let times = [
        ("last change", entry.changed_at),
        ("no page since", entry.pending_clear_since),
        ("cleared", entry.cleared_at),
    ];
    lines.extend(times.into_iter().filter_map(|(label, time)| Some((label, instant(time?)))));
    if let Some(refused) = &entry.refused {
        lines.push(("refused URL", refused.what.url.clone()));
        lines.push(("refused because", refused.what.why.clone()));
        lines.push(("refused since", instant(refused.since)));
    }
    lines
}

fn or_blank(url: Option<&str>) -> String {
    url.unwrap_or("(blank)").to_owned()
}

/// A time as RFC 3339, to the second.
pub(super) fn instant(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
