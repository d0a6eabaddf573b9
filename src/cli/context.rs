//! Makes the parts that commands need from the configuration: database, Catalog, engine.

use anyhow::Context as _;

use crate::catalog::Client;
use crate::config::Config;
use crate::engine::Engine;
use crate::store::Store;

/// The configuration.
pub(super) struct Context {
    pub(super) config: Config,
}

impl Context {
    pub(super) fn new(config: Config) -> Self {
        Self { config }
    }

    /// The database, connected; fails if its schema is not the one that this version needs.
    pub(super) async fn store(&self) -> anyhow::Result<Store> {
        let store = Store::connect(&self.config.database).await?.with_also(&self.config.sync.also);
        store.check_schema().await?;
        Ok(store)
    }

    /// A client for the Catalog. It sends nothing yet.
    pub(super) fn catalog(&self) -> anyhow::Result<Client> {
        Client::new(&self.config.catalog, self.config.marketing_url.policy(), &self.config.sync.also)
            .context("cannot make a Catalog client")
    }

    /// The engine on both.
    pub(super) async fn engine(&self) -> anyhow::Result<Engine> {
        Ok(Engine::new(self.store().await?, self.catalog()?, self.config.sync.clear_after))
    }
}
