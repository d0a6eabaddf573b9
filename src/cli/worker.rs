//! `worker`: a parts list; what the parts do is in the worker room.

use super::{Context, Exit};
use crate::config::without_password;
use crate::store::{SchemaProblem, Store};
use crate::sync::Engine;
use crate::telemetry::report;
use crate::worker::{self, shutdown};

use secrecy::ExposeSecret;

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
    // Lazily: broker and database may both be away when the worker starts, and come later.
    let store = Store::connect_lazy(&config.database).await?.with_also(&config.sync.also);
    tokio::spawn(look_at_schema(store.clone()));
    let engine = Engine::new(store, context.catalog()?, config.sync.clear_after);
    worker::run(config, engine, stop).await?;
    tracing::info!(event = "worker.stopped", "worker stopped");
    Ok(Exit::Done)
}

/// Says what is wrong with the tables. The worker runs on: whoever migrates need not start it again; and a database
/// that is away now may come later.
async fn look_at_schema(store: Store) {
    match store.check_schema().await {
        Ok(()) | Err(SchemaProblem::Store(_)) => {}
        Err(problem) => {
            tracing::error!(
                event = "worker.schema_wrong",
                error = report(&problem),
                "the tables are not as needed"
            );
        }
    }
}
