//! A port of its own for each test, on the stage's database and broker.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use course_sharing::broker::{Attachment, Broker, Topology};
use course_sharing::catalog::Client;
use course_sharing::config::Config;
use course_sharing::http::{App, Protection, Server};
use course_sharing::status::{Health, Sources};
use course_sharing::store::Store;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::support::databases::Kind;
use crate::support::stage::{Stage, with_stage};

/// The one course that has a link.
pub(super) const KNOWN: &str = "course-v1:edX+DemoX+2026";

/// A port that is open.
pub(super) struct Port {
    pub(super) address: SocketAddr,
    pub(super) health: Arc<Health>,
    shutdown: CancellationToken,
    served: tokio::task::JoinHandle<()>,
    pub(super) client: reqwest::Client,
}

/// Runs a test with a port, on a database with [`KNOWN`] in it and a broker with the topology.
pub(super) async fn with_port(test: impl AsyncFnOnce(&Port)) {
    with_port_of(&[], test).await;
}

/// The same, with these settings; the port is on loopback, whatever they say.
pub(super) async fn with_port_of(settings: &[(&str, &str)], test: impl AsyncFnOnce(&Port)) {
    with_stage(Kind::Sqlite, async |stage| {
        stage.rig.declare().await;
        stage.database.insert_overview(KNOWN, Some("https://www.campus.example/c")).await;
        let port = Port::open(stage, settings).await;
        test(&port).await;
        port.close().await;
    })
    .await;
}

impl Port {
    /// A port with these settings, of a worker whose consumer is gone.
    pub(super) async fn open(stage: &Stage, settings: &[(&str, &str)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let environment = stage.environment(settings).into_iter();
        let environment = environment.map(|(key, value)| (OsString::from(key), OsString::from(value)));
        let config = Config::load(None, environment, &[]).unwrap();
        let why = "<b>gone</b>".to_owned();
        let (_, attachment) =
            tokio::sync::watch::channel(Attachment::Detached { since: chrono::Utc::now(), why });
        let sources = Sources::new(
            Store::connect_lazy(&config.database).await.unwrap(),
            Client::new(&config.catalog, config.marketing_url.clone(), &config.sync.also).unwrap(),
            Broker::new(&config.amqp).unwrap(),
            Topology::new(&config.amqp),
            attachment,
        );
        let health = Arc::new(Health::new(Instant::now()));
        let app = App::new(health.clone(), sources, config.lms.clone(), &config.http);
        let (_, protection) = tokio::sync::watch::channel(Protection::read(&config.http).unwrap());
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let (address, shutdown) = (server.address(), CancellationToken::new());
        let served = tokio::spawn(server.run(app, protection, shutdown.clone()));
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).no_proxy().build().unwrap();
        Self { address, health, shutdown, served, client }
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
