//! `/api/v1/share-links`: the links of up to a thousand courses in one answer.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use url::form_urlencoded;

use super::App;
use super::answer;
use crate::model::course_key::{CourseKey, CourseKeyError};
use crate::share_link::{self, ShareLink};
use crate::status::cached::with_deadline;
use crate::store::Overview;
use crate::telemetry::report;

/// Courses in one request, at most.
const MAX_IDS: usize = 1_000;
/// Bad ids that an error names, at most.
const MAX_NAMED: usize = 10;
/// For the SQL statement.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Deserialize)]
struct Body {
    course_ids: Vec<String>,
}

/// The answer, with the ids as they were sent.
#[derive(Debug, Serialize)]
struct Answer {
    links: BTreeMap<String, ShareLink>,
    unknown: Vec<String>,
}

/// An id as it was sent, and its key or what is wrong with it.
pub(super) type Id = (String, Result<CourseKey, CourseKeyError>);
/// Ids as they were sent, each with its key.
pub(super) type Asked = Vec<(String, CourseKey)>;

/// `GET`, with `course_id` once or more. A query without any is taken for a mistake.
pub(super) async fn by_query(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let ids = ids_of_query(&query.unwrap_or_default());
    if ids.is_empty() {
        return answer::error(StatusCode::BAD_REQUEST, "expected ?course_id=… once or more");
    }
    let Ok(turn) = app.lookups.clone().acquire_owned().await else { return unavailable() };
    respond(&app, turn, ids.into_iter()).await
}

/// `POST`, with `{"course_ids": […]}`.
pub(super) async fn by_body(State(app): State<Arc<App>>, request: Request) -> Response {
    // The turn comes before the body is parsed, as the ids take more memory than its bytes.
    let Ok(turn) = app.lookups.clone().acquire_owned().await else { return unavailable() };
    match Json::<Body>::from_request(request, &()).await {
        Ok(Json(body)) => respond(&app, turn, body.course_ids.into_iter().map(read)).await,
        Err(rejection) => {
            let status = match &rejection {
                JsonRejection::JsonDataError(_) => StatusCode::BAD_REQUEST,
                other => other.status(),
            };
            answer::error(status, &rejection.body_text())
        }
    }
}

async fn respond(
    app: &App,
    turn: OwnedSemaphorePermit,
    ids: impl ExactSizeIterator<Item = Id> + Send,
) -> Response {
    let asked = match parse(ids) {
        Ok(asked) => asked,
        Err(refusal) => return (StatusCode::BAD_REQUEST, Json(refusal)).into_response(),
    };
    let mut keys: Vec<CourseKey> = asked.iter().map(|(_, key)| key.clone()).collect();
    keys.sort_unstable();
    keys.dedup();
    match look_up(app, turn, keys).await {
        Ok(found) => {
            let mut answer = Answer { links: BTreeMap::new(), unknown: Vec::new() };
            for (id, key) in asked {
                match found.get(&key) {
                    Some(link) => drop(answer.links.insert(id, link.clone())),
                    None => answer.unknown.push(id),
                }
            }
            answer.unknown.sort_unstable();
            answer.unknown.dedup();
            Json(answer).into_response()
        }
        Err(error) => {
            tracing::warn!(event = "http.share_links_failed", error, "share links could not be looked up");
            unavailable()
        }
    }
}

/// The links of those that have an overview, by one SQL statement, which keeps the turn until it has ended; else why
/// there are none, for the log.
async fn look_up(
    app: &App,
    turn: OwnedSemaphorePermit,
    keys: Vec<CourseKey>,
) -> Result<HashMap<CourseKey, ShareLink>, String> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let store = app.sources.store().clone();
    let statement = async move {
        let _turn = turn;
        store.links(&keys).await
    };
    let rows = with_deadline(LOOKUP_LIMIT, statement).await?;
    let rows = rows.map_err(|error| report(&error))?;
    let link = |row: Overview| (row.course.clone(), share_link::of(&row, &app.lms));
    Ok(rows.into_iter().map(link).collect())
}

