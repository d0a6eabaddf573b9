//! A connection to the broker: opens within a limit, notices a dead network within half a minute, and always ends.
//!
//! lapin's own recovery is off: it gives up after some tries, and does not notice a consumer that the broker cancelled.
//! Users of a connection replace it with all that belongs to it instead.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use async_rs::Tokio;
use lapin::tcp::AsyncTcpStream;
use lapin::uri::{AMQPScheme, AMQPUri, SASLMechanism};
use lapin::{Channel, ConnectionProperties, ErrorKind};
use parking_lot::Mutex;
use secrecy::ExposeSecret;
use url::{Host, Url};

use super::error::{BrokerError, timed_out};
use super::transport::{self, Screened};
use crate::config::{Amqp, TlsFiles};

/// The limit for connecting, up to the end of the handshake.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The limit for any answer on a connection.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The limit for opening a channel, which is a single round trip. lapin may not answer at all if the connection breaks at
/// that moment, and nothing is consumed until then.
const CHANNEL_LIMIT: Duration = Duration::from_secs(5);
/// Seconds. With the broker's default of 60 s, a dead network is noticed after two minutes.
const HEARTBEAT: u16 = 10;

/// What a connection is for. The broker's tools show it in the name of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Role {
    /// Takes deliveries and acknowledges them.
    Consumer,
    /// Sends. Not the consumer's connection: an alarm blocks a sending socket, and acknowledgements with it.
    Publisher,
    /// Takes dead letters over into the database.
    #[strum(to_string = "dead letters")]
    DeadLetters,
    /// Reads counts, for a command or a health check.
    Operator,
}

/// The address of the broker and our credentials. Cheap to clone; `Debug` shows no password.
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

/// An open connection. [`Connection::close`] closes it by protocol; dropping it closes the socket.
pub struct Connection {
    inner: lapin::Connection,
    socket: Socket,
}

impl Broker {
    /// Reads `amqp.url`; connects to nothing yet.
    pub fn new(config: &Amqp) -> Result<Self, BrokerError> {
        let text = config.url.expose_secret();
        let url = Url::parse(text).map_err(|_| bad_url())?;
        let mut uri: AMQPUri = text.parse().map_err(|_| bad_url())?;
        let tls_files = Arc::new(config.tls_files().map_err(|_| bad_url())?);
        // lapin reads an IPv6 address as no host, and would connect to localhost.
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

    /// Scheme, host, port and virtual host, without a password.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Opens a connection, in 10 s at most.
    pub async fn open(&self, role: Role) -> Result<Connection, BrokerError> {
        let name = format!("course-sharing {} {role}", env!("CARGO_PKG_VERSION"));
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let socket = Socket::default();
        let connecting = connect((*self.uri).clone(), self.tls_files.clone(), properties, socket.clone());
        match tokio::time::timeout(CONNECT_LIMIT, connecting).await {
            Ok(Ok(inner)) => Ok(Connection { inner, socket }),
            Ok(Err(error)) => Err(self.explain(&error)),
            Err(_) => {
                // Otherwise lapin's thread waits for the handshake without limit.
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
                format!(
                    "the broker has no user with the name in the certificate of amqp.url (it says: {said})"
                )
            }
            403 => format!("wrong user name or password in amqp.url (RabbitMQ says: {said})"),
            530 => format!("check the virtual host of amqp.url and the user's access to it ({said})"),
            _ => said,
        };
        BrokerError::Denied { address, user, why }
    }
}

/// Without the parser's message, which quotes the URL with its password.
fn bad_url() -> BrokerError {
    BrokerError::Unreachable { address: "amqp.url".to_owned(), why: "it cannot be read".to_owned() }
}

/// Opens lapin's connection over a socket to which `socket` keeps a handle.
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
                AMQPScheme::AMQPS => stream.into_tls(host, transport::tls(&tls_files)?.as_ref()).await?,
            };
            Ok(AsyncTcpStream::Plain(Screened::new(stream, uri.query.frame_max)))
        },
        properties,
    )
    .await
}

impl Connection {
    /// A new channel, in 5 s at most.
    pub async fn channel(&self) -> Result<Channel, BrokerError> {
        answer_within(CHANNEL_LIMIT, "opening a channel", self.inner.create_channel()).await
    }

    /// False once it is closed or known to be broken. True does not mean that a consumer is attached.
    pub fn is_open(&self) -> bool {
        self.inner.status().connected()
    }

    /// True while the broker does not read what we send, because of an alarm (memory, disk).
    pub(crate) fn is_blocked(&self) -> bool {
        self.inner.status().blocked()
    }

    /// Closes it by protocol, waits briefly for the answer, then closes the socket.
    pub async fn close(&self) {
        // The answer does not matter: unacknowledged messages go back to their queue in any case.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.inner.close(200, "OK".into())).await;
        self.hang_up();
    }

    /// Closes the socket; everything that waits on the connection fails at once.
    pub(crate) fn hang_up(&self) {
        self.socket.hang_up();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.hang_up();
    }
}

/// A second handle to a connection's socket.
///
/// lapin has a thread for each connection, which waits without limit for a silent peer while it connects or closes.
/// Shutting the socket down ends that thread.
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
        let mut state = self.0.lock();
        if matches!(*state, SocketState::HungUp) {
            let _ = stream.shutdown(Shutdown::Both);
        } else {
            *state = SocketState::Open(stream);
        }
    }

    fn hang_up(&self) {
        let mut state = self.0.lock();
        if let SocketState::Open(stream) = &*state {
            // An error means that it is closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        *state = SocketState::HungUp;
    }
}

/// Waits for an answer of the broker, up to [`ANSWER_LIMIT`].
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
