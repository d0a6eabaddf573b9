//! `GET /blank`: all blank links, by reason and by a part of the key, a page at a time; and `/blank.csv`, all of them.

use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::stream::try_unfold;
use strum::VariantArray;

use super::App;
use super::faults::Level;
use super::format::{self, Frame};
use super::respond;
use super::search::{self, text};
use crate::http::answer;
use crate::store::{Blank, BlankFilter, MAX_ROWS, Reason, Store};

/// Rows of one page.
const ROWS: u64 = 100;

/// Which rows, and after which one.
#[derive(Debug, Clone, Default)]
struct Wanted {
    filter: BlankFilter,
    after: Option<(DateTime<Utc>, String)>,
}

/// One page of the list.
#[derive(Template)]
#[template(path = "blank.html", config = "src/http/askama.toml")]
struct Blanks {
    frame: Frame,
    wanted: Wanted,
    /// How many there are, and those of this page; else why they are not known.
    rows: Result<(u64, Vec<Blank>), String>,
}

/// The page.
pub(in crate::http) async fn show(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let wanted = Wanted::of(&query.unwrap_or_default());
    let for_rows = wanted.clone();
    let read = move |store: Store| async move {
        let Wanted { filter, .. } = &for_rows;
        tokio::try_join!(store.count_blanks(filter), store.blanks(filter, for_rows.after(), ROWS))
    };
    let rows = app.ask(read).await;
    let status = answer::ok_or_unavailable(rows.is_ok());
    respond(status, &Blanks { frame: Frame::new(&app, "blank"), wanted, rows })
}

/// All of them as CSV, read some at a time. Where the database fails on the way, the answer breaks off.
pub(in crate::http) async fn csv(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let wanted = Wanted::of(&query.unwrap_or_default());
    let first = match some(&app, &wanted).await {
        Ok(rows) => rows,
        Err(why) => return answer::error(StatusCode::SERVICE_UNAVAILABLE, &why),
    };
    let head = "course_id,blank_since,reason,rightly\r\n".to_owned();
    let rows = try_unfold((head, Some(first), wanted), move |(text, rows, mut wanted)| {
        let app = app.clone();
        async move {
            let Some(rows) = rows else { return Ok::<_, std::io::Error>(None) };
            let text = rows.iter().fold(text, |text, blank| text + &line(blank));
            let next = match rows.last().filter(|_| rows.len() == MAX_ROWS) {
                None => None,
                Some(last) => {
                    wanted.after = Some((last.since, last.course_id.clone()));
                    Some(some(&app, &wanted).await.map_err(std::io::Error::other)?)
                }
            };
            Ok(Some((text, (String::new(), next, wanted))))
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"blank-links.csv\""),
    ];
    (headers, Body::from_stream(rows)).into_response()
}

async fn some(app: &App, wanted: &Wanted) -> Result<Vec<Blank>, String> {
    let wanted = wanted.clone();
    app.ask(move |store| async move { store.blanks(&wanted.filter, wanted.after(), MAX_ROWS as u64).await })
        .await
}

fn line(blank: &Blank) -> String {
    let since = blank.since.to_rfc3339_opts(SecondsFormat::Secs, true);
    let (reason, right) = (blank.reason.as_str(), blank.reason.is_right());
    format!("{},{since},{reason},{right}\r\n", cell(&blank.course_id))
}

/// A text in quotes; one that a spreadsheet would compute gets a `'` in front.
fn cell(text: &str) -> String {
    let computed = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
    format!("\"{}{}\"", if computed { "'" } else { "" }, text.replace('"', "\"\""))
}

impl Wanted {
    fn of(query: &str) -> Self {
        let reason = text(query, "reason");
        let reason = Reason::VARIANTS.iter().copied().find(|known| Some(known.as_str()) == reason.as_deref());
        // A `+` that was not encoded arrives as a space, which no key has.
        let part = text(query, "part").map(|part| part.replace(' ', "+"));
        let after = text(query, "after").and_then(|after| {
            let (since, id) = after.split_once(',')?;
            let since = DateTime::parse_from_rfc3339(since).ok()?.to_utc();
            Some((since, id.to_owned()))
        });
        Self { filter: BlankFilter { reason, part }, after }
    }

    fn after(&self) -> Option<(DateTime<Utc>, &str)> {
        self.after.as_ref().map(|(since, id)| (*since, id.as_str()))
    }

    /// The query for the same filter.
    fn query(&self) -> String {
        let reason = self.filter.reason.map_or("", Reason::as_str);
        let part = format::encoded(self.filter.part.as_deref().unwrap_or_default());
        format!("reason={reason}&part={part}")
    }
}

impl Blanks {
    fn is_wanted(&self, reason: &Reason) -> bool {
        self.wanted.filter.reason == Some(*reason)
    }

    /// The query for the next page, if this one is full.
    fn next(&self, rows: &[Blank]) -> Option<String> {
        let last = rows.last().filter(|_| rows.len() as u64 == ROWS)?;
        let since = last.since.to_rfc3339_opts(SecondsFormat::Micros, true);
        Some(format!(
            "{}&after={}",
            self.wanted.query(),
            format::encoded(&format!("{since},{}", last.course_id))
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Links;
    use super::*;

    #[test]
    fn a_query_is_read_as_it_is_written_and_nonsense_is_left_out() {
        let since: DateTime<Utc> = "2026-11-30T10:00:00.123456Z".parse().unwrap();
        let row = Blank { course_id: "course-v1:a+b+c, é".to_owned(), since, reason: Reason::NoPage };
        let wanted = Wanted::of("reason=no_page&part=a%2Bb");
        let frame = Frame { now: since, path: "blank", links: Links::default() };
        let page = Blanks { frame, wanted, rows: Err(String::new()) };
        let rows = vec![row.clone(); 100];
        let next = Wanted::of(&page.next(&rows).unwrap());
        assert_eq!(next.after(), Some((since, row.course_id.as_str())));
        assert_eq!(next.filter, page.wanted.filter);
        assert_eq!(page.next(&rows[..99]), None);
        let nonsense = Wanted::of("reason=nothing&part=%20&after=yesterday,x&x=%ff");
        assert!(nonsense.filter == BlankFilter::default() && nonsense.after.is_none());
    }

    #[test]
    fn no_cell_is_computed_or_ends_early() {
        assert_eq!(cell("course-v1:a+b+c"), "\"course-v1:a+b+c\"");
        assert_eq!(cell("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
    }
}
