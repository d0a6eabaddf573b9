//! The page as text: what it says first, and that nothing from outside can become markup.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::faults::Level;
use super::problems::{headline, worst};
use super::*;
use crate::status::Next;
use crate::status::{
    Blank, Catalog, Consumer, Database, DeadLetter, Delayed, Last, Lease, Leases, Overviews, Pass, Queues,
    Reading, Refused,
};
use crate::store::{ChangedBy, LinkChange, RefusedCourse};

const HOSTILE: &str = "<script>alert('x')</script>\"&<b onclick=\"x\">";

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn pass(hours_ago: i64, verdict: &str) -> Pass {
    let started_at = now() - TimeDelta::hours(hours_ago);
    let finished_at = (verdict != "running").then_some(started_at + TimeDelta::minutes(7));
    Pass {
        started_at,
        finished_at,
        progress_at: started_at,
        verdict: verdict.to_owned(),
        listed: 1_400,
        updated: 3,
        cleared: 0,
        held_back: 0,
        failures: 0,
        reasons: Vec::new(),
    }
}

/// A worker on which all is well.
fn fine() -> Page {
    let status = Status {
        at: now(),
        database: Database::new(None, None),
        overviews: Reading::Now(Overviews { linked: 13_912, blank: 0, counted_at: now() }),
        blank: Reading::Now(Blanks::default()),
        refused: Reading::Now(Refused::default()),
        consumer: Consumer::Attached { attached_since: now() - TimeDelta::hours(5) },
        queues: Reading::Now(Queues {
            events: 0,
            delayed: vec![Delayed { seconds: 10, messages: 0 }],
            dead: 0,
            consumers: 2,
        }),
        catalog: Catalog {
            state: "closed",
            until: None,
            failing_since: None,
            requests_last_hour: Some(9),
            requests_per_hour: 90,
        },
        hints: Reading::Now(None),
        passes: Reading::Now(vec![pass(5, "complete"), pass(29, "failed")]),
        light_pass: Reading::Now(Some(pass(1, "complete"))),
        dead_letters: Reading::Now(Vec::new()),
        next: Next { full_pass: Some(now() + TimeDelta::hours(9)), light_pass: None, hints: None },
        leases: Reading::Now(Leases::default()),
    };
    let (database, broker) = ("ok".to_owned(), "ok".to_owned());
    let frame = Frame { now: now(), path: "./", links: Links::default() };
    Page { frame, database, broker, overdue: Vec::new(), status: Ok(status), search: None }
}

fn with(change: impl FnOnce(&mut Status)) -> Page {
    let mut view = fine();
    change(view.status.as_mut().unwrap());
    view
}

fn blanks(hours: i64, count: u64, reason: &'static str, right: bool) -> Blanks {
    let since = now() - TimeDelta::hours(hours);
    let of_reason = BlankCount { overviews: count, oldest_since: Some(since), explained: "so it is", right };
    Blanks {
        reasons: BTreeMap::from([(reason, of_reason)]),
        oldest_since: (!right).then_some(since),
        oldest: vec![Blank { course_id: "course-v1:a+b+c".to_owned(), since, reason }],
    }
}

fn waiting(events: u64, dead: u64) -> Reading<Queues> {
    Reading::Now(Queues { events, delayed: vec![], dead, consumers: 0 })
}

/// The headline, and how bad it is.
fn says(view: &Page) -> (String, Level) {
    let problems = view.problems();
    (headline(&problems), worst(&problems))
}