fn unavailable() -> Response {
    answer::error(StatusCode::SERVICE_UNAVAILABLE, "the links cannot be looked up now")
}

/// The values of `course_id`. A `+` that was not encoded arrives as a space. No key has spaces, so an id that is a key
/// with pluses in their place is read as that key.
pub(super) fn ids_of_query(query: &str) -> Vec<Id> {
    let values = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "course_id");
    values
        .map(|(_, value)| {
            let with_pluses = read(value.replace(' ', "+"));
            if with_pluses.1.is_ok() { with_pluses } else { read(value.into_owned()) }
        })
        .collect()
}

fn read(id: String) -> Id {
    let key = CourseKey::parse(&id);
    (id, key)
}

/// The keys of all ids; else the body of the error: there are too many, or some are not keys.
pub(super) fn parse(ids: impl ExactSizeIterator<Item = Id>) -> Result<Asked, serde_json::Value> {
    if ids.len() > MAX_IDS {
        return Err(
            json!({ "error": format!("at most {MAX_IDS} ids in one request; there are {}", ids.len()) }),
        );
    }
    let (mut asked, mut bad) = (Vec::with_capacity(ids.len()), Vec::new());
    for (id, key) in ids {
        match key {
            Ok(key) => asked.push((id, key)),
            Err(why) => bad.push(why.to_string()),
        }
    }
    if bad.is_empty() {
        return Ok(asked);
    }
    let others = bad.len().saturating_sub(MAX_NAMED);
    bad.truncate(MAX_NAMED);
    let mut why = bad.join("; ");
    if others > 0 {
        why.push_str(&format!("; and {others} more"));
    }
    Err(json!({ "error": why }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "course-v1:edX+DemoX+2026";

    fn id(text: &str) -> Id {
        read(text.to_owned())
    }

    fn texts(query: &str) -> Vec<String> {
        ids_of_query(query).into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn pluses_may_be_encoded_or_not() {
        for query in [
            "course_id=course-v1%3AedX%2BDemoX%2B2026",
            "course_id=course-v1:edX+DemoX+2026",
            "x=1&course_id=course-v1:edX%20DemoX%202026",
        ] {
            assert_eq!(texts(query), [ID], "{query}");
        }
    }

    #[test]
    fn what_is_no_key_stays_as_it_is() {
        assert_eq!(texts("course_id=a+b&course_id=&other=x"), ["a b", ""]);
        assert!(ids_of_query("").is_empty());
    }

    #[test]
    fn a_bad_id_is_named() {
        let error = parse([ID, "a b", "library-v1:a+b"].map(id).into_iter()).unwrap_err();
        let text = error["error"].as_str().unwrap();
        assert!(text.contains("\"a b\"") && text.contains("library-v1:a+b") && !text.contains(ID), "{text}");
    }

    #[test]
    fn an_error_stays_short() {
        let error = parse((0..MAX_IDS).map(|n| read(format!("{n}{}", "x".repeat(999))))).unwrap_err();
        let text = error["error"].as_str().unwrap();
        assert!(text.ends_with("and 990 more") && text.len() < 4_000, "{text}");
    }

    #[test]
    fn a_thousand_are_enough() {
        assert_eq!(parse(vec![id(ID); MAX_IDS].into_iter()).unwrap().len(), MAX_IDS);
        let error = parse(vec![id(ID); MAX_IDS + 1].into_iter()).unwrap_err();
        assert!(error["error"].as_str().unwrap().contains("at most 1000"));
    }

    proptest! {
        #[test]
        fn any_query_is_read(query in "\\PC{0,80}|(course_id=[a-z0-9:+%/&=-]{0,30}&?){0,4}") {
            let _ = parse(ids_of_query(&query).into_iter());
        }
    }
}
