//! `GET /`: what is wrong now, at a glance, for people. One page without scripts, made from the same value as
//! `/api/v1/status`; it loads whatever is out, and says so.

mod html;
mod links;
mod parts;
mod passes;
mod search;
#[cfg(test)]
mod tests;
mod verdict;

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};

use self::html::{Number, Text, plural};
use self::parts::mark;
use self::search::Search;
use self::verdict::{Level, Problem, problems};
use super::state::Shared;
use super::status::Status;

const STYLE: &str = include_str!("style.css");
/// No script, nothing from elsewhere. The icon is an empty one, so that no browser asks for another.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";
/// Seconds after which the page loads anew, unless somebody reads the result of a search.
const REFRESH: u32 = 20;

/// Everything the page shows.
struct View {
    /// `ok`, or what is wrong with it.
    database: String,
    /// `ok`, or what is wrong with it.
    broker: String,
    /// Which of the worker's jobs are overdue.
    health: Vec<String>,
    /// How things stand, or why that cannot be told.
    status: Result<Status, String>,
    search: Option<Search>,
}

/// The page. It is always 200: what is wrong stands on it.
pub(super) async fn show(State(shared): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let (ready, status, search) = tokio::join!(
        shared.ready.report(&shared.state.readiness),
        shared.status(),
        Search::run(&shared, &query),
    );
    let health = shared.state.health.verdict(Instant::now()).overdue().to_vec();
    let view = View { database: ready.database, broker: ready.broker, health, status, search };
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(render(&view))).into_response()
}

/// The style sheet, apart from the page, so that its policy can forbid any other style.
pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)
}

fn render(view: &View) -> String {
    let now = view.status.as_ref().map_or_else(|_| Utc::now(), |status| status.at);
    let problems = problems(view);
    let mut page = String::with_capacity(32 * 1024);
    head(&mut page, view, &headline(&problems));
    header(&mut page, now);
    page.push_str("<main>");
    verdict(&mut page, &problems);
    search::form(&mut page, view.search.as_ref());
    if let Some(search) = &view.search {
        search.show(&mut page);
    }
    page.push_str("<div class=columns><div>");
    if let Ok(status) = &view.status {
        links::summary(&mut page, status);
    }
    page.push_str("</div><div>");
    parts::surroundings(&mut page, view, now);
    if let Ok(status) = &view.status {
        parts::queues(&mut page, status);
    }
    page.push_str("</div></div>");
    if let Ok(status) = &view.status {
        links::blank(&mut page, &status.blank, now);
        links::refused(&mut page, &status.refused, now);
        passes::section(&mut page, &status.passes, now);
    }
    page.push_str(
        "</main><footer><p><a href=\"api/v1/status\">The same as JSON</a> · <a href=metrics>Metrics</a></p></footer>\n",
    );
    page
}

fn head(page: &mut String, view: &View, headline: &str) {
    let _ = write!(
        page,
        "<!doctype html><html lang=en><head><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\
         <meta name=color-scheme content=\"light dark\"><title>{} – course-sharing</title>\
         <link rel=stylesheet href=style.css><link rel=icon href=\"data:,\">",
        Text(headline)
    );
    if view.search.is_none() {
        let _ = write!(page, "<meta http-equiv=refresh content={REFRESH}>");
    }
    page.push_str("</head><body>");
}

fn header(page: &mut String, now: DateTime<Utc>) {
    let exact = now.to_rfc3339_opts(SecondsFormat::Secs, true);
    let _ = write!(
        page,
        "<header><p class=brand>course-sharing <span>{}</span></p>\
         <p class=soft>as of <time datetime=\"{exact}\">{} UTC</time></p></header>",
        env!("CARGO_PKG_VERSION"),
        now.format("%-d %b %H:%M:%S")
    );
}

fn headline(problems: &[Problem]) -> String {
    match problems {
        [] => "All links are right".to_owned(),
        [only] => only.what.clone(),
        [first, rest @ ..] => {
            let n = rest.len() as u64;
            format!("{}, and {} {}", first.what, Number(n), plural(n, "other thing", "other things"))
        }
    }
}

fn verdict(page: &mut String, problems: &[Problem]) {
    let level = problems.first().map_or(Level::Fine, |worst| worst.level);
    let _ = write!(
        page,
        "<section class=\"verdict {}\" aria-label=Verdict><h1>{}{}</h1>",
        level.as_str(),
        mark(level),
        Text(&headline(problems))
    );
    match problems {
        [] => page
            .push_str("<p>Every course that has a page in the Catalog shares it, and every part works.</p>"),
        [only] => {
            let _ = write!(page, "<p>{}</p>", Text(&only.why));
        }
        _ => {
            page.push_str("<ul>");
            for Problem { level, what, why } in problems {
                let _ = write!(page, "<li>{}<b>{}</b> <span>{}</span>", mark(*level), Text(what), Text(why));
            }
            page.push_str("</ul>");
        }
    }
    page.push_str("</section>");
}
