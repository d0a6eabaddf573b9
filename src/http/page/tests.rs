//! The page as text: what it says first, and that nothing from outside can become markup.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::problems::{Level, headline};
use super::*;
use crate::status::{
    Blank, Catalog, Consumer, Database, Delayed, Last, Overviews, Pass, Queues, Reading, Refused,
};
use crate::store::RefusedCourse;

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
    }
}

/// A worker on which all is well.
fn fine() -> Page {
    let status = Status {
        at: now(),
        database: Database::new(None),
        overviews: Reading::Now(Overviews { linked: 13_912, blank: 0, counted_at: now() }),
        blank: Reading::Now(Blanks::default()),
        refused: Reading::Now(Refused::default()),
        consumer: Consumer::Attached { attached_since: now() - TimeDelta::hours(5) },
        queues: Reading::Now(Queues {
            events: 0,
            delayed: vec![Delayed { seconds: 10, messages: 0 }],
            dead: 0,
        }),
        catalog: Catalog { state: "closed", until: None, requests_last_hour: Some(9), requests_per_hour: 90 },
        hints: Reading::Now(None),
        passes: Reading::Now(vec![pass(5, "complete"), pass(29, "failed")]),
        light_pass: Reading::Now(Some(pass(1, "complete"))),
    };
    let (database, broker) = ("ok".to_owned(), "ok".to_owned());
    Page { now: now(), database, broker, overdue: Vec::new(), status: Ok(status), search: None }
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

/// The headline, and how bad it is.
fn says(view: &Page) -> (String, Option<Level>) {
    let problems = view.problems();
    (headline(&problems), problems.first().map(|problem| problem.level))
}

#[test]
fn all_is_well_when_nothing_is_wrong() {
    assert_eq!(says(&fine()), ("All links are right".to_owned(), None));
    let rightly = with(|status| status.blank = Reading::Now(blanks(900, 4, "no_page", true)));
    assert_eq!(says(&rightly), ("All links are right".to_owned(), None));
    let page = rightly.html();
    assert!(page.contains("<b>13,912</b> linked") && page.contains("This is as it should be"), "{page}");
    assert!(
        page.contains("http-equiv=\"refresh\"") && page.contains("?course=course-v1%3Aa%2Bb%2Bc"),
        "{page}"
    );
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
    let open = Catalog { state: "open", until: Some(now()), requests_last_hour: None, requests_per_hour: 0 };
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
        (with(|s| s.consumer = gone), "No events are consumed, for 3 min", Wrong),
        (
            with(|s| s.database = Database::new(Some((now(), "no right".into())))),
            "The database reads, and does not write",
            Wrong,
        ),
        (with(|s| s.blank = Reading::Now(blanks(5, 1, "restorable", false))), "1 link is blank", Watch),
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
        (
            with(|s| s.queues = Reading::Now(Queues { events: 0, delayed: vec![], dead: 1 })),
            "1 dead letter",
            Watch,
        ),
        (with(|s| s.catalog = open), "The Catalog fails, and only probes are sent to it", Watch),
        (Page { overdue: vec!["the job heal hangs".into()], ..fine() }, "A part of the worker hangs", Wrong),
        (Page { status: Err("no answer".into()), ..fine() }, "The status is not known", Wrong),
    ] {
        assert_eq!(says(&view), (headline.to_owned(), Some(level)));
        assert!(view.html().contains(&format!("<title>{headline} – course-sharing</title>")));
    }
}

#[test]
fn one_outage_is_one_problem_and_the_worst_comes_first() {
    let detached = Consumer::Detached { detached_since: now(), why: "gone".to_owned() };
    let view = Page { broker: "no answer".to_owned(), ..with(|status| status.consumer = detached) };
    assert_eq!(says(&view).0, "The broker does not answer");
    let view = Page {
        database: "no answer".to_owned(),
        ..with(|status| status.queues = Reading::Now(Queues { events: 0, delayed: vec![], dead: 2 }))
    };
    assert_eq!(says(&view).0, "The database does not answer, and 1 other thing");
    assert!(view.html().contains("2 dead letters"));
}

#[test]
fn what_was_last_heard_is_shown_while_the_database_is_out() {
    let last = Overviews { linked: 13_000, blank: 2, counted_at: now() };
    let last = Some(Last { as_of: now() - TimeDelta::minutes(5), value: last });
    let page = with(|status| {
        status.overviews = Reading::Failed { error: "no answer within 3 s".to_owned(), last };
        status.blank = Reading::Failed { error: "no answer within 3 s".to_owned(), last: None };
    })
    .html();
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
    let hostile = Page {
        database: HOSTILE.to_owned(),
        broker: HOSTILE.to_owned(),
        overdue: vec![HOSTILE.to_owned(), format!("job {HOSTILE}")],
        search: Some(search(Ok(vec![("why", HOSTILE.to_owned())]))),
        ..with(|status| {
            status.overviews = failed(HOSTILE);
            status.blank = Reading::Now(blank);
            status.refused = Reading::Now(Refused { overviews: 9, oldest: vec![url] });
            status.consumer = Consumer::Detached { detached_since: now(), why: HOSTILE.to_owned() };
            status.queues = failed(HOSTILE);
            status.passes = Reading::Now(vec![pass(1, HOSTILE)]);
        })
    };
    for view in [
        Page { status: Err(HOSTILE.to_owned()), search: Some(search(Err(HOSTILE.to_owned()))), ..fine() },
        hostile,
    ] {
        let page = view.html();
        assert!(
            page.contains("&#60;script&#62;") && !page.contains("<script") && !page.contains("<b on"),
            "{page}"
        );
        assert!(!page.contains("http-equiv"), "the result of a search stays");
    }
}

fn search(found: Result<Vec<crate::status::Line>, String>) -> Search {
    Search { asked: HOSTILE.to_owned(), found }
}

fn failed<T>(error: &str) -> Reading<T> {
    Reading::Failed { error: error.to_owned(), last: None }
}

proptest::proptest! {
    #[test]
    fn no_text_can_leave_its_place(text: String) {
        let nothing = Page { search: Some(search(Err(String::new()))), ..fine() }.html();
        let found = Err(text.clone());
        let shown = Page { search: Some(Search { asked: text, found }), ..fine() }.html();
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
