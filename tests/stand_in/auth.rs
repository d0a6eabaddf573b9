//! Tokens from the LMS and how the Catalog takes them; and its throttle.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::json;
use url::form_urlencoded;

use super::wire::{Reply, Request};
use super::{Setup, Stats};

/// Who may have a token.
#[derive(Debug, Clone)]
pub struct Auth {
    pub client_id: String,
    pub client_secret: String,
    /// As told to the client, in seconds; the LMS's default is 3,600.
    pub expires_in: u64,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            client_id: "course-sharing".to_owned(),
            client_secret: "stand-in-secret".to_owned(),
            expires_in: 3600,
        }
    }
}

/// So many requests in a sliding time; in a running one 200 an hour.
#[derive(Debug, Clone, Copy)]
pub struct Throttle {
    pub requests: usize,
    pub window: Duration,
}

/// Tokens issued, and requests let through.
#[derive(Debug, Default)]
pub(super) struct Doorkeeper {
    tokens: HashMap<String, Instant>,
    issued: u64,
    refuses_all: bool,
    let_through: VecDeque<Instant>,
}

impl Doorkeeper {
    pub(super) fn revoke(&mut self) {
        self.tokens.clear();
    }

    pub(super) fn refuse_all(&mut self) {
        self.refuses_all = true;
    }

    /// `POST /oauth2/access_token`.
    pub(super) fn issue(&mut self, setup: &Setup, request: &Request) -> Reply {
        let form: HashMap<_, _> = form_urlencoded::parse(&request.body).into_owned().collect();
        let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        let auth = setup.auth.clone().unwrap_or_default();
        if request.method != "POST" || field("grant_type") != "client_credentials" {
            return Reply::json(400, &json!({"error": "unsupported_grant_type"}));
        }
        if field("client_id") != auth.client_id || field("client_secret") != auth.client_secret {
            return Reply::json(401, &json!({"error": "invalid_client"}));
        }
        self.issued += 1;
        let jwt = field("token_type") == "jwt";
        let token = format!("eyJhbGciOiJub25lIn0.stand-in-{}.{:016x}", self.issued, rand::random::<u64>());
        if jwt {
            self.tokens.insert(token.clone(), Instant::now() + Duration::from_secs(auth.expires_in));
        }
        let kind = if jwt { "JWT" } else { "Bearer" };
        Reply::json(
            200,
            &json!({
                "access_token": token, "expires_in": auth.expires_in, "token_type": kind,
                "scope": "read write profile email",
            }),
        )
    }

    /// None: come in. `Bearer` is not read, as if there were nothing.
    pub(super) fn refuse(&self, setup: &Setup, request: &Request) -> Option<Reply> {
        setup.auth.as_ref()?;
        let given = request.header("authorization").and_then(|value| value.split_once(' '));
        let refused = |detail| Some(Reply::detail(401, detail).with("WWW-Authenticate", "JWT realm=\"api\""));
        match given {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("jwt") => {
                let sound = self.tokens.get(token).is_some_and(|expires| Instant::now() < *expires);
                if sound && !self.refuses_all { None } else { refused("Invalid token.") }
            }
            _ => refused("Authentication credentials were not provided."),
        }
    }

    /// None: let through, and counted. A refused request is not counted.
    pub(super) fn throttle(&mut self, setup: &Setup, stats: &mut Stats) -> Option<Reply> {
        let throttle = setup.throttle?;
        let now = Instant::now();
        while self.let_through.front().is_some_and(|at| now.duration_since(*at) >= throttle.window) {
            self.let_through.pop_front();
        }
        if self.let_through.len() < throttle.requests {
            self.let_through.push_back(now);
            return None;
        }
        let oldest = self.let_through.front().copied().unwrap_or(now);
        let wait = throttle.window.saturating_sub(now.duration_since(oldest)).as_secs_f64().ceil();
        stats.throttled += 1;
        let detail = format!("Request was throttled. Expected available in {wait} seconds.");
        Some(Reply::detail(429, &detail).with("Retry-After", wait.to_string()))
    }
}
