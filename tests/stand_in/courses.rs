//! `/api/v1/courses/`: which courses changed since a time. What it shows follows drafts: saving one moves the course's
//! stamp at once, and the official run, whose URL the lists show, changes later. A save of an official row moves no
//! stamp.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Map, Value, json};

use super::State;
use super::list::{Shape, Window, page};
use super::query::Query;
use super::runs::{Run, Runs, fold, unique};
use super::wire::{Reply, Request};

/// A draft that is saved.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The run's key.
    pub key: String,
    /// The URL that the official run gets.
    pub url: Option<String>,
    /// When the official run changes. [`Duration::MAX`]: not before [`super::StandIn::publish_drafts`].
    pub official_after: Duration,
    /// When the course's new stamp can be read: it is set before the transaction is committed.
    pub committed_after: Duration,
    /// The new stamp. `None` for now, by the Catalog's clock.
    pub stamp: Option<DateTime<Utc>>,
}

/// The stamps of courses, and what has not happened yet.
#[derive(Debug, Default)]
pub(super) struct Courses {
    /// By course key. A course without one has a null stamp, which no filter matches.
    stamps: HashMap<String, DateTime<Utc>>,
    pending: Vec<(Option<Instant>, Pending)>,
    saved: u64,
}

#[derive(Debug)]
enum Pending {
    Stamp(String, DateTime<Utc>),
    Official(String, Option<String>),
}

impl Draft {
    /// A draft of this run, saved now; the official run changes when the drafts are published.
    pub fn new(key: &str, url: Option<&str>) -> Self {
        Self {
            key: key.to_owned(),
            url: url.map(str::to_owned),
            official_after: Duration::MAX,
            committed_after: Duration::ZERO,
            stamp: None,
        }
    }
}

impl State {
    /// Saves a draft. This empties the page cache at once, also where the stamp cannot be read yet.
    pub(super) fn save_draft(&mut self, draft: Draft) {
        let stamp = draft.stamp.unwrap_or_else(|| Utc::now() + TimeDelta::seconds(self.setup.clock_ahead));
        let course = course_of(&draft.key);
        let at = |after: Duration| Instant::now().checked_add(after);
        self.courses.pending.push((at(draft.committed_after), Pending::Stamp(course, stamp)));
        self.courses.pending.push((at(draft.official_after), Pending::Official(draft.key, draft.url)));
        self.courses.saved = unique();
        self.settle_drafts(false);
    }

    /// Lets happen what is due, or everything.
    pub(super) fn settle_drafts(&mut self, all: bool) {
        let now = Instant::now();
        let is_due = |(at, _): &mut (Option<Instant>, _)| all || at.is_some_and(|at| at <= now);
        let due: Vec<_> = self.courses.pending.extract_if(.., is_due).collect();
        for (_, pending) in due {
            match pending {
                Pending::Stamp(course, stamp) => drop(self.courses.stamps.insert(course, stamp)),
                Pending::Official(key, url) => self.setup.runs.put(Run::new(&key, url.as_deref())),
            }
        }
    }

    /// The global stamp that cached pages depend on: another one after each save that sends a signal.
    pub(super) fn saved(&self) -> (u64, u64) {
        (self.setup.runs.saved(), self.courses.saved)
    }
}

/// The answer, and how many runs are in it.
pub(super) fn list(state: &mut State, request: &Request) -> (Reply, usize) {
    let query = Query::parse(request.query());
    let Ok(shape) = Shape::of(&query) else { return (Reply::server_error(), 0) };
    let shows_hidden = query.get("include_hidden_course_runs") == Some("1");
    let since = match query.get("timestamp").filter(|text| !text.is_empty()).map(timestamp) {
        Some(None) => return (Reply::json(400, &json!({"timestamp": ["Enter a valid date/time."]})), 0),
        since => since.flatten(),
    };
    let courses = matching(state, since);
    let Some(window) = Window::of(&query, courses.len()) else {
        return (Reply::detail(404, "Invalid page."), 0);
    };
    let (mut results, mut served) = (Vec::new(), 0);
    for course in &courses[window.from..window.to] {
        let runs = of_course(&state.setup.runs, course);
        if shape.has("course_runs") && runs.iter().any(|run| shape.breaks(run.health)) {
            return (Reply::server_error(), 0);
        }
        served += runs.len();
        results.push(row(state, &shape, course, &runs, shows_hidden));
    }
    (page(state, request, &window, courses.len(), results), served)
}

/// The courses whose stamp is not before `since`, or all, in the order of the list.
fn matching(state: &State, since: Option<DateTime<Utc>>) -> Vec<String> {
    let runs = &state.setup.runs;
    let courses: BTreeSet<_> = match since {
        None => (0..runs.count())
            .filter_map(|place| runs.at(place))
            .map(|run| order(course_of(&run.key)))
            .collect(),
        Some(since) => {
            let stamped = state.courses.stamps.iter().filter(|(_, stamp)| **stamp >= since);
            stamped.map(|(course, _)| order(course.clone())).collect()
        }
    };
    courses.into_iter().map(|(_, course)| course).collect()
}

fn of_course(runs: &Runs, course: &str) -> Vec<Run> {
    let old = course.replacen('+', "/", 1);
    let found = [format!("course-v1:{course}+"), format!("{old}/")].map(|start| runs.starting_with(&start));
    found.into_iter().flatten().filter(|run| course_of(&run.key) == course).collect()
}

fn order(course: String) -> (String, String) {
    (fold(&course).collect(), course)
}

fn row(state: &mut State, shape: &Shape, course: &str, runs: &[Run], shows_hidden: bool) -> Value {
    let mut row = Map::new();
    row.insert("key".to_owned(), json!(course));
    if shape.has("course_runs") {
        // Hidden runs are in the list of runs, and here only where they are asked for.
        let nested = runs.iter().filter(|run| shows_hidden || !run.hidden).map(|run| shape.row(state, run));
        let nested = nested.collect::<Vec<_>>();
        row.insert("course_runs".to_owned(), Value::Array(nested));
    }
    if shape.has("marketing_url") {
        row.insert("marketing_url".to_owned(), json!("https://www.campus.example/course/None"));
    }
    if shape.has("data_modified_timestamp") {
        let stamp = state.courses.stamps.get(course).map(|stamp| iso(*stamp));
        row.insert("data_modified_timestamp".to_owned(), json!(stamp));
    }
    if shape.has("title") {
        row.insert("title".to_owned(), json!(format!("Course {course}")));
    }
    Value::Object(row)
}

/// As Python writes it: without a fraction where that is 0.
fn iso(stamp: DateTime<Utc>) -> String {
    let digits =
        if stamp.timestamp_subsec_micros() == 0 { SecondsFormat::Secs } else { SecondsFormat::Micros };
    stamp.to_rfc3339_opts(digits, true)
}

/// A time as the filter reads it; in UTC where it names no zone.
fn timestamp(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    let with_zone = DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc));
    let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"];
    let plain = || forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    with_zone.or_else(|| plain().or_else(day).map(|time| time.and_utc()))
}

/// The key of a run's course.
fn course_of(run: &str) -> String {
    let parts = run.strip_prefix("course-v1:").unwrap_or(run);
    let mut parts = parts.split(['+', '/']);
    match (parts.next(), parts.next()) {
        (Some(org), Some(number)) => format!("{org}+{number}"),
        _ => run.to_owned(),
    }
}
