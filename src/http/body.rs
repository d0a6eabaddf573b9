//! Reads the whole body of every request before its handler runs. So a slow client holds only its connection and the
//! bytes it has sent, and no handler.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer;
use super::slots::Slot;

/// A thousand keys of 255 characters of two bytes each take half of it.
const MAX_BYTES: usize = 1024 * 1024;
/// Bodies in memory at once, in bytes, over all connections.
pub(super) const MAX_BYTES_IN_ALL: usize = 16 * 1024 * 1024;
/// From the end of the request's head to the last byte of its body.
const LIMIT: Duration = Duration::from_secs(5);

/// Passes the request on with its whole body, or answers with an error. `left` are the bytes that bodies may still take.
pub(super) async fn read_first(State(left): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let read = tokio::time::timeout(LIMIT, read(body, &left)).await;
    let (bytes, _taken) = match read {
        Ok(Ok(read)) => read,
        Ok(Err(refusal)) => return refusal,
        Err(_) => {
            let why = format!("the body did not arrive within {} s", LIMIT.as_secs());
            return answer::error(StatusCode::REQUEST_TIMEOUT, &why);
        }
    };
    let _at_work = parts.extensions.get::<Arc<Slot>>().map(Slot::work);
    next.run(Request::from_parts(parts, Body::from(bytes))).await
}

/// The body, and what it takes of the bytes that are left: as much as has arrived, whatever length the client announces.
async fn read(body: Body, left: &Arc<Semaphore>) -> Result<(Bytes, OwnedSemaphorePermit), Response> {
    let too_large = || {
        let why = format!("the body is longer than {MAX_BYTES} bytes");
        answer::error(StatusCode::PAYLOAD_TOO_LARGE, &why)
    };
    let busy = || answer::error(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once; try again");
    let take = |bytes: usize| left.clone().try_acquire_many_owned(bytes as u32).ok();
    if body.size_hint().lower() > MAX_BYTES as u64 {
        return Err(too_large());
    }
    let (mut bytes, mut taken) = (Vec::new(), take(0).ok_or_else(busy)?);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| answer::error(StatusCode::BAD_REQUEST, "the body is incomplete"))?;
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Err(too_large());
        }
        taken.merge(take(chunk.len()).ok_or_else(busy)?);
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes.into(), taken))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn bodies_are_bounded_one_by_one_and_together() {
        let left = Arc::new(Semaphore::new(MAX_BYTES_IN_ALL));
        let body = |length: usize| Body::from(vec![b'x'; length]);
        let kept = read(body(MAX_BYTES), &left).await.unwrap();
        assert_eq!(kept.0.len(), MAX_BYTES);
        assert_eq!(read(body(MAX_BYTES + 1), &left).await.unwrap_err().status(), 413);
        let mut others = Vec::new();
        while let Ok(other) = read(body(MAX_BYTES), &left).await {
            others.push(other);
        }
        assert_eq!(others.len(), MAX_BYTES_IN_ALL / MAX_BYTES - 1);
        assert_eq!(read(body(1), &left).await.unwrap_err().status(), 503);
        assert!(read(Body::empty(), &left).await.is_ok(), "a probe has no body");
        drop(kept);
        assert!(read(body(MAX_BYTES), &left).await.is_ok());
    }

    #[tokio::test]
    async fn bodies_that_do_not_arrive_take_nothing_from_others() {
        let left = Arc::new(Semaphore::new(MAX_BYTES));
        let silent = || Body::from_stream(futures_util::stream::pending::<Result<Bytes, Infallible>>());
        let mut slow: Vec<_> = (0..9).map(|_| Box::pin(read(silent(), &left))).collect();
        assert!(slow.iter_mut().all(|slow| slow.now_or_never().is_none()));
        assert!(read(Body::from(vec![b'x'; MAX_BYTES]), &left).await.is_ok());
    }
}
