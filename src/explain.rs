//! Why a course's link is as it is: what overview, ledger and dead letters say, and what follows; pure.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::also::{Also, AlsoColumn};
use crate::config;
use crate::course_key::CourseKey;
use crate::share_link::{self, ShareLink};
use crate::store::{Blank, Entry, Failure, LetterHead, LinkRow};

/// Everything known of one course.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The course.
    pub course: CourseKey,
    /// Its overview, if the LMS has one.
    pub overview: Option<LinkRow>,
    /// The row of the ledger that its link follows: its run's; of a custom course its parent's or its own.
    pub entry: Option<Entry>,
    /// The last look-up of its run alone that failed, if none has been answered since.
    pub failure: Option<Failure>,
    /// Since when its overview is blank and why, if it is and that has been noted.
    pub blank: Option<Blank>,
    /// The change of its run that the brake of the last pass holds back.
    pub held: Option<Held>,
    /// Its dead letters, the oldest first.
    pub dead_letters: Vec<LetterHead>,
}

/// A change that a brake holds back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The number of the pass.
    pub pass: i64,
    /// The URL; none where it would be cleared.
    pub to: Option<String>,
}

impl Explanation {
    /// The link that the LMS shares; none if it has no overview.
    pub fn share_link(&self, lms: &config::Lms) -> Option<ShareLink> {
        self.overview.as_ref().map(|row| share_link::of(row, lms))
    }

    /// What stands behind the link, in one sentence that says what happens next.
    pub fn why(&self) -> String {
        let Some(overview) = &self.overview else {
            return match &self.entry {
                Some(entry) if entry.in_force().is_some() => {
                    "the LMS has no overview of the course yet; the URL is kept and is given to it when it comes".into()
                }
                _ => "the LMS has no overview of the course".into(),
            };
        };
        let link = overview.marketing_url.as_deref();
        let Some(entry) = &self.entry else { return self.without_an_answer(link) };
        if let Some(Held { pass, to }) =
            self.held.as_ref().filter(|held| held.to.as_deref() != entry.in_force())
        {
            let change =
                to.as_deref().map_or("clearing it".to_owned(), |url| format!("changing it to {url}"));
            return format!(
                "the brake of pass {pass} holds back {change}; course-sharing reconcile --allow-mass-change lets it through"
            );
        }
        if entry.refused.is_some() {
            // The reason has a line of its own.
            return match entry.in_force() {
                Some(url) if link == Some(url) => "the Catalog now lists a URL that is refused; the last good one stays \
                                                   until the URL is corrected in the Catalog"
                    .into(),
                Some(_) => "it differs from the last good URL, which the next heal restores; the Catalog now lists one \
                            that is refused"
                    .into(),
                None => "the Catalog lists a URL that is refused; correct it in the Catalog, then run \
                         course-sharing sync"
                    .into(),
            };
        }
        match (link, entry.in_force()) {
            (Some(link), Some(url)) if link == url && entry.listed => match entry.pending_clear_since {
                Some(since) => format!(
                    "the Catalog has said since {} that there is no page; the link is cleared when it says so again",
                    instant(since)
                ),
                None => "it is what the Catalog last said".into(),
            },
            (Some(link), Some(url)) if link == url => {
                "the Catalog no longer lists the run; the last URL known is kept (reconcile.absent)".into()
            }
            (_, Some(_)) => "it differs from the last URL known, which the next heal puts back".into(),
            (Some(_), None) => "nothing known confirms the link, and nothing known says to clear it".into(),
            (None, None) if entry.cleared_at.is_some() => {
                "the Catalog said twice that the run has no page".into()
            }
            (None, None) if entry.listed => "the Catalog lists the run without a page".into(),
            (None, None) => "the Catalog does not list the run (yet)".into(),
        }
    }

    /// The sentence for a course of which the Catalog has never said anything.
    fn without_an_answer(&self, link: Option<&str>) -> String {
        if let Some(Failure { at, why }) = &self.failure {
            return format!("the Catalog was asked at {} and could not say: {why}", instant(*at));
        }
        match link {
            Some(_) => "the link was there before this program; the Catalog has not been asked yet".into(),
            None => "the Catalog has not been asked yet; the next pass will, or: course-sharing sync".into(),
        }
    }

