//! `GET /dead-letters`: the dead letters, a page at a time.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::App;
use super::format::{self, Frame};
use super::respond;
use super::search::text;
use crate::http::answer;
use crate::status::DeadLetter;
use crate::store::{LetterFilter, Store};

/// Rows of one page.
const ROWS: u64 = 100;

/// One page of the list.
#[derive(Template)]
#[template(path = "letters.html", config = "src/http/askama.toml")]
struct Letters {
    frame: Frame,
    /// How many there are, and those of this page; else why they are not known.
    rows: Result<(u64, Vec<DeadLetter>), String>,
}

/// The page.
pub(in crate::http) async fn show(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let after = text(&query.unwrap_or_default(), "after").and_then(|id| id.parse().ok()).unwrap_or_default();
    let read = move |store: Store| async move {
        let all = LetterFilter::default();
        tokio::try_join!(store.count_letters(&all), store.letters(&all, after, ROWS))
    };
    let rows = app.ask(read).await;
    let status = answer::ok_or_unavailable(rows.is_ok());
    let rows = rows.map(|(count, heads)| (count, heads.into_iter().map(DeadLetter::from).collect()));
    respond(status, &Letters { frame: Frame::new(&app, "dead-letters"), rows })
}

impl Letters {
    /// The number after which the next page begins, if this one is full.
    fn next(&self, rows: &[DeadLetter]) -> Option<i64> {
        rows.last().filter(|_| rows.len() as u64 == ROWS).map(|last| last.id)
    }
}
