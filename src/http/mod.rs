//! The worker's HTTP port: health, metrics, share links, explanations, and pages for people.
//!
//! What is not a probe or a metric may need a token, and the port may speak TLS: see [`Protection`].
//!
//! It only reads. Connections, times and sizes have limits, so that no client can exhaust the process.

mod access;
mod answer;
mod app;
mod body;
#[cfg(any(test, fuzzing))]
#[path = "../../tests/fuzz/properties/share_links.rs"]
pub(crate) mod fuzzing;
mod page;
mod protection;
mod server;
mod share_links;
mod slots;
mod tls;

pub use self::app::App;
pub use self::protection::Protection;
pub use self::server::{HttpError, Server};

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use tokio::sync::{Semaphore, watch};

use crate::telemetry::metrics;

/// All routes, with limits and headers around them.
fn router(app: App, protection: watch::Receiver<Protection>) -> Router {
    let bodies = Arc::new(Semaphore::new(body::MAX_BYTES_IN_ALL));
    Router::new()
        .route("/", get(page::show))
        .route("/blank", get(page::blank))
        .route("/blank.csv", get(page::blank_csv))
        .route("/dead-letters", get(page::letters))
        .route("/runbook", get(page::runbook))
        .route("/style.css", get(page::style))
        .route("/reload.js", get(page::script))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .route("/api/v1/openapi.json", get(openapi))
        .route("/api/v1/share-links", get(share_links::by_query).post(share_links::by_body))
        .route("/api/v1/explain", get(explain))
        .route("/api/v1/status", get(status))
        .fallback(|| async { answer::error(StatusCode::NOT_FOUND, "not found") })
        .method_not_allowed_fallback(|| async {
            answer::error(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method")
        })
        .layer(middleware::from_fn(answer::within_time))
        .layer(middleware::from_fn_with_state(bodies, body::read_first))
        .layer(middleware::from_fn_with_state(protection, protection::demand))
        .layer(middleware::map_response(answer::with_headers))
        .with_state(Arc::new(app))
}

async fn healthz(State(app): State<Arc<App>>) -> Response {
    let verdict = app.health.verdict(Instant::now());
    (answer::ok_or_unavailable(verdict.is_alive()), Json(verdict)).into_response()
}

async fn readyz(State(app): State<Arc<App>>) -> Response {
    let report = app.readiness.report(&app.sources).await;
    (answer::ok_or_unavailable(report.ready), Json(report)).into_response()
}

/// As OpenMetrics, which has exemplars, where the request asks for it, as Prometheus does.
async fn render(headers: HeaderMap) -> impl IntoResponse {
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let metrics = metrics::get();
    if accepted.any(|accept| accept.contains("application/openmetrics-text")) {
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        return ([(header::CONTENT_TYPE, kind)], metrics.render_open_metrics());
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}

/// The description of this port, for programs that write clients.
async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("openapi.json"))
}

async fn explain(State(app): State<Arc<App>>, RawQuery(query): RawQuery) -> Response {
    let mut asked = share_links::ids_of_query(&query.unwrap_or_default());
    let course = match (asked.pop(), asked.is_empty()) {
        (Some((_, Ok(course))), true) => course,
        (Some((_, Err(why))), true) => return answer::error(StatusCode::BAD_REQUEST, &why.to_string()),
        _ => return answer::error(StatusCode::BAD_REQUEST, "expected ?course_id=… once"),
    };
    match app.explain(course).await {
        Ok(explained) => Json(explained.document(&app.lms)).into_response(),
        Err(why) => answer::error(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

async fn status(State(app): State<Arc<App>>) -> Response {
    match app.status().await {
        Ok(status) => Json(status).into_response(),
        Err(why) => answer::error(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}
