//! One connection to the broker: opened within a limit, seen dead within half a minute, and surely ended.
//!
//! lapin's own recovery stays off: it gives up after some tries, and it cannot see a consumer that the broker
//! cancelled. Whoever needs a connection builds everything on it anew instead.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_rs::Tokio;
use lapin::tcp::AsyncTcpStream;
use lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};
use lapin::{Channel, ConnectionProperties, ErrorKind};
use secrecy::ExposeSecret;
use url::{Host, Url};

use super::error::{BrokerError, timed_out};
use super::tls;
use super::transport::{self, Screened};
use crate::config::{Amqp, TlsFiles};

/// How long a connection may take, from the first packet to the broker's last word of welcome.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long any question on a connection may take.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long a channel may take on an open connection: a single round trip. lapin does not always tell whoever asks in
/// the moment in which the connection breaks, and nobody consumes until that is found out.
const CHANNEL_LIMIT: Duration = Duration::from_secs(5);
/// Seconds. The broker's own wish, 60 s, would show a dead network only after two minutes.
const HEARTBEAT: u16 = 10;

/// What a connection is for; the broker's own tools show it as the connection's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes deliveries and acknowledges them.
    Consumer,
    /// Sends. Never the consumer's connection: an alarm blocks a sending socket, acknowledgements with it.
    Publisher,
    /// Takes dead letters over into the database.
    DeadLetters,
    /// Looks, for a command or a health check.
    Operator,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Publisher => "publisher",
            Self::DeadLetters => "dead letters",
            Self::Operator => "operator",
        }
    }
}

/// Where the broker is, and who we are to it. Cheap to clone; shows no password.
#[derive(Clone)]
pub struct Broker {
    uri: Arc<AMQPUri>,
    tls_files: Arc<TlsFiles>,
    address: Arc<str>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Broker").field(&self.address).finish()
    }
}

/// An open connection. [`Connection::close`] says goodbye; dropping it just hangs up.
pub struct Connection {
    inner: lapin::Connection,
    socket: Socket,
}

impl Broker {
    /// Reads `amqp.url`; connects to nothing yet.
    ///
    /// # Errors
    /// [`BrokerError::Unreachable`] for a URL that leads nowhere.
    pub fn new(config: &Amqp) -> Result<Self, BrokerError> {
        let text = config.url.expose_secret();
        let url = Url::parse(text).map_err(|_| bad_url())?;
        let mut uri: AMQPUri = text.parse().map_err(|_| bad_url())?;
        let tls_files = Arc::new(config.tls_files().map_err(|_| bad_url())?);
        // lapin takes an IPv6 address for no host at all, and would go to localhost.
        if let Some(Host::Ipv6(host)) = url.host() {
            uri.authority.host = host.to_string();
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        let scheme = match uri.scheme {
            AMQPScheme::AMQP => "amqp",
            AMQPScheme::AMQPS => "amqps",
        };
        let (host, port, vhost) = (&uri.authority.host, uri.authority.port, &uri.vhost);
        let address = format!("{scheme}://{host}:{port} (virtual host {vhost:?})").into();
        Ok(Self { uri: Arc::new(uri), tls_files, address })
    }

    /// Scheme, host, port and virtual host, fit to be shown.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Opens a connection, in 10 s at most.
    ///
    /// # Errors
    /// [`BrokerError::Unreachable`] or [`BrokerError::Denied`].
    pub async fn open(&self, role: Role) -> Result<Connection, BrokerError> {
        let name = format!("course-sharing {} {}", env!("CARGO_PKG_VERSION"), role.as_str());
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let socket = Socket::default();
        let connecting = connect((*self.uri).clone(), self.tls_files.clone(), properties, socket.clone());
        match tokio::time::timeout(CONNECT_LIMIT, connecting).await {
            Ok(Ok(inner)) => Ok(Connection { inner, socket }),
            Ok(Err(error)) => Err(self.explain(&error)),
            Err(_) => {
                // lapin's thread would otherwise wait for ever for the rest of the handshake.
                socket.hang_up();
                let why = format!("no answer within {} s", CONNECT_LIMIT.as_secs());
                Err(BrokerError::Unreachable { address: self.address().to_owned(), why })
            }
        }
    }

    fn explain(&self, error: &lapin::Error) -> BrokerError {
        let address = self.address().to_owned();
        let ErrorKind::ProtocolError(amqp) = error.kind() else {
            let why = match error.kind() {
                ErrorKind::IOError(io) => format!("{io}; is it running, and is amqp.url right?"),
                _ => error.to_string(),
            };
            return BrokerError::Unreachable { address, why };
        };
        let user = self.uri.authority.userinfo.username.clone();
        let said = amqp.get_message().to_string();
        let why = match amqp.get_id() {
            403 if self.uri.query.auth_mechanism == Some(SASLMechanism::External) => {
                format!("the broker has no user of the name in the certificate of amqp.url (it says: {said})")
            }
            403 => format!("wrong user name or password in amqp.url (RabbitMQ says: {said})"),
            530 => format!("check the virtual host of amqp.url and the user's access to it ({said})"),
            _ => said,
        };
        BrokerError::Denied { address, user, why }
    }
}

/// Without what the parser says: it quotes the URL, password and all.
fn bad_url() -> BrokerError {
    BrokerError::Unreachable { address: "amqp.url".to_owned(), why: "it cannot be read".to_owned() }
}

/// lapin's connection over a socket that we keep a hand on.
async fn connect(
    uri: AMQPUri,
    tls_files: Arc<TlsFiles>,
    properties: ConnectionProperties,
    socket: Socket,
) -> lapin::Result<lapin::Connection> {
    lapin::Connection::connector(
        uri,
        transport::runtime(),
        async move |uri: AMQPUri, _| {
            let host = &uri.authority.host;
            let addresses = tokio::net::lookup_host((host.as_str(), uri.authority.port)).await?;
            let tokio = Tokio::current();
            let stream = AsyncTcpStream::connect(&tokio, addresses.collect::<Vec<_>>());
            let stream =
                tokio::time::timeout(CONNECT_LIMIT, stream).await.map_err(std::io::Error::from)??;
            if let AsyncTcpStream::Plain(plain) = &stream {
                plain.get_ref().set_nodelay(true)?;
                socket.hold(plain.get_ref().as_fd().try_clone_to_owned()?.into());
            }
            let stream = match uri.scheme {
                AMQPScheme::AMQP => stream,
                AMQPScheme::AMQPS => stream.into_tls(host, tls::read(&tls_files)?.as_ref()).await?,
            };
            Ok(AsyncTcpStream::Plain(Screened::new(stream, uri.query.frame_max)))
        },
        properties,
    )
    .await
}

impl Connection {
    /// A new channel, in 5 s at most.
    ///
    /// # Errors
    /// [`BrokerError::Lost`].
    pub async fn channel(&self) -> Result<Channel, BrokerError> {
        answer_within(CHANNEL_LIMIT, "opening a channel", self.inner.create_channel()).await
    }

