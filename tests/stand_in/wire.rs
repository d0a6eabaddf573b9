//! Requests off a socket and answers onto it, with what can go wrong on the way.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use tokio::net::TcpStream;

/// A request, its body read.
#[derive(Debug)]
pub(super) struct Request {
    /// The first line, as it came.
    pub(super) line: String,
    pub(super) method: String,
    pub(super) target: String,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// What is sent back, and how it arrives.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) arrival: Arrival,
}

/// How an answer arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    Whole,
    /// Half the body, of a length that was announced whole; then the connection ends.
    Cut,
    /// So many bytes at a time, with a pause between.
    Drip(usize, Duration),
    /// The connection ends without an answer.
    Never,
    /// Nothing comes and nothing ends.
    Hang,
}

impl Request {
    /// The last header of that name, in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(super) fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }
}

impl Reply {
    fn new(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        let headers = vec![
            ("Content-Type", content_type.to_owned()),
            ("Vary", "Accept, Accept-Language, Cookie, origin".to_owned()),
        ];
        Self { status, headers, body, arrival: Arrival::Whole }
    }

    pub(super) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::new(status, "application/json", body.to_string().into_bytes())
    }

    pub(super) fn detail(status: u16, detail: &str) -> Self {
        Self::json(status, &serde_json::json!({ "detail": detail }))
    }

    pub(super) fn html(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, "text/html", body.into())
    }

    /// As the service answers when a row breaks it.
    pub(super) fn server_error() -> Self {
        Self::html(500, &include_bytes!("../fixtures/catalog/500.html")[..])
    }

    pub(super) fn not_found() -> Self {
        Self::html(404, "<!doctype html>\n<html lang=\"en\"><head><title>Not Found</title></head></html>\n")
    }

    pub(super) fn none() -> Self {
        Self { arrival: Arrival::Never, ..Self::html(500, "") }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// The next request of a connection; none at its end.
pub(super) async fn read(stream: &TcpStream, buffer: &mut Vec<u8>) -> Result<Option<Request>, Error> {
    const HEAD: usize = 1024 * 1024;
    const BODY: usize = 16 * 1024 * 1024;
    let head = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = buffer.drain(..end + 4).collect();
            break String::from_utf8_lossy(&head).into_owned();
        }
        if buffer.len() > HEAD {
            return Err(ErrorKind::InvalidData.into());
        }
        if !more(stream, buffer).await? {
            return Ok(None);
        }
    };
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers: Vec<_> = lines
        .filter_map(|header| header.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut request = Request { line, method, target, headers, body: Vec::new() };
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    if length > BODY {
        return Err(ErrorKind::InvalidData.into());
    }
    while buffer.len() < length {
        if !more(stream, buffer).await? {
            return Ok(None);
        }
    }
    request.body = buffer.drain(..length).collect();
    Ok(Some(request))
}

/// Sends a reply. False if the connection is to end.
pub(super) async fn write(stream: &TcpStream, reply: &Reply) -> Result<bool, Error> {
    let mut head = format!(
        "HTTP/1.1 {} {}\r\nContent-Length: {}\r\n",
        reply.status,
        reason(reply.status),
        reply.body.len()
    );
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    match reply.arrival {
        Arrival::Never => return Ok(false),
        Arrival::Hang => {
            // Until the other side has had enough.
            while more(stream, &mut Vec::new()).await? {}
            return Ok(false);
        }
        Arrival::Whole => {
            let mut bytes = head.into_bytes();
            bytes.extend_from_slice(&reply.body);
            all(stream, &bytes).await?;
        }
        Arrival::Cut => {
            all(stream, head.as_bytes()).await?;
            all(stream, &reply.body[..reply.body.len() / 2]).await?;
            return Ok(false);
        }
        Arrival::Drip(bytes, pause) => {
            all(stream, head.as_bytes()).await?;
            for drop in reply.body.chunks(bytes.max(1)) {
                all(stream, drop).await?;
                tokio::time::sleep(pause).await;
            }
        }
    }
    Ok(true)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Other",
    }
}

async fn more(stream: &TcpStream, buffer: &mut Vec<u8>) -> Result<bool, Error> {
    let mut chunk = [0; 16 * 1024];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut chunk) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                buffer.extend_from_slice(&chunk[..count]);
                return Ok(true);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn all(stream: &TcpStream, mut bytes: &[u8]) -> Result<(), Error> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
