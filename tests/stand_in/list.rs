//! `/api/v1/course_runs/` and `/api/v1/course_runs/<key>/`, with the oddities of the real ones.

use serde_json::{Map, Value, json};

use super::query::Query;
use super::runs::{Health, Run};
use super::wire::{Reply, Request};
use super::{Churn, State};

const PER_PAGE: usize = 20;
const UTM: &str = "?utm_source=lms_catalog_service_user&utm_medium=affiliate_partner";

/// The answer, and how many runs are in it.
pub(super) fn list(state: &mut State, request: &Request) -> (Reply, usize) {
    let query = Query::parse(request.query());
    let Ok(shape) = Shape::of(&query) else { return (Reply::server_error(), 0) };
    let places = matching(state, &query);
    let count = places.as_ref().map_or(state.setup.runs.count(), Vec::len);
    let Some(window) = Window::of(&query, count) else { return (Reply::detail(404, "Invalid page."), 0) };
    let mut results = Vec::new();
    for index in window.from..window.to {
        let place = places.as_ref().map_or(index, |places| places[index]);
        let Some(run) = state.setup.runs.at(place) else { break };
        if shape.breaks(run.health) {
            return (Reply::server_error(), 0);
        }
        results.push(shape.row(state, &run));
    }
    let served = results.len();
    let reply = page(state, request, &window, count, results);
    churn(state);
    (reply, served)
}

/// One page of a list, with links to those beside it.
pub(super) fn page(
    state: &State,
    request: &Request,
    window: &Window,
    count: usize,
    results: Vec<Value>,
) -> Reply {
    let host = state.setup.foreign_host.as_deref().or(request.header("host")).unwrap_or("localhost");
    let link = |query: &Option<String>| query.as_ref().map(|query| link(host, request.path(), query));
    let body = json!({
        "count": count,
        "next": link(&window.next),
        "previous": link(&window.previous),
        "results": results,
    });
    Reply::json(200, &body)
}

/// One run by its key, percent-encoded as it stands in the path.
pub(super) fn single(state: &mut State, request: &Request, key: &str) -> Reply {
    let query = Query::parse(request.query());
    let Ok(shape) = Shape::of(&query) else { return Reply::server_error() };
    let Some(encoded) = key.strip_suffix('/') else {
        let query = if request.query().is_empty() { String::new() } else { format!("?{}", request.query()) };
        return Reply::html(301, "").with("Location", format!("{}/{query}", request.path()));
    };
    let key = decode(encoded);
    let shaped = key.split('+').count() == 3 || key.split('/').count() == 3;
    if !shaped || key.contains('%') {
        return Reply::not_found();
    }
    let place = state.setup.runs.matching(&key).next();
    match place.and_then(|place| state.setup.runs.at(place)) {
        None => Reply::detail(404, "No CourseRun matches the given query."),
        Some(run) if shape.breaks(run.health) => Reply::server_error(),
        Some(run) => Reply::json(200, &shape.row(state, &run)),
    }
}

/// How many keys a request asks for.
pub(super) fn keys_asked(request: &Request) -> u64 {
    keys(&Query::parse(request.query())).map_or(0, |keys| keys.split(',').count() as u64)
}

fn keys(query: &Query) -> Option<&str> {
    query.get("keys").map(str::trim).filter(|keys| !keys.is_empty())
}

/// The places of the runs that `keys=` asks for, in their order; none for all of them.
fn matching(state: &State, query: &Query) -> Option<Vec<usize>> {
    let keys = keys(query)?;
    let mut places: Vec<usize> = keys.split(',').flat_map(|key| state.setup.runs.matching(key)).collect();
    places.sort_unstable();
    places.dedup();
    Some(places)
}

/// Which part of the answer is shown, and where the others are.
pub(super) struct Window {
    pub(super) from: usize,
    pub(super) to: usize,
    next: Option<String>,
    previous: Option<String>,
}

impl Window {
    /// None: 404. An empty `page=` counts as none.
    pub(super) fn of(query: &Query, count: usize) -> Option<Self> {
        match query.get("page").filter(|page| !page.is_empty()) {
            Some(page) => Self::page(query, count, page),
            None => Some(Self::stretch(query, count)),
        }
    }

