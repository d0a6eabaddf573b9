//! A wire that a test can cut, freeze and mend: a TCP proxy in the test's own process.

use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wire {
    frozen: bool,
    /// Connections of earlier cuts are dead.
    cuts: u32,
    /// Connections of earlier losses let nothing through any more.
    losses: u32,
}

/// Forwards connections to one address. Ends with its handle.
pub(crate) struct Proxy {
    address: SocketAddr,
    wire: watch::Sender<Wire>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of this machine for connections to `target`, as in `127.0.0.1:5672`.
    pub(crate) async fn start(target: impl Into<String>) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), target).await
    }

    /// The same at this address, as of a server that was away and comes.
    pub(crate) async fn start_at(address: SocketAddr, target: impl Into<String>) -> Self {
        let target = target.into();
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let wire = watch::Sender::new(Wire { frozen: false, cuts: 0, losses: 0 });
        let watched = wire.clone();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if let Ok(far) = TcpStream::connect(&target).await {
                    let (near, far) = (Arc::new(near), Arc::new(far));
                    tokio::spawn(forward(near.clone(), far.clone(), watched.subscribe()));
                    tokio::spawn(forward(far, near, watched.subscribe()));
                }
            }
        });
        Self { address, wire, task }
    }

    /// Where to connect to instead of the target.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections; new ones are served.
    pub(crate) fn cut(&self) {
        self.wire.send_modify(|wire| wire.cuts += 1);
    }

    /// Keeps all connections open, accepts new ones, and lets nothing through, as a dead network does.
    pub(crate) fn freeze(&self) {
        self.wire.send_modify(|wire| wire.frozen = true);
    }

    /// Keeps the connections there are open for ever, and lets nothing through them; new ones are served.
    pub(crate) fn lose(&self) {
        self.wire.send_modify(|wire| wire.losses += 1);
    }

    /// Lets everything through again, what has piled up first.
    pub(crate) fn resume(&self) {
        self.wire.send_modify(|wire| wire.frozen = false);
    }
}

/// An address of this machine where nobody listens, for a [`Proxy::start_at`] later.
pub(crate) async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// The URL with another address in it, and the address that was in it.
pub(crate) fn by(url: &str, address: SocketAddr, port: u16) -> (String, String) {
    let mut url = Url::parse(url).unwrap();
    let target = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(port));
    url.set_host(Some(&address.ip().to_string())).unwrap();
    url.set_port(Some(address.port())).unwrap();
    (url.into(), target)
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

/// One direction of one connection, until either end closes or the wire is cut.
async fn forward(from: Arc<TcpStream>, to: Arc<TcpStream>, mut wire: watch::Receiver<Wire>) {
    let cuts = wire.borrow().cuts;
    tokio::select! {
        () = copy(&from, &to, wire.clone()) => {}
        _ = wire.wait_for(|wire| wire.cuts != cuts) => {}
    }
    for end in [from, to] {
        let _ = socket(&end).shutdown(Shutdown::Both);
    }
}

/// A second handle on the socket, as a shared tokio stream cannot be shut down.
fn socket(stream: &TcpStream) -> std::net::TcpStream {
    use std::os::fd::AsFd;
    stream.as_fd().try_clone_to_owned().unwrap().into()
}

async fn copy(from: &TcpStream, to: &TcpStream, mut wire: watch::Receiver<Wire>) {
    let mut buffer = vec![0; 16 * 1024];
    let losses = wire.borrow().losses;
    let is_frozen = |wire: &Wire| wire.frozen || wire.losses != losses;
    loop {
        if wire.wait_for(|wire| !is_frozen(wire)).await.is_err() || from.readable().await.is_err() {
            return;
        }
        if is_frozen(&wire.borrow()) {
            continue;
        }
        let mut read: &[u8] = match from.try_read(&mut buffer) {
            Ok(0) => return,
            Ok(read) => &buffer[..read],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        };
        while !read.is_empty() {
            if to.writable().await.is_err() {
                return;
            }
            match to.try_write(read) {
                Ok(written) => read = &read[written..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    }
}
