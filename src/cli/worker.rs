//! `worker`: puts the parts together and runs them.

use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use super::context::{Context, Exit};
use crate::config::without_password;
use crate::engine::Engine;
use crate::http::{App, Server};
use crate::store::{SchemaProblem, Store};
use crate::telemetry::report;
use crate::worker::{self, shutdown};

pub(super) async fn run(context: &Context) -> anyhow::Result<Exit> {
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
    let server = match config.http.listen {
        Some(address) => Some(Server::bind(address).await?),
        None => None,
    };
    let lms = config.lms.clone();
    let serve = move |health, sources| async move {
        if let Some(server) = server {
            server.run(App::new(health, sources, lms), CancellationToken::new()).await;
        }
    };
    worker::run(config, engine, serve, stop).await?;
    tracing::info!(event = "worker.stopped", "worker stopped");
    Ok(Exit::Done)
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