    /// False once it is closed or known to be broken. True says little: ask whether a consumer is attached.
    pub fn is_open(&self) -> bool {
        self.inner.status().connected()
    }

    /// True while an alarm on the broker (memory, disk) keeps it from reading what we send.
    pub fn is_blocked(&self) -> bool {
        self.inner.status().blocked()
    }

    /// Says goodbye and waits for the answer, but not for long; then hangs up.
    pub async fn close(&self) {
        // Nothing depends on the answer: what is not acknowledged goes back to its queue either way.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.inner.close(200, "OK".into())).await;
        self.hang_up();
    }

    /// Ends the connection without a word; everything waiting on it fails at once.
    pub fn hang_up(&self) {
        self.socket.hang_up();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.hang_up();
    }
}

/// A second handle on a connection's socket.
///
/// lapin runs a thread for each connection, which waits without limit for a peer that has fallen silent while
/// connecting or closing. Shutting the socket down is what ends that thread.
#[derive(Clone, Default)]
struct Socket(Arc<Mutex<SocketState>>);

#[derive(Default)]
enum SocketState {
    #[default]
    None,
    Open(TcpStream),
    HungUp,
}

impl Socket {
    fn hold(&self, stream: TcpStream) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, SocketState::HungUp) {
            let _ = stream.shutdown(Shutdown::Both);
        } else {
            *state = SocketState::Open(stream);
        }
    }

    fn hang_up(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let SocketState::Open(stream) = &*state {
            // An error means that it is down already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        *state = SocketState::HungUp;
    }
}

/// Waits for an answer of the broker, but no longer than [`ANSWER_LIMIT`].
pub(super) async fn answer<T>(
    doing: &'static str,
    question: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    answer_within(ANSWER_LIMIT, doing, question).await
}

async fn answer_within<T>(
    limit: Duration,
    doing: &'static str,
    question: impl Future<Output = lapin::Result<T>>,
) -> Result<T, BrokerError> {
    match tokio::time::timeout(limit, question).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(BrokerError::Lost { doing, source }),
        Err(_) => Err(timed_out(doing, limit)),
    }
}
