//! What commands share: the parts that they need, by the configuration; courses as arguments.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use crate::catalog::Client;
use crate::config::{Config, ConfigError, Settings};
use crate::engine::Engine;
use crate::model::course_key::CourseKey;
use crate::store::Store;

/// The form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people
    Human,
    /// Exactly one JSON document
    Json,
}

#[derive(Debug, Args)]
pub(super) struct Courses {
    /// Course keys, like course-v1:edX+DemoX+2026
    #[arg(required = true, value_name = "COURSE-ID")]
    pub(super) courses: Vec<CourseKey>,
}

/// What the configuration is read from, beside the environment.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) file: Option<PathBuf>,
    /// `--set`.
    pub(super) flags: Vec<String>,
}

impl Source {
    /// What is set there now.
    pub(super) fn read(&self) -> Result<Settings, ConfigError> {
        Settings::read(self.file.as_deref(), std::env::vars_os(), &self.flags)
    }
}

/// The configuration, and the form of what is printed.
pub(super) struct Context {
    pub(super) config: Config,
    /// Where each value of it was set.
    pub(super) settings: Settings,
    pub(super) source: Source,
    pub(super) output: Output,
}

impl Context {
    /// The database, connected; fails if its schema is not the one that this version needs.
    pub(super) async fn store(&self) -> anyhow::Result<Store> {
        let store = Store::connect(&self.config.database).await?.with_also(&self.config.sync.also);
        store.check_schema().await?;
        Ok(store)
    }

    /// A client for the Catalog. It sends nothing yet.
    pub(super) fn catalog(&self) -> anyhow::Result<Client> {
        Client::new(&self.config.catalog, self.config.marketing_url.clone(), &self.config.sync.also)
            .context("cannot make a Catalog client")
    }

    /// The engine on both.
    pub(super) async fn engine(&self) -> anyhow::Result<Engine> {
        Ok(Engine::new(self.store().await?, self.catalog()?, self.config.sync.clear_after))
    }
}