    /// Label and text of everything, in the order in which a person would ask.
    pub fn lines(&self, lms: &config::Lms) -> Vec<(&'static str, String)> {
        let mut lines = vec![("course", self.course.to_string())];
        if self.course.is_ccx() {
            let own = self.entry.as_ref().is_some_and(|entry| entry.run.is_ccx());
            let from = if own { "a listing of its own serves" } else { "its URL is taken" };
            lines.push(("parent run", format!("{}; {from}", self.course.run_key())));
        }
        match self.share_link(lms) {
            Some(link) => lines.push(("shared link", format!("{} ({})", link.url, link.source.as_str()))),
            None => lines.push(("shared link", "none: the LMS has no overview".to_owned())),
        }
        lines.push(("why", self.why()));
        if let Some(Blank { since, reason, .. }) = &self.blank {
            let (since, reason) = (instant(*since), reason.as_str());
            lines.push(("blank since", format!("{since} ({reason})")));
        }
        if let Some(row) = &self.overview {
            lines.push(("marketing_url", blank(row.marketing_url.as_deref())));
            lines.push(("social_sharing_url", blank(row.social_sharing_url.as_deref())));
        }
        lines.extend(self.also_lines());
        match &self.entry {
            None => lines.push(("ledger", "nothing is known of the run".to_owned())),
            Some(entry) => lines.extend(ledger_lines(entry)),
        }
        if let Some(Held { pass, to }) = &self.held {
            lines.push(("held back", format!("{} (pass {pass})", blank(to.as_deref()))));
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
}

impl Explanation {
    /// The columns of `sync.also`: what stands there, and what is known of the run.
    fn also_lines(&self) -> impl Iterator<Item = (&'static str, String)> {
        let stands = self.overview.as_ref().map_or(&Also::NOTHING, |row| &row.also);
        let known = self.entry.as_ref().map_or(&Also::NOTHING, |entry| &entry.also);
        AlsoColumn::ALL.into_iter().filter_map(move |column| {
            let line = match (stands.get(column), known.get(column)) {
                (None, None) => return None,
                (stands, _) if self.course.is_ccx() => {
                    format!("{}; a custom course has its own", blank(stands.as_deref()))
                }
                (stands, None) => format!("{}; the Catalog has given none", blank(stands.as_deref())),
                (stands, Some(known)) => format!("{}; last known {known}", blank(stands.as_deref())),
            };
            Some((column.name(), line))
        })
    }
}

fn ledger_lines(entry: &Entry) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("last URL known", blank(entry.url.as_deref())),
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

fn blank(url: Option<&str>) -> String {
    url.unwrap_or("(blank)").to_owned()
}

fn instant(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refused_url::RefusedUrl;
    use crate::store::{Reason, UrlRefusal};

    const URL: &str = "https://www.campus.example/course/a";

    fn known(link: Option<&str>, change: impl FnOnce(&mut Entry)) -> Explanation {
        let course = CourseKey::parse("course-v1:a+b+c").unwrap();
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let mut entry = Entry {
            run: course.run_key(),
            url: Some(URL.to_owned()),
            listed: true,
            pending_clear_since: None,
            cleared_at: None,
            changed_at: Some(at),
            observed_at: at,
            observed_by: "event".to_owned(),
            also: Also::NOTHING,
            refused: None,
        };
        change(&mut entry);
        let marketing_url = link.map(str::to_owned);
        let row =
            LinkRow { course: course.clone(), marketing_url, social_sharing_url: None, also: Also::NOTHING };
        let (overview, entry) = (Some(row), Some(entry));
        Explanation { course, overview, entry, failure: None, blank: None, held: None, dead_letters: vec![] }
    }

    #[test]
    fn each_state_has_its_own_sentence() {
        let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let no_entry = Explanation { entry: None, ..known(None, |_| {}) };
        let no_overview = Explanation { overview: None, ..known(None, |_| {}) };
        let failure = Some(Failure { at, why: "the Catalog answered 500".to_owned() });
        let failed = Explanation { entry: None, failure, ..known(None, |_| {}) };
        let refused = |entry: &mut Entry| {
            let what = RefusedUrl { url: "course/a".to_owned(), why: "it is relative".to_owned() };
            entry.refused = Some(UrlRefusal { what, since: at });
        };
        let sentences = [
            known(Some(URL), |_| {}).why(),
            known(Some(URL), |e| e.pending_clear_since = Some(at)).why(),
            known(Some(URL), |e| e.listed = false).why(),
            Explanation { held: Some(Held { pass: 7, to: None }), ..known(Some(URL), |_| {}) }.why(),
            known(None, |_| {}).why(),
            known(None, |e| e.cleared_at = Some(at)).why(),
            known(None, |e| e.url = None).why(),
            known(None, |e| (e.url, e.listed) = (None, false)).why(),
            known(Some(URL), |e| e.url = None).why(),
            no_entry.why(),
            no_overview.why(),
            failed.why(),
            known(Some(URL), refused).why(),
            known(None, refused).why(),
            known(None, |e| (e.url, e.refused) = (None, known(None, refused).entry.unwrap().refused)).why(),
        ];
        let distinct: std::collections::HashSet<&String> = sentences.iter().collect();
        assert_eq!(distinct.len(), sentences.len(), "{sentences:#?}");
        assert!(sentences[3].contains("pass 7") && sentences[3].contains("clearing it"), "{}", sentences[3]);
    }

    #[test]
    fn a_blank_overview_says_since_when() {
        let since = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let blank = Blank { course_id: "course-v1:a+b+c".to_owned(), since, reason: Reason::NoPage };
        let lines = Explanation { blank: Some(blank), ..known(None, |_| {}) }.lines(&config::Lms::default());
        assert!(lines.contains(&("blank since", "2027-01-15T08:00:00Z (no_page)".to_owned())), "{lines:?}");
    }

    #[test]
    fn a_dead_letter_has_its_number_and_the_link_its_source() {
        let letter = LetterHead {
            id: 12,
            body_bytes: 2,
            routing_key: "course-publish".to_owned(),
            reason: "not JSON".to_owned(),
            course_id: None,
            first_seen: DateTime::from_timestamp(1_800_000_000, 0).unwrap(),
        };
        let explained = Explanation { dead_letters: vec![letter], ..known(Some(URL), |_| {}) };
        let lines = explained.lines(&config::Lms::default());
        let letter = "12, first seen 2027-01-15T08:00:00Z: not JSON".to_owned();
        assert!(lines.contains(&("dead letter", letter)), "{lines:?}");
        assert!(lines.contains(&("shared link", format!("{URL} (marketing)"))), "{lines:?}");
    }
}
