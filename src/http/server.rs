//! Accepts connections, with limits on how many there are, how slow they may be and how long they live.
//!
//! It uses hyper directly, as `axum::serve` has no such limits: clients that open connections and send nothing would
//! hold them, and their memory, for ever. A new connection is always accepted: see [`super::slots`].

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::slots::{Slot, Slots};
use super::{App, Protection};

/// Connections at once; never more than half of the files that the process may open, as database and broker need some.
const MAX_CONNECTIONS: usize = 512;
/// For the handshake of TLS.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// For the headers of a request, and for the next request on a connection that is kept open.
const HEADER_LIMIT: Duration = Duration::from_secs(10);
/// For the first line and the headers of a request. A thousand ids take some 50 kB; longer ones need `POST`.
const MAX_HEAD_BYTES: usize = 128 * 1024;
/// After this a connection is closed with its next answer, so that clients that do not read cannot hold it.
const LIFETIME: Duration = Duration::from_secs(300);
/// For requests that are being answered when their connection is to end.
const GRACE: Duration = Duration::from_secs(5);
/// After a connection could not be accepted, as when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The same, if another connection is being closed to make room.
const EVICT_PAUSE: Duration = Duration::from_millis(1);
/// Between two log lines about that, at least.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// Why the port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is in use, or not allowed.
    #[error("http.listen: cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
}

/// An open port.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on `listen`; port 0 is any free one.
    pub async fn bind(listen: SocketAddr) -> Result<Self, HttpError> {
        let failed = |source| HttpError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, and then for at most five seconds more.
    pub async fn run(self, app: App, protection: watch::Receiver<Protection>, shutdown: CancellationToken) {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let now = protection.borrow().clone();
        tracing::info!(
            event = "http.listening",
            address = %self.address,
            access = <&str>::from(&now.access),
            tls = now.tls.is_some(),
            "the HTTP port is open"
        );
        if let Some(why) = now.doubt() {
            tracing::warn!(event = "http.locked", why, "the HTTP port answers probes and metrics alone");
        }
        let router = super::router(app, protection.clone());
        let acceptor = || protection.borrow().tls.clone();
        self.run_with(router, acceptor, max_connections(&limits), shutdown).await;
    }

    async fn run_with(
        self,
        router: Router,
        acceptor: impl Fn() -> Option<TlsAcceptor>,
        max_connections: usize,
        shutdown: CancellationToken,
    ) {
        let service = TowerToHyperService::new(router);
        let slots = Slots::new(max_connections);
        let connections = TaskTracker::new();
        let accepting = async {
            let mut logged = None;
            loop {
                let stream = accept(&self.listener, &slots, &mut logged).await;
                let slot = slots.take().await;
                let (service, shutdown) = (service.clone(), shutdown.clone());
                match acceptor() {
                    None => drop(connections.spawn(serve(stream, slot, service, shutdown))),
                    Some(tls) => drop(connections.spawn(serve_tls(tls, stream, slot, service, shutdown))),
                }
            }
        };
        shutdown.run_until_cancelled(accepting).await;
        drop(self.listener);
        connections.close();
        connections.wait().await;
    }
}

/// The limit on connections. `limits` is the text of `/proc/self/limits`.
fn max_connections(limits: &str) -> usize {
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = files.and_then(|values| values.split_whitespace().next()?.parse::<usize>().ok());
    soft.map_or(MAX_CONNECTIONS, |soft| (soft / 2).clamp(1, MAX_CONNECTIONS))
}

/// Waits for the next connection. If the process can open no more, it closes a slow one. `logged` is when this was last
/// logged.
async fn accept(listener: &TcpListener, slots: &Slots, logged: &mut Option<Instant>) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            // The client was gone before the connection was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if logged.is_none_or(|at| at.elapsed() > LOG_PAUSE) {
                    tracing::warn!(event = "http.accept_failed", %error, "a connection could not be accepted");
                    *logged = Some(Instant::now());
                }
                sleep(if slots.evict() { EVICT_PAUSE } else { ACCEPT_PAUSE }).await;
            }
        }
    }
}

/// Serves one connection until it ends. Its errors are the client's and are not logged.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    slot: Arc<Slot>,
    service: TowerToHyperService<Router>,
    shutdown: CancellationToken,
) {
    let with_slot = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(slot.clone());
        service.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), with_slot);
    let mut connection = pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = slot.evicted() => return,
        () = shutdown.cancelled() => {}
        () = sleep(LIFETIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = timeout(GRACE, connection) => {}
        () = slot.evicted() => {}
    }
}

/// The same behind TLS. During the handshake the connection counts as waiting for its client.
async fn serve_tls(
    tls: TlsAcceptor,
    stream: TcpStream,
    slot: Arc<Slot>,
    service: TowerToHyperService<Router>,
    shutdown: CancellationToken,
) {
    let shaken = tokio::select! {
        shaken = timeout(HANDSHAKE_LIMIT, tls.accept(stream)) => shaken,
        () = slot.evicted() => return,
        () = shutdown.cancelled() => return,
    };
    if let Ok(Ok(stream)) = shaken {
        serve(stream, slot, service, shutdown).await;
    }
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
    async fn slow_clients_make_room_and_more_than_the_limit_are_never_open() {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let seen = most.clone();
        let handler = move || async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
        };
        let router = Router::new().route("/", axum::routing::get(handler));
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let (address, shutdown) = (server.address(), CancellationToken::new());
        let served = tokio::spawn(server.run_with(router, || None, 2, shutdown.clone()));
        let mut slow = Vec::new();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nho").await.unwrap();
            slow.push(stream);
            assert!(ask(address).await.starts_with("HTTP/1.1 200"));
        }
        assert!(seen.load(Ordering::SeqCst) <= 2);
        shutdown.cancel();
        served.await.unwrap();
    }

    #[test]
    fn connections_take_at_most_half_of_the_files() {
        let limits = |soft: &str| {
            format!("Limit  Soft Limit  Hard Limit  Units\nMax open files            {soft}   4096   files\n")
        };
        assert_eq!(max_connections(&limits("256")), 128);
        assert_eq!(max_connections(&limits("1")), 1);
        for soft in ["1048576", "unlimited", ""] {
            assert_eq!(max_connections(&limits(soft)), MAX_CONNECTIONS, "{soft}");
        }
    }

    #[tokio::test]
    async fn an_address_that_is_taken_is_named() {
        let first = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let error = Server::bind(first.address()).await.unwrap_err().to_string();
        assert!(error.contains("http.listen") && error.contains(&first.address().to_string()), "{error}");
    }
}