#[test]
fn all_is_well_when_nothing_is_wrong() {
    assert_eq!(says(&fine()), ("All links are right".to_owned(), Level::Fine));
    let rightly = with(|status| status.blank = Reading::Now(blanks(900, 4, "no_page", true)));
    assert_eq!(says(&rightly), ("All links are right".to_owned(), Level::Fine));
    let page = html(&rightly);
    assert!(page.contains("<b>13,912</b> linked") && page.contains("This is as it should be"), "{page}");
    assert!(page.contains("reload.js") && page.contains("./?course=course-v1%3Aa%2Bb%2Bc"), "{page}");
    assert!(page.contains("in 9 h") && page.contains("2 workers consume"), "{page}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_fault_is_the_headline_with_its_weight() {
    use Level::{Watch, Wrong};
    let out = |database: &str, broker: &str| Page {
        database: database.to_owned(),
        broker: broker.to_owned(),
        ..fine()
    };
    let refused = Pass { held_back: 2_400, ..pass(3, "refused") };
    let gone = Consumer::Detached { detached_since: now() - TimeDelta::minutes(3), why: "gone".to_owned() };
    let failing = |minutes| Catalog {
        state: "open",
        until: Some(now()),
        failing_since: Some(now() - TimeDelta::minutes(minutes)),
        requests_last_hour: None,
        requests_per_hour: 0,
    };
    let late = |hours| Next { hints: Some(now() - TimeDelta::hours(hours)), ..Next::default() };
    let url = RefusedCourse {
        course_id: "course-v1:a+b+c".to_owned(),
        since: now(),
        url: "course/x".to_owned(),
        why: "it is relative".to_owned(),
    };
    let relative = Refused { overviews: 1, oldest: vec![url] };
    for (view, headline, level) in [
        (with(|s| s.refused = Reading::Now(relative)), "1 URL in the Catalog must not be shared", Watch),
        (out("no answer", "ok"), "The database does not answer", Wrong),
        (out("ok", "no answer"), "The broker does not answer", Wrong),
        (with(|s| s.consumer = gone), "No events are consumed", Wrong),
        (
            with(|s| s.database = Database::new(Some((now(), "no right".into())), None)),
            "The database reads, and does not write",
            Wrong,
        ),
        (with(|s| s.blank = Reading::Now(blanks(0, 1, "restorable", false))), "1 link is blank", Watch),
        (with(|s| s.next = late(2)), "Changes of the Catalog go unnoticed", Watch),
        (with(|s| s.queues = waiting(1_000, 0)), "1,000 events wait to be taken", Watch),
        (with(|s| s.blank = Reading::Now(blanks(7, 12, "no_answer", false))), "12 links are blank", Wrong),
        (with(|s| s.passes = Reading::Now(vec![])), "No pass over the Catalog has ended yet", Watch),
        (
            with(|s| s.passes = Reading::Now(vec![pass(1, "running")])),
            "No pass over the Catalog has ended yet",
            Watch,
        ),
        (
            with(|s| s.passes = Reading::Now(vec![pass(27, "complete")])),
            "No complete pass for 1 d 2 h",
            Wrong,
        ),
        (with(|s| s.passes = Reading::Now(vec![refused])), "The last pass held back 2,400 changes", Wrong),
        (
            with(|s| s.passes = Reading::Now(vec![pass(1, "failed"), pass(9, "complete")])),
            "The last pass ended failed",
            Watch,
        ),
        (with(|s| s.queues = waiting(999, 1)), "1 dead letter", Watch),
        (with(|s| s.catalog = failing(9)), "The Catalog fails", Watch),
        (with(|s| s.catalog = failing(11)), "The Catalog fails", Wrong),
        (Page { overdue: vec!["the job heal hangs".into()], ..fine() }, "A part of the worker hangs", Wrong),
        (Page { status: Err("no answer".into()), ..fine() }, "The status is not known", Wrong),
    ] {
        assert_eq!(says(&view), (headline.to_owned(), level));
        let page = html(&view);
        assert!(page.contains(&format!("<title>{headline} – course-sharing</title>")));
        let fault = view.problems()[0].fault;
        for said in [fault.effect(), &format!("runbook#{}", fault.anchor())] {
            assert!(page.contains(&said.replace('\'', "&#39;")), "{said} in {page}");
        }
    }
}

#[test]
fn one_outage_is_one_problem_and_the_worst_comes_first() {
    let detached = Consumer::Detached { detached_since: now(), why: "gone".to_owned() };
    let view = Page { broker: "no answer".to_owned(), ..with(|status| status.consumer = detached) };
    assert_eq!(says(&view).0, "The broker does not answer");
    let view = Page { database: "no answer".to_owned(), ..with(|status| status.queues = waiting(0, 2)) };
    assert_eq!(says(&view).0, "The database does not answer, and 1 other thing");
    assert!(html(&view).contains("2 dead letters"));
}

#[test]
fn an_incomplete_pass_says_why() {
    let why = "200 of 200 linked courses are not listed".to_owned();
    let incomplete = Pass { reasons: vec![why.clone()], ..pass(1, "incomplete") };
    for since in [9, 30] {
        let passes = vec![incomplete.clone(), pass(since, "complete")];
        let page = html(&with(|status| status.passes = Reading::Now(passes)));
        assert!(page.contains(&why), "{page}");
    }
}

#[test]
fn what_is_out_comes_before_what_follows_from_it_and_says_since_when() {
    let failing = Some(now() - TimeDelta::minutes(34));
    let view = with(|status| {
        status.blank = Reading::Now(blanks(50, 412, "no_answer", false));
        status.catalog = Catalog { state: "open", failing_since: failing, ..status.catalog.clone() };
    });
    let page = html(&view);
    assert!(page.contains("The Catalog fails, and 1 other thing"), "{page}");
    assert!(page.contains("(34 min)") && page.contains("412 links are blank"), "{page}");
    let view = with(|status| status.blank = Reading::Now(blanks(1, 3, "restorable", false)));
    assert_eq!(says(&view).0, "3 known links are not restored, and 1 other thing");
}

#[test]
fn a_link_that_was_just_lost_has_no_reason_yet() {
    assert!(html(&fine()).contains("No link is blank."));
    let lost = Overviews { linked: 13_911, blank: 1, counted_at: now() };
    let page = html(&with(|status| status.overviews = Reading::Now(lost)));
    assert!(page.contains("Why is not known yet") && !page.contains("No link is blank."), "{page}");
}

#[test]
fn a_course_shows_what_changed_its_link_and_leads_to_the_trace() {
    let change = LinkChange {
        course_id: "course-v1:a+b+c".to_owned(),
        changed_at: now() - TimeDelta::hours(2),
        old_url: Some("https://e/old".to_owned()),
        new_url: None,
        changed_by: ChangedBy::FullPass,
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".to_owned()),
    };
    let found = Found::Course(vec![("why", "so".to_owned())], vec![change]);
    let trace = "https://traces.example/{trace_id}?a=b".parse().ok();
    let links = Links { trace, grafana: Some("https://grafana.example/".to_owned()) };
    let frame = Frame { links, ..fine().frame };
    let page = html(&Page { search: Some(search(Ok(found))), frame, ..fine() });
    let link = "https://traces.example/0af7651916cd43dd8448eb211c80319c?a=b";
    for shown in [link, "full pass", "2 h", "https://grafana.example/", ">0af76519<"] {
        assert!(page.contains(shown), "{shown} in {page}");
    }
    assert!(!page.contains("reload.js"), "what is read stays");
}

#[test]
fn what_was_last_heard_is_shown_while_the_database_is_out() {
    let last = Overviews { linked: 13_000, blank: 2, counted_at: now() };
    let last = Some(Last { as_of: now() - TimeDelta::minutes(5), value: last });
    let page = html(&with(|status| {
        status.overviews = Reading::Failed { error: "no answer within 3 s".to_owned(), last };
        status.blank = Reading::Failed { error: "no answer within 3 s".to_owned(), last: None };
    }));
    for shown in
        ["<b>13,000</b> linked", "Not counted now: no answer within 3 s", "what was known at <time datetime="]
    {
        assert!(page.contains(shown), "{shown} in {page}");
    }
}

#[test]
fn nothing_from_outside_becomes_markup() {
    let mut blank = blanks(9, 1, "no_run", false);
    blank.oldest[0].course_id = HOSTILE.to_owned();
    let url = RefusedCourse {
        course_id: HOSTILE.to_owned(),
        since: now(),
        url: HOSTILE.to_owned(),
        why: HOSTILE.to_owned(),
    };
    let change = LinkChange {
        course_id: HOSTILE.to_owned(),
        changed_at: now(),
        old_url: Some(HOSTILE.to_owned()),
        new_url: Some(HOSTILE.to_owned()),
        changed_by: ChangedBy::Event,
        trace_id: Some(HOSTILE.to_owned()),
    };
    let letter = DeadLetter {
        id: 7,
        first_seen: now(),
        reason: HOSTILE.to_owned(),
        course_id: Some(HOSTILE.to_owned()),
    };
    let lease = Lease { job: HOSTILE.to_owned(), holder: HOSTILE.to_owned(), until: now() };
    let hostile = Page {
        database: HOSTILE.to_owned(),
        broker: HOSTILE.to_owned(),
        overdue: vec![HOSTILE.to_owned(), format!("job {HOSTILE}")],
        search: Some(search(Ok(Found::Course(vec![("why", HOSTILE.to_owned())], vec![change])))),
        ..with(|status| {
            status.overviews = failed(HOSTILE);
            status.blank = Reading::Now(blank);
            status.refused = Reading::Now(Refused { overviews: 9, oldest: vec![url] });
            status.consumer = Consumer::Detached { detached_since: now(), why: HOSTILE.to_owned() };
            status.queues = failed(HOSTILE);
            status.passes = Reading::Now(vec![pass(1, HOSTILE)]);
            status.dead_letters = Reading::Now(vec![letter]);
            status.leases = Reading::Now(Leases { last_heal: None, held: vec![lease] });
        })
    };
    for view in [
        Page { status: Err(HOSTILE.to_owned()), search: Some(search(Err(HOSTILE.to_owned()))), ..fine() },
        Page { search: Some(search(Ok(Found::Courses(vec![(HOSTILE.to_owned(), true)], true)))), ..fine() },
        hostile,
    ] {
        let page = html(&view);
        assert!(
            page.contains("&#60;script&#62;") && !page.contains("<script>") && !page.contains("<b on"),
            "{page}"
        );
    }
}

fn search(found: Result<Found, String>) -> Search {
    Search { asked: HOSTILE.to_owned(), found }
}

fn failed<T>(error: &str) -> Reading<T> {
    Reading::Failed { error: error.to_owned(), last: None }
}

proptest::proptest! {
    #[test]
    fn no_text_can_leave_its_place(text: String) {
        let nothing = html(&Page { search: Some(search(Err(String::new()))), ..fine() });
        let found = Err(text.clone());
        let shown = html(&Page { search: Some(Search { asked: text, found }), ..fine() });
        let count = |page: &str, c: char| page.matches(c).count();
        for c in ['<', '>', '"', '\''] {
            proptest::prop_assert_eq!(count(&shown, c), count(&nothing, c));
        }
        let invisible = shown.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}'));
        proptest::prop_assert!(!invisible);
    }
}

