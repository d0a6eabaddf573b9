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
const MAX_BYTES_IN_ALL: usize = 16 * 1024 * 1024;
/// From the end of the request's head to the last byte of its body.
const LIMIT: Duration = Duration::from_secs(5);

/// The bytes that bodies may still take.
#[derive(Clone)]
pub(super) struct Budget(Arc<Semaphore>);

impl Budget {
    /// All of them.
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_BYTES_IN_ALL)))
    }

    /// Takes so many bytes, if as many are left.
    fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        self.0.clone().try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }
}

/// Passes the request on with its whole body, or answers with an error.
pub(super) async fn read_first(State(budget): State<Budget>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let read = tokio::time::timeout(LIMIT, read(body, &budget)).await;
    let (bytes, _kept) = match read {
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

async fn read(body: Body, budget: &Budget) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Response> {
    let too_large = || {
        let why = format!("the body is longer than {MAX_BYTES} bytes");
        answer::error(StatusCode::PAYLOAD_TOO_LARGE, &why)
    };
    if body.size_hint().lower() > MAX_BYTES as u64 {
        return Err(too_large());
    }
    let (mut bytes, mut kept): (Vec<u8>, Option<OwnedSemaphorePermit>) = (Vec::new(), None);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| answer::error(StatusCode::BAD_REQUEST, "the body is incomplete"))?;
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Err(too_large());
        }
        let Some(more) = budget.take(chunk.len()) else {
            return Err(answer::error(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many requests at once; try again",
            ));
        };
        match &mut kept {
            None => kept = Some(more),
            Some(kept) => kept.merge(more),
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes.into(), kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_are_bounded_one_by_one_and_together() {
        let budget = Budget::new();
        let body = |length: usize| Body::from(vec![b'x'; length]);
        let kept = read(body(MAX_BYTES), &budget).await.unwrap();
        assert_eq!(kept.0.len(), MAX_BYTES);
        assert_eq!(read(body(MAX_BYTES + 1), &budget).await.unwrap_err().status(), 413);
        let mut others = Vec::new();
        while let Ok(other) = read(body(MAX_BYTES), &budget).await {
            others.push(other);
        }
        assert_eq!(others.len(), MAX_BYTES_IN_ALL / MAX_BYTES - 1);
        assert_eq!(read(body(1), &budget).await.unwrap_err().status(), 503);
        assert!(read(Body::empty(), &budget).await.is_ok(), "a probe has no body");
        drop(kept);
        assert!(read(body(MAX_BYTES), &budget).await.is_ok());
    }
}
