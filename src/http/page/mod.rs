//! `GET /`: the status as one page for people; and the lists behind it. All work without a script; one reloads the page.
//! It loads even while database and broker are down, and says so. The templates are in `src/http/templates/`; askama
//! escapes every value in them.

mod blank;
mod charts;
mod faults;
mod format;
mod letters;
mod parts;
mod problems;
mod runbook;
mod search;
#[cfg(test)]
mod tests;

pub(super) use self::blank::{csv as blank_csv, show as blank};
pub(super) use self::letters::show as letters;

use std::sync::Arc;
use std::time::Instant;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use self::format::Frame;
use self::search::{Found, Search};
use super::App;
use super::app::Links;
use crate::status::{BlankCount, Blanks, DeadLetter, Status};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("reload.js");
/// Nothing from elsewhere, and no script but our own. The icon is an empty one, so that no browser asks for another.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Everything the page shows. It reloads itself, unless it shows the result of a search.
#[derive(Template)]
#[template(path = "page.html", config = "src/http/askama.toml")]
struct Page {
    frame: Frame,
    /// `ok`, or what is wrong with it.
    database: String,
    /// `ok`, or what is wrong with it.
    broker: String,
    /// The worker's jobs that are overdue, each as a sentence.
    overdue: Vec<String>,
    /// The status, or why it is not known.
    status: Result<Status, String>,
    search: Option<Search>,
}

/// The page. It is always 200: what is wrong is on it.
pub(super) async fn show(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let (ready, status, search) =
        tokio::join!(app.readiness.report(&app.sources), app.status(), Search::run(&app, &query));
    let mut frame = Frame::new(&app, "./");
    frame.now = status.as_ref().map_or(frame.now, |status| status.at);
    let page = Page {
        frame,
        database: ready.database,
        broker: ready.broker,
        overdue: app.health.verdict(Instant::now()).overdue().to_vec(),
        status,
        search,
    };
    respond(StatusCode::OK, &page)
}

/// The runbook of this version.
#[derive(Template)]
#[template(path = "runbook.html", config = "src/http/askama.toml")]
struct Runbook {
    frame: Frame,
}

/// The page with the runbook.
pub(super) async fn runbook(State(app): State<Arc<App>>) -> Response {
    respond(StatusCode::OK, &Runbook { frame: Frame::new(&app, "runbook") })
}

/// The style sheet, apart from the page, so that the page's policy can forbid any other style.
pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)
}

/// The script that reloads the page.
pub(super) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT)
}

fn respond(status: StatusCode, page: &impl Template) -> Response {
    (status, [(header::CONTENT_SECURITY_POLICY, POLICY)], Html(html(page))).into_response()
}

fn html(page: &impl Template) -> String {
    // Rendering into memory cannot fail.
    format::visible(&page.render().unwrap_or_default())
}

impl Page {
    fn headline(&self) -> String {
        problems::headline(&self.problems())
    }

    /// How many overviews have no link now. The reasons may be half a minute older.
    fn blank(&self, status: &Status) -> u64 {
        status.overviews.latest().map_or(0, |overviews| overviews.blank)
    }

    /// How many dead letters there are, where these are the first.
    fn letters(&self, status: &Status, rows: &[DeadLetter]) -> u64 {
        status.queues.latest().map_or(rows.len() as u64, |queues| queues.dead)
    }

    /// The reasons that apply to any overview: those that should not be first, then those with most overviews.
    fn reasons<'b>(&self, blanks: &'b Blanks) -> Vec<(&'static str, &'b BlankCount)> {
        let mut reasons: Vec<_> = blanks.reasons.iter().map(|(word, count)| (*word, count)).collect();
        reasons.retain(|(_, count)| count.overviews > 0);
        reasons.sort_by_key(|(_, count)| (count.right, std::cmp::Reverse(count.overviews)));
        reasons
    }
}
