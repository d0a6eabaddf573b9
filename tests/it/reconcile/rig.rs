//! A database, a Catalog, and a pass between them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use course_sharing::catalog::Client;
use course_sharing::config;
use course_sharing::engine::{Change, Engine};
use course_sharing::model::extra_columns::AlsoColumn;
use course_sharing::model::marketing_url::UrlPolicy;
use course_sharing::pass::{Options, Pass, PassError, Progress, Report, Silent};
use course_sharing::store::PassKind;
use sea_orm::{ConnectionTrait, Statement};
use tokio_util::sync::CancellationToken;

use crate::support::databases::{Kind, TestDatabase};
use stand_in::{Run, Runs, Setup, StandIn};

/// Runs a page in most tests: a short way down to one.
pub(crate) const PAGE: u32 = 16;

pub(crate) struct Rig {
    pub(crate) database: TestDatabase,
    pub(crate) catalog: StandIn,
    pub(crate) reconcile: config::Reconcile,
    pub(crate) at_once: usize,
    pub(crate) also: Vec<AlsoColumn>,
    pub(crate) policy: UrlPolicy,
    pub(crate) requests_per_hour: u32,
}

/// Every change that a dry run tells of.
#[derive(Default)]
pub(crate) struct Told(pub(crate) Mutex<Vec<Change>>);

impl Progress for Told {
    fn change(&self, change: &Change) {
        self.0.lock().unwrap().push(change.clone());
    }
}

impl Rig {
    /// An LMS that has an overview, without a link, of every run of this Catalog.
    pub(crate) async fn new(kind: Kind, runs: Runs) -> Self {
        let database = TestDatabase::new(kind).await;
        let keys = runs.keys();
        let catalog = StandIn::start(Setup { runs, ..Setup::default() }).await;
        let reconcile =
            config::Reconcile { page_size: config::PageSize::Fixed(PAGE), ..config::Reconcile::default() };
        let policy = UrlPolicy::default();
        let rig =
            Self { database, catalog, reconcile, at_once: 2, also: Vec::new(), policy, requests_per_hour: 0 };
        rig.insert_overviews(&keys).await;
        rig
    }

    /// So many made-up runs.
    pub(crate) async fn generated(kind: Kind, count: u32) -> Self {
        Self::new(kind, Runs::generated(count)).await
    }

    pub(crate) async fn insert_overviews(&self, keys: &[String]) {
        for keys in keys.chunks(500) {
            let rows: Vec<String> = keys.iter().map(|key| format!("('{key}', NULL)")).collect();
            // The LMS's table has many columns without a default; IGNORE fills them.
            let insert = if self.database.kind == Kind::Mysql { "INSERT IGNORE" } else { "INSERT" };
            let into = "INTO course_overviews_courseoverview (id, marketing_url) VALUES";
            self.database.execute(&format!("{insert} {into} {}", rows.join(", "))).await;
        }
    }

    pub(crate) fn pass(&self) -> Pass {
        self.pass_of(self.engine())
    }

    /// A pass with this engine.
    pub(crate) fn pass_of(&self, engine: Engine) -> Pass {
        Pass::new(engine, &self.reconcile, &self.settings())
    }

    pub(crate) fn engine(&self) -> Engine {
        let client = Client::new(&self.settings(), self.policy.clone(), &self.also).unwrap();
        let store = self.database.store.clone().with_also(&self.also);
        Engine::new(store, client, config::Sync::default().clear_after)
    }

    fn settings(&self) -> config::Catalog {
        config::Catalog {
            url: self.catalog.url().parse().unwrap(),
            timeout: Duration::from_secs(5),
            concurrency: self.at_once,
            requests_per_hour: self.requests_per_hour,
            max_body_bytes: 1024 * 1024,
            ..config::Catalog::default()
        }
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            kind: PassKind::Full,
            page_size: self.reconcile.page_size,
            dry_run: false,
            allow_mass_change: false,
        }
    }

    pub(crate) async fn try_run(
        &self,
        options: Options,
        progress: &dyn Progress,
    ) -> Result<Report, PassError> {
        let report = self.pass().run(options, progress, CancellationToken::new()).await;
        if let Ok(report) = &report {
            println!("{}", report.human());
        }
        report
    }

    pub(crate) async fn run(&self) -> Report {
        self.try_run(self.options(), &Silent).await.unwrap()
    }

    pub(crate) async fn run_letting_through(&self) -> Report {
        self.try_run(Options { allow_mass_change: true, ..self.options() }, &Silent).await.unwrap()
    }

    pub(crate) async fn dry_run(&self) -> (Report, Vec<Change>) {
        let told = Told::default();
        let report = self.try_run(Options { dry_run: true, ..self.options() }, &told).await.unwrap();
        let mut changes = told.0.into_inner().unwrap();
        changes.sort_by(|a, b| a.key.cmp(&b.key));
        (report, changes)
    }

    /// Every overview's link.
    pub(crate) async fn links(&self) -> BTreeMap<String, Option<String>> {
        let rows = self.rows("SELECT id, marketing_url FROM course_overviews_courseoverview").await;
        rows.iter()
            .map(|row| (row.try_get("", "id").unwrap(), row.try_get("", "marketing_url").unwrap()))
            .collect()
    }

    pub(crate) async fn rows(&self, sql: &str) -> Vec<sea_orm::QueryResult> {
        let db = self.database.owner.connection();
        db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap()
    }

    /// What the Catalog lists.
    pub(crate) fn listed(&self) -> BTreeMap<String, Option<String>> {
        let state = self.catalog.state();
        let runs = (0..state.setup.runs.count()).filter_map(|place| state.setup.runs.at(place));
        runs.map(|run: Run| (run.key, run.url)).collect()
    }

    pub(crate) async fn assert_links_are_as_listed(&self) {
        let (links, listed) = (self.links().await, self.listed());
        for (key, link) in &links {
            let parent = key.split_once("+ccx@").map(|(run, _)| run.replacen("ccx-v1:", "course-v1:", 1));
            let by_parent = parent.and_then(|parent| listed.get(&parent)).is_some_and(Option::is_some);
            if let Some(url) = listed.get(key).filter(|_| !by_parent) {
                assert_eq!(link, url, "{key} on {:?}", self.database.kind);
            }
        }
    }

    /// Gives every run of the Catalog a URL on this host.
    pub(crate) fn rehost(&self, host: &str) {
        let mut state = self.catalog.state();
        let runs: Vec<Run> = (0..state.setup.runs.count()).filter_map(|p| state.setup.runs.at(p)).collect();
        for run in runs {
            let url = run.url.map(|url| {
                let path = url.split_once("://").unwrap().1.split_once('/').unwrap().1.to_owned();
                format!("https://{host}/{path}")
            });
            state.setup.runs.put(Run { url, ..run });
        }
    }

    /// As if every null that waits to be seen again had been seen an hour ago.
    pub(crate) async fn long_ago(&self) {
        let now = self.database.store.now().await.unwrap() - chrono::TimeDelta::hours(1);
        let hour_ago = now.format("%Y-%m-%d %H:%M:%S%.6f");
        let zone = if self.database.kind == Kind::Mysql { "" } else { "+00:00" };
        self.database
            .execute(&format!(
                "UPDATE course_sharing_ledger SET pending_clear_since = '{hour_ago}{zone}', observed_at = '{hour_ago}{zone}' \
                 WHERE pending_clear_since IS NOT NULL AND cleared_at IS NULL"
            ))
            .await;
    }

    pub(crate) async fn drop(self) {
        self.database.drop().await;
    }
}
