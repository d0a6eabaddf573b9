//! `GET /`: the status as one page for people, without scripts. It loads even while database and broker are down, and
//! says so. The templates are in `src/http/templates/`; askama escapes every value in them.

mod charts;
mod format;
mod parts;
mod problems;
mod search;
#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Instant;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};

use self::search::Search;
use super::App;
use crate::clock;
use crate::status::{BlankCount, Blanks, Status};

const STYLE: &str = include_str!("style.css");
/// No script, nothing from elsewhere. The icon is an empty one, so that no browser asks for another.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; \
                      frame-ancestors 'none'";

/// Everything the page shows. It loads itself again every 20 seconds, unless it shows the result of a search.
#[derive(Template)]
#[template(path = "page.html", config = "src/http/askama.toml")]
struct Page {
    now: DateTime<Utc>,
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
    let page = Page {
        now: status.as_ref().map_or_else(|_| clock::now(), |status| status.at),
        database: ready.database,
        broker: ready.broker,
        overdue: app.health.verdict(Instant::now()).overdue().to_vec(),
        status,
        search,
    };
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(page.html())).into_response()
}

/// The style sheet, apart from the page, so that the page's policy can forbid any other style.
pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)
}

impl Page {
    fn html(&self) -> String {
        // Rendering into memory cannot fail.
        format::visible(&self.render().unwrap_or_default())
    }
}

/// For the templates, which pass references.
impl Page {
    fn number(&self, n: impl Borrow<u64>) -> String {
        format::number(*n.borrow())
    }

    /// The time of day, with the day unless it is today.
    fn moment(&self, at: &DateTime<Utc>) -> String {
        format::moment(*at, self.now)
    }

    fn exact(&self, at: &DateTime<Utc>) -> String {
        at.to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// How long ago that was.
    fn ago(&self, at: &DateTime<Utc>) -> String {
        format::span(self.now - at)
    }

    /// The reasons that apply to any overview: those that should not be first, then those with most overviews.
    fn reasons<'b>(&self, blanks: &'b Blanks) -> Vec<(&'static str, &'b BlankCount)> {
        let mut reasons: Vec<_> = blanks.reasons.iter().map(|(word, count)| (*word, count)).collect();
        reasons.retain(|(_, count)| count.overviews > 0);
        reasons.sort_by_key(|(_, count)| (count.right, std::cmp::Reverse(count.overviews)));
        reasons
    }
}
