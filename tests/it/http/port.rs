//! A port of its own for each test, and what stands behind it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use course_sharing::course_key::CourseKey;
use course_sharing::http::status::{
    Blanks, Catalog, Consumer, Database, Overviews, Queues, Refused, Status, Told,
};
use course_sharing::http::{AppState, Health, Line, Links, Look, Readiness, Server};
use course_sharing::share_link::{LinkSource, ShareLink};
use futures_util::future::BoxFuture;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// The one course that has a link.
pub(super) const KNOWN: &str = "course-v1:edX+DemoX+2026";

/// What the port asks, as each test wants it.
#[derive(Default)]
pub(super) struct World {
    pub(super) database: Mutex<Option<String>>,
    /// Its answer takes a second and a half.
    pub(super) database_is_late: bool,
    pub(super) broker_hangs: bool,
    pub(super) lookups: AtomicUsize,
    pub(super) lookups_fail: bool,
}

impl Readiness for World {
    fn database(&self) -> BoxFuture<'_, Result<(), String>> {
        let answer = self.database.lock().unwrap().clone().map_or(Ok(()), Err);
        Box::pin(async {
            if self.database_is_late {
                tokio::time::sleep(Duration::from_millis(1_500)).await;
            }
            answer
        })
    }
    fn broker(&self) -> BoxFuture<'_, Result<(), String>> {
        if self.broker_hangs { Box::pin(std::future::pending()) } else { Box::pin(async { Ok(()) }) }
    }
}

impl Links for World {
    fn share_links<'a>(
        &'a self,
        courses: &'a [CourseKey],
    ) -> BoxFuture<'a, Result<HashMap<CourseKey, ShareLink>, String>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let link = || ShareLink { url: "https://www.campus.example/c".into(), source: LinkSource::Marketing };
        let known = courses.iter().filter(|key| key.as_str() == KNOWN).map(|key| (key.clone(), link()));
        let answer = if self.lookups_fail { Err("password=hunter2".to_owned()) } else { Ok(known.collect()) };
        Box::pin(async { answer })
    }
}

impl Look for World {
    fn status(&self) -> BoxFuture<'_, Status> {
        let now = chrono::Utc::now();
        let status = Status {
            at: now,
            database: Database::of(None),
            overviews: Told::Now(Overviews { linked: 3, blank: 1, counted_at: now }),
            blank: Told::Now(Blanks::default()),
            refused: Told::Now(Refused::default()),
            consumer: Consumer::Detached { detached_since: now, why: "<b>gone</b>".to_owned() },
            queues: Told::Now(Queues { events: 0, delayed: Vec::new(), dead: 0 }),
            catalog: Catalog { state: "closed", until: None, requests_last_hour: None, requests_per_hour: 0 },
            passes: Told::Not { error: "the database is <i>out</i>".to_owned(), last: None },
        };
        Box::pin(async { status })
    }

    fn explain<'a>(&'a self, course: &'a CourseKey) -> BoxFuture<'a, Result<Vec<Line>, String>> {
        let lines = vec![("course", course.to_string()), ("why", "<i>because</i>".to_owned())];
        Box::pin(async { Ok(lines) })
    }
}

/// A port of its own for each test.
pub(super) struct Port {
    pub(super) address: SocketAddr,
    pub(super) health: Arc<Health>,
    pub(super) world: Arc<World>,
    shutdown: CancellationToken,
    served: tokio::task::JoinHandle<()>,
    client: reqwest::Client,
}

impl Port {
    pub(super) async fn open(world: World) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (health, world) = (Arc::new(Health::new(Instant::now())), Arc::new(world));
        let state = AppState {
            health: health.clone(),
            readiness: world.clone(),
            links: world.clone(),
            look: world.clone(),
        };
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let (address, shutdown) = (server.address(), CancellationToken::new());
        let served = tokio::spawn(server.run(state, shutdown.clone()));
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).no_proxy().build().unwrap();
        Self { address, health, world, shutdown, served, client }
    }

    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, String)>,
    ) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("http://{}{path}", self.address));
        if let Some((kind, body)) = body {
            request = request.header("content-type", kind).body(body);
        }
        let response = request.send().await.unwrap();
        for (name, value) in [("x-content-type-options", "nosniff"), ("cache-control", "no-store")] {
            assert_eq!(response.headers()[name], value, "{path}");
        }
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub(super) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, body: impl Into<String>) -> (StatusCode, Value) {
        self.send(Method::POST, "/api/v1/share-links", Some(("application/json", body.into()))).await
    }

    /// Takes the port down, and expects that to succeed.
    pub(super) async fn close(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(30), self.served).await.unwrap().unwrap();
    }
}
