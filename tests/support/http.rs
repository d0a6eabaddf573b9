//! Questions to the worker's HTTP port, each on a connection of its own.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, ToSocketAddrs};

const LIMIT: Duration = Duration::from_secs(30);

/// What came, and how long that took.
#[derive(Debug)]
pub struct Answer {
    /// The status; `0` if the answer had none.
    pub status: u16,
    /// What follows the headers.
    pub body: String,
    /// From connecting to the last byte.
    pub took: Duration,
}

/// Asks for a path.
///
/// # Errors
/// If there is no connection, or no answer within half a minute.
pub async fn get(address: impl ToSocketAddrs, path: &str) -> anyhow::Result<Answer> {
    let since = Instant::now();
    let asking = async {
        let mut socket = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await?;
        anyhow::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let text =
        tokio::time::timeout(LIMIT, asking).await.with_context(|| format!("no answer from {path}"))??;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok(Answer { status, body, took: since.elapsed() })
}

/// The value of a series in the text of `/metrics`, the series written as it stands there.
pub fn metric(text: &str, series: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}
