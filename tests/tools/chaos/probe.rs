//! Questions to the worker's HTTP port, each on a connection of its own.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(30);

/// What came, and how long that took.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status; `0` if the answer had none.
    pub(crate) status: u16,
    /// The rest of it, headers included.
    pub(crate) text: String,
    /// From connecting to the last byte.
    pub(crate) took: Duration,
}

/// Asks for a path.
///
/// # Errors
/// If there is no connection, or no answer within half a minute.
pub(crate) async fn get(port: u16, path: &str) -> anyhow::Result<Answer> {
    let since = Instant::now();
    let asking = async {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await?;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let text =
        tokio::time::timeout(LIMIT, asking).await.with_context(|| format!("no answer from {path}"))??;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Ok(Answer { status, text, took: since.elapsed() })
}