    fn page(query: &Query, count: usize, page: &str) -> Option<Self> {
        let size = query.positive("page_size").unwrap_or(PER_PAGE);
        let last = count.div_ceil(size).max(1);
        let page = if page == "last" { last } else { page.parse().ok()? };
        if page == 0 || page > last {
            return None;
        }
        let next = (page < last).then(|| query.with(&[("page", Some(page + 1))]));
        // Page 1 is linked without its number, which makes another kind of list of it.
        let previous = (page > 1).then(|| query.with(&[("page", Some(page - 1).filter(|page| *page > 1))]));
        Some(Self { from: (page - 1) * size, to: (page * size).min(count), next, previous })
    }

    fn stretch(query: &Query, count: usize) -> Self {
        let size = query.positive("limit").unwrap_or(PER_PAGE);
        let offset = query.positive("offset").unwrap_or(0);
        let end = offset.saturating_add(size);
        let next = (end < count).then(|| query.with(&[("limit", Some(size)), ("offset", Some(end))]));
        let previous = (offset > 0).then(|| {
            let before = offset.saturating_sub(size);
            query.with(&[("limit", Some(size)), ("offset", Some(before).filter(|before| *before > 0))])
        });
        Self { from: offset.min(count), to: end.min(count), next, previous }
    }
}

/// Which fields a row has, and whose name its URL carries.
pub(super) struct Shape {
    fields: Option<Vec<String>>,
    utm: bool,
}

impl Shape {
    /// `exclude_utm` that is no integer is more than the service can bear.
    pub(super) fn of(query: &Query) -> Result<Self, std::num::ParseIntError> {
        let exclude: i64 = query.get("exclude_utm").filter(|v| !v.is_empty()).unwrap_or("0").parse()?;
        let fields = query.get("fields").map(|fields| fields.split(',').map(str::to_owned).collect());
        Ok(Self { fields, utm: exclude == 0 })
    }

    pub(super) fn has(&self, field: &str) -> bool {
        self.fields.as_ref().is_none_or(|fields| fields.iter().any(|wanted| wanted == field))
    }

    pub(super) fn breaks(&self, health: Health) -> bool {
        match health {
            Health::Sound => false,
            Health::BadKey => self.fields.is_none(),
            Health::NoType => self.has("marketing_url"),
        }
    }

    pub(super) fn row(&self, state: &mut State, run: &Run) -> Value {
        let url = state.faults.ratios.url(&mut state.chance, run.url.clone());
        let url = url.map(|url| if self.utm { format!("{url}{UTM}") } else { url });
        let mut row = Map::new();
        row.insert("key".to_owned(), json!(run.key));
        if self.has("marketing_url") {
            row.insert("marketing_url".to_owned(), json!(url));
        }
        if self.has("eligible_for_financial_aid") {
            row.insert("eligible_for_financial_aid".to_owned(), run.financial_aid.clone());
        }
        if self.has("content_language") {
            row.insert("content_language".to_owned(), run.language.clone());
        }
        if self.fields.is_none() {
            // A page with all fields weighs some 2.7 kB a run.
            row.insert("title".to_owned(), json!(format!("Course {}", run.key)));
            row.insert("full_description".to_owned(), json!("A course like many others. ".repeat(90)));
        }
        Value::Object(row)
    }
}

fn churn(state: &mut State) {
    match state.churn {
        None => {}
        Some(Churn::DeleteFirst) => state.setup.runs.remove_first(),
        Some(Churn::InsertFirst) => {
            state.churned += 1;
            let key = format!("AAA/churn/{:06}", 999_999 - state.churned.min(999_999));
            state.setup.runs.put(Run::new(&key, Some("https://www.campus.example/course/churn")));
        }
    }
}

fn link(host: &str, path: &str, query: &str) -> String {
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    format!("http://{host}{path}{query}")
}

/// Percent-encoding undone, once; a `+` in a path is a plus.
fn decode(text: &str) -> String {
    let with_plus = text.replace('+', "%2B");
    url::form_urlencoded::parse(with_plus.as_bytes()).map(|(key, _)| key.into_owned()).collect()
}
