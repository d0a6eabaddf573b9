//! What `explain` says in each state.

use chrono::DateTime;

use super::explain::{Explanation, Held};
use crate::config;
use crate::model::course_key::CourseKey;
use crate::model::extra_columns::Also;
use crate::model::marketing_url::RefusedUrl;
use crate::store::{
    Blank, ChangedBy, Entry, Failure, LetterHead, LinkChange, ObservedBy, Overview, Reason, UrlRefusal,
};

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
        observed_by: ObservedBy::Event,
        also: Also::NOTHING,
        refused: None,
    };
    change(&mut entry);
    let marketing_url = link.map(str::to_owned);
    let row =
        Overview { course: course.clone(), marketing_url, social_sharing_url: None, also: Also::NOTHING };
    let (overview, entry) = (Some(row), Some(entry));
    Explanation {
        course,
        overview,
        entry,
        failure: None,
        blank: None,
        held: None,
        dead_letters: vec![],
        history: vec![],
    }
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
fn a_change_says_when_by_what_from_and_to_and_in_which_trace() {
    let at = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let change = |by, old: Option<&str>, new: Option<&str>, trace: Option<&str>| LinkChange {
        course_id: "course-v1:a+b+c".to_owned(),
        changed_at: at,
        old_url: old.map(str::to_owned),
        new_url: new.map(str::to_owned),
        changed_by: by,
        trace_id: trace.map(str::to_owned),
    };
    let history = vec![
        change(ChangedBy::Event, None, Some(URL), Some("0af7651916cd43dd8448eb211c80319c")),
        change(ChangedBy::FullPass, Some("http://old"), None, None),
    ];
    let explained = Explanation { history, ..known(Some(URL), |_| {}) };
    let lines: Vec<String> = explained.history_lines().into_iter().map(|(_, text)| text).collect();
    let event =
        format!("2027-01-15T08:00:00Z, by event: (blank) -> {URL}; trace 0af7651916cd43dd8448eb211c80319c");
    assert_eq!(lines, [event, "2027-01-15T08:00:00Z, by full_pass: http://old -> (blank)".to_owned()]);
    let document = explained.document(&config::Lms::default());
    assert_eq!(document["history"][1]["from"], "http://old");
    assert_eq!(document["history"][1]["to"], serde_json::Value::Null);
    assert_eq!(document["shared_link"]["url"], URL);
    assert_eq!(known(None, |_| {}).history_lines().len(), 1);
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
