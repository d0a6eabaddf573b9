//! What goes wrong: by script, one fault a request, or by chance, with a seed.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use rand::RngExt;
use rand::rngs::StdRng;
use serde::Deserialize;

use super::wire::{Arrival, Reply};

/// What a 429 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    Nothing,
    Seconds(u64),
    /// The date that is so many seconds away.
    Date(u64),
}

/// What happens to one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it is served.
    Ok,
    /// An answer with this status: 401 and 403 in JSON, all others HTML.
    Status(u16),
    /// 200, with a login page.
    Html200,
    /// Served, and cut in the middle of the body.
    Cut,
    /// Served, so many bytes at a time and milliseconds apart.
    Drip(usize, u64),
    Throttled(RetryAfter),
    /// 302.
    Redirect(String),
    /// The connection ends without an answer.
    Close,
    /// No answer, ever.
    Hang,
    /// 200, with this body as JSON.
    Body(String),
    /// 200, with a body of so many blanks.
    Big(usize),
}

/// Faults to come: the script first, then chance.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    pub script: VecDeque<Fault>,
    pub ratios: Ratios,
}

/// How often, of 1. The last three are of rows, the others of requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ratios {
    #[serde(rename = "500")]
    pub server_error: f64,
    #[serde(rename = "429")]
    pub throttled: f64,
    pub html200: f64,
    pub cut: f64,
    pub close: f64,
    pub null: f64,
    pub foreign: f64,
    pub relative: f64,
}

impl Faults {
    /// What happens to the next request.
    pub(super) fn next(&mut self, chance: &mut StdRng) -> Fault {
        if let Some(fault) = self.script.pop_front() {
            return fault;
        }
        let ratios = self.ratios;
        let mut throw: f64 = chance.random();
        for (ratio, fault) in [
            (ratios.server_error, Fault::Status(500)),
            (ratios.throttled, Fault::Throttled(RetryAfter::Seconds(1))),
            (ratios.html200, Fault::Html200),
            (ratios.cut, Fault::Cut),
            (ratios.close, Fault::Close),
        ] {
            if throw < ratio {
                return fault;
            }
            throw -= ratio;
        }
        Fault::Ok
    }
}

impl Ratios {
    /// True if rows are shown as they are.
    pub(super) fn leave_rows(&self) -> bool {
        self.null + self.foreign + self.relative == 0.0
    }

    /// The URL as a row shows it this time.
    pub(super) fn url(&self, chance: &mut StdRng, url: Option<String>) -> Option<String> {
        let url = url?;
        if self.leave_rows() {
            return Some(url);
        }
        let throw: f64 = chance.random();
        if throw < self.null {
            None
        } else if throw < self.null + self.foreign {
            Some("https://elsewhere.invalid/course/x".to_owned())
        } else if throw < self.null + self.foreign + self.relative {
            Some("course/x".to_owned())
        } else {
            Some(url)
        }
    }
}

impl Fault {
    /// As written for the control port: `ok`, `500` or any status, `html200`, `cut`, `drip`, `drip:BYTES:MS`, `429`,
    /// `429:SECONDS`, `429date:SECONDS`, `redirect:URL`, `close`, `hang`, `big:BYTES`, `body:TEXT`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once(':').unwrap_or((text, ""));
        Some(match name {
            "ok" => Self::Ok,
            "html200" => Self::Html200,
            "cut" => Self::Cut,
            "close" => Self::Close,
            "hang" => Self::Hang,
            "drip" if rest.is_empty() => Self::Drip(1, 100),
            "drip" => {
                let (bytes, pause) = rest.split_once(':')?;
                Self::Drip(bytes.parse().ok()?, pause.parse().ok()?)
            }
            "429" if rest.is_empty() => Self::Throttled(RetryAfter::Nothing),
            "429" => Self::Throttled(RetryAfter::Seconds(rest.parse().ok()?)),
            "429date" => Self::Throttled(RetryAfter::Date(rest.parse().ok()?)),
            "redirect" => Self::Redirect(rest.to_owned()),
            "big" => Self::Big(rest.parse().ok()?),
            "body" => Self::Body(rest.to_owned()),
            status => Self::Status(status.parse().ok().filter(|status| (200..600).contains(status))?),
        })
    }

    /// The answer instead of the right one; none where that one is still needed.
    pub(super) fn reply(&self) -> Option<Reply> {
        Some(match self {
            Self::Ok | Self::Cut | Self::Drip(..) => return None,
            Self::Status(401) => {
                Reply::detail(401, "Invalid token.").with("WWW-Authenticate", "JWT realm=\"api\"")
            }
            Self::Status(403) => Reply::detail(403, "You do not have permission to perform this action."),
            Self::Status(404) => Reply::not_found(),
            Self::Status(500) => Reply::server_error(),
            Self::Status(status) => Reply::html(*status, "<html><h1>Not now</h1></html>"),
            Self::Html200 => Reply::html(200, "<!doctype html><html><title>Sign in</title></html>"),
            Self::Throttled(after) => throttled(*after),
            Self::Redirect(to) => Reply::html(302, "").with("Location", to.clone()),
            Self::Close => Reply::none(),
            Self::Hang => Reply { arrival: Arrival::Hang, ..Reply::none() },
            Self::Body(body) => {
                let mut reply = Reply::json(200, &serde_json::Value::Null);
                reply.body = body.clone().into_bytes();
                reply
            }
            Self::Big(bytes) => {
                Reply { body: vec![b' '; *bytes], ..Reply::json(200, &serde_json::Value::Null) }
            }
        })
    }

    /// How the right answer arrives.
    pub(super) fn arrival(&self) -> Arrival {
        match self {
            Self::Cut => Arrival::Cut,
            Self::Drip(bytes, pause) => Arrival::Drip(*bytes, Duration::from_millis(*pause)),
            _ => Arrival::Whole,
        }
    }
}

fn throttled(after: RetryAfter) -> Reply {
    let said = |seconds: u64| {
        Reply::detail(429, &format!("Request was throttled. Expected available in {seconds} seconds."))
    };
    match after {
        RetryAfter::Nothing => said(1),
        RetryAfter::Seconds(seconds) => said(seconds).with("Retry-After", seconds.to_string()),
        RetryAfter::Date(seconds) => {
            let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds));
            said(seconds).with("Retry-After", date)
        }
    }
}
