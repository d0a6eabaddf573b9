//! `worker`: puts the parts together and runs them; and reads again, at SIGHUP, what a running worker takes over.

use std::net::SocketAddr;

use secrecy::ExposeSecret;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch::Sender;
use tokio_util::sync::CancellationToken;

use super::context::{Context, Source};
use super::exit::Exit;
use crate::config::{Schedule, Settings, without_password};
use crate::engine::Engine;
use crate::http::{App, Protection, Server};
use crate::store::{SchemaProblem, Store};
use crate::telemetry::{LogLevel, report};
use crate::worker::{self, Schedules, shutdown, systemd};

pub(super) async fn run(context: &Context, level: LogLevel) -> anyhow::Result<Exit> {
    let config = &context.config;
    let stop = shutdown::on_signal()?;
    tracing::info!(
        event = "worker.started",
        version = env!("CARGO_PKG_VERSION"),
        database = without_password(config.database.url.expose_secret()),
        broker = without_password(config.amqp.url.expose_secret()),
        catalog = %config.catalog.url,
        "worker started"
    );
    // Lazily: database and broker may both be down when the worker starts, and come later.
    let store = Store::connect_lazy(&config.database).await?.with_also(&config.sync.also);
    tokio::spawn(check_schema(store.clone()));
    let engine = Engine::new(store, context.catalog()?, config.sync.clear_after);
    let protection = Sender::new(Protection::read(&config.http)?);
    let server = match config.http.listen {
        Some(address) => Some(Server::bind(address).await?),
        None => None,
    };
    let (lms, http, protected) = (config.lms.clone(), config.http.clone(), protection.subscribe());
    let serve = move |health, sources| async move {
        if let Some(server) = server {
            server.run(App::new(health, sources, lms, &http), protected, CancellationToken::new()).await;
        }
    };
    let (full, light) = (
        Sender::new(config.reconcile.schedule.clone()),
        Sender::new(config.reconcile.light_schedule.clone()),
    );
    let schedules = Schedules { full: full.subscribe(), light: light.subscribe() };
    let (source, settings, listen) = (context.source.clone(), context.settings.clone(), config.http.listen);
    let reload = Reload { level, source, settings, full, light, listen, protection };
    tokio::spawn(reload.at_each_hangup(signal(SignalKind::hangup())?));
    worker::run(config, schedules, engine, serve, stop).await?;
    tracing::info!(event = "worker.stopped", "worker stopped");
    Ok(Exit::Done)
}

/// What a running worker takes over from a configuration that has changed.
const RELOADED: [&str; 7] = [
    "log.level",
    "reconcile.schedule",
    "reconcile.light_schedule",
    "http.tokens_file",
    "http.anonymous",
    "http.tls_certificate_file",
    "http.tls_key_file",
];

/// Reads the configuration again.
struct Reload {
    level: LogLevel,
    source: Source,
    /// What is in effect.
    settings: Settings,
    full: Sender<Option<Schedule>>,
    light: Sender<Option<Schedule>>,
    /// Where the port is, whatever the configuration says by now.
    listen: Option<SocketAddr>,
    protection: Sender<Protection>,
}

impl Reload {
    async fn at_each_hangup(mut self, mut hangups: Signal) {
        while hangups.recv().await.is_some() {
            systemd::reloading(false);
            match self.once() {
                Ok(left) => tracing::info!(
                    event = "worker.reloaded",
                    needs_restart = left.join(", "),
                    "the configuration was read again: log level, schedules, tokens and certificate are in effect"
                ),
                Err(error) => tracing::error!(
                    event = "worker.reload_refused",
                    error,
                    "the configuration is wrong, and everything stays as it was"
                ),
            }
            systemd::reloading(true);
        }
    }

    /// Returns the keys that have changed, and need a restart.
    fn once(&mut self) -> Result<Vec<String>, String> {
        let settings = self.source.read().map_err(|error| report(&error))?;
        let mut config = settings.config().map_err(|error| report(&error))?;
        config.http.listen = self.listen;
        let protection = Protection::read(&config.http).map_err(|error| report(&error))?;
        // Last of what may fail, so that a reload that is refused changes nothing.
        self.level.set(&config.log.level).map_err(|error| report(&error))?;
        self.protection.send_replace(protection);
        self.full.send_replace(config.reconcile.schedule);
        self.light.send_replace(config.reconcile.light_schedule);
        let mut changed = settings.differing(&self.settings);
        changed.retain(|key| !RELOADED.contains(&key.as_str()));
        self.settings.take_over(&settings, &RELOADED);
        Ok(changed)
    }
}

/// Logs what is wrong with the tables. The worker runs on: it need not be restarted after a migration, and a database
/// that is down now may come later.
async fn check_schema(store: Store) {
    match store.check_schema().await {
        Ok(()) | Err(SchemaProblem::Store(_)) => {}
        Err(problem) => {
            tracing::error!(
                event = "worker.schema_wrong",
                error = report(&problem),
                "the tables do not have the form that this version needs"
            );
        }
    }
}
