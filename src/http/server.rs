//! Listening, with limits on how many connections there are, how slow they may be and how long they live.
//!
//! By hyper itself, as `axum::serve` has no such limits: whoever opens connections and says nothing would hold them,
//! and the memory behind them, for ever.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::AppState;

/// Connections at once; more wait in the kernel.
const MAX_CONNECTIONS: usize = 512;
/// For a request's headers, and for the next request on a connection that is kept.
const HEADER_LIMIT: Duration = Duration::from_secs(10);
/// For a request's line and headers. A thousand ids take some 50 kB; longer ones are for `POST`.
const MAX_HEAD_BYTES: usize = 128 * 1024;
/// After this a connection is closed with its next answer, so that one that is not read from cannot stay.
const LIFETIME: Duration = Duration::from_secs(300);
/// For the requests under way when a connection is to end.
const GRACE: Duration = Duration::from_secs(5);
/// After the process ran out of file descriptors, say: trying again at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Why the port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// It is taken, or not ours to take.
    #[error("http.listen: cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
}

/// A port that is listened on.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on `listen`; port 0 is any free one.
    ///
    /// # Errors
    /// [`HttpError::Listen`].
    pub async fn bind(listen: SocketAddr) -> Result<Self, HttpError> {
        let failed = |source| HttpError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// What is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, and then for at most five seconds more.
    pub async fn run(self, state: AppState, shutdown: CancellationToken) {
        tracing::info!(event = "http.listening", address = %self.address, "the HTTP port is open");
        self.run_with(super::router(state), MAX_CONNECTIONS, shutdown).await;
    }

    async fn run_with(self, router: Router, max_connections: usize, shutdown: CancellationToken) {
        let service = TowerToHyperService::new(router);
        let slots = Arc::new(Semaphore::new(max_connections));
        let connections = TaskTracker::new();
        let accepting = async {
            // The semaphore is never closed.
            while let Ok(slot) = slots.clone().acquire_owned().await {
                let stream = accept(&self.listener).await;
                let connection = serve(stream, service.clone(), shutdown.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(slot);
                });
            }
        };
        shutdown.run_until_cancelled(accepting).await;
        drop(self.listener);
        connections.close();
        connections.wait().await;
    }
}

/// The next connection, however long that takes.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // That one went before it was taken.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(event = "http.accept_failed", %error, "a connection could not be taken");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection until it ends. What goes wrong on it is the other side's business and not worth a line.
async fn serve(stream: TcpStream, service: TowerToHyperService<Router>, shutdown: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = shutdown.cancelled() => {}
        () = sleep(LIFETIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(GRACE, connection).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn ask(address: SocketAddr) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn more_connections_than_the_limit_wait_and_are_served() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let seen = most.clone();
        let handler = move || async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            sleep(Duration::from_millis(5)).await;
            now.fetch_sub(1, Ordering::SeqCst);
        };
        let router = Router::new().route("/", axum::routing::get(handler));
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let (address, shutdown) = (server.address(), CancellationToken::new());
        let served = tokio::spawn(server.run_with(router, 2, shutdown.clone()));
        let answers = futures_util::future::join_all((0..20).map(|_| ask(address))).await;
        assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 200")), "{answers:?}");
        assert_eq!(seen.load(Ordering::SeqCst), 2);
        shutdown.cancel();
        served.await.unwrap();
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named() {
        let first = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let error = Server::bind(first.address()).await.unwrap_err().to_string();
        assert!(error.contains("http.listen") && error.contains(&first.address().to_string()), "{error}");
    }
}