/// The colours of one scheme, and the pairs that the style sheet can make of them.
mod contrast {
    use super::super::STYLE;
    use std::collections::{BTreeMap, BTreeSet};

    type Colours<'s> = BTreeMap<&'s str, &'s str>;

    fn colours(block: &str) -> Colours<'_> {
        let declared = block.lines().filter_map(|line| line.trim().strip_prefix("--")?.split_once(": "));
        declared.map(|(name, value)| (name, value.trim_end_matches(';'))).collect()
    }

    /// The properties that any rule gives to one of these, as in `color: var(--ink)`.
    fn used_as<'s>(properties: &[&str]) -> BTreeSet<&'s str> {
        let mut used = BTreeSet::new();
        for (at, _) in STYLE.match_indices("var(--") {
            let before = STYLE[..at].rsplit(['{', ';']).next().unwrap().trim();
            let property = before.split(':').next().unwrap();
            if properties.contains(&property) {
                used.insert(STYLE[at + 6..].split(')').next().unwrap());
            }
        }
        used
    }

    /// Relative luminance, as WCAG 2 defines it.
    fn luminance(colour: &str) -> f64 {
        let channel = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn every_text_and_every_shape_can_be_told_from_every_ground() {
        assert!((contrast("#ffffff", "#000000") - 21.0).abs() < 1e-9);
        assert!((contrast("#777777", "#ffffff") - 4.478).abs() < 1e-3);
        let (light, rest) = STYLE.split_once("@media (prefers-color-scheme: dark)").unwrap();
        let (light, dark) = (colours(light), colours(rest.split_once("\n}\n").unwrap().0));
        assert_eq!(light.keys().collect::<Vec<_>>(), dark.keys().collect::<Vec<_>>());
        let (texts, grounds) = (used_as(&["color"]), used_as(&["background"]));
        let shapes = used_as(&["fill", "stroke", "border", "outline"]);
        assert!(
            texts.len() >= 3 && grounds.len() >= 4 && shapes.len() >= 4,
            "{texts:?} {grounds:?} {shapes:?}"
        );
        for scheme in [&light, &dark] {
            for ground in &grounds {
                for (names, least) in [(&texts, 4.5), (&shapes, 3.0)] {
                    for name in names {
                        let found = contrast(scheme[name], scheme[ground]);
                        assert!(found >= least, "{name} on {ground}: {found:.2}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_colour_is_written_but_as_a_property() {
        for line in STYLE.lines().filter(|line| line.contains('#')) {
            assert!(line.trim().starts_with("--"), "{line}");
        }
    }
}
