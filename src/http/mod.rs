//! The worker's port: health, metrics, share links and the status page.
//!
//! It reads and never changes anything. What it needs of the other rooms stands in [`state`] as small traits, so that
//! it knows none of them. Nothing from outside can exhaust the process: connections, times and sizes have limits.

mod answer;
mod body;
mod fresh;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod health;
mod page;
mod ready;
mod server;
mod share_links;
mod slots;
pub mod state;
pub mod status;

pub(crate) use self::fresh::bounded;
pub use self::health::Health;
pub use self::server::{HttpError, Server};
pub use self::state::{AppState, Line, Links, Look, Readiness};
pub use self::status::Status;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use tokio_util::sync::CancellationToken;

use self::state::Shared;
use crate::telemetry::metrics;

/// Serves on `listen` until `shutdown`, and then for at most five seconds more, for the requests under way.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(
    listen: SocketAddr,
    state: AppState,
    shutdown: CancellationToken,
) -> Result<(), HttpError> {
    Server::bind(listen).await?.run(state, shutdown).await;
    Ok(())
}

/// All routes, with limits and headers around them.
fn router(state: AppState) -> Router {
    Router::new()
        .route("/", get(page::show))
        .route("/style.css", get(page::style))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .route("/api/v1/share-links", get(share_links::by_query).post(share_links::by_body))
        .route("/api/v1/status", get(status))
        .fallback(|| async { answer::error(StatusCode::NOT_FOUND, "there is nothing here") })
        .method_not_allowed_fallback(|| async {
            answer::error(StatusCode::METHOD_NOT_ALLOWED, "this method is not for this path")
        })
        .layer(middleware::from_fn(answer::within_time))
        .layer(middleware::from_fn_with_state(body::Budget::new(), body::read_first))
        .layer(middleware::map_response(answer::with_headers))
        .with_state(Arc::new(Shared::new(state)))
}

async fn healthz(State(shared): State<Arc<Shared>>) -> Response {
    let verdict = shared.state.health.verdict(std::time::Instant::now());
    (answer::ok_or_unavailable(verdict.is_alive()), Json(verdict)).into_response()
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let report = shared.ready.report(&shared.state.readiness).await;
    (answer::ok_or_unavailable(report.is_ready()), Json(report)).into_response()
}

async fn render() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics::render())
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    match shared.status().await {
        Ok(status) => Json(status).into_response(),
        Err(why) => answer::error(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}
