//! What each scenario is played on: a database and queues of its own on the servers that all share, the Catalog,
//! the load, and the workers.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use test_support::servers::Rabbitmq;
use test_support::{free_port, until};
use tokio::sync::RwLock;

use crate::checker::{self, Verdict};
use crate::history::{HOST, History, now};
use crate::lms::Lms;
use crate::load::Load;
use crate::publisher::{Publisher, Sent};
use crate::queues::{self, Depths, Queues};
use crate::schedule::Chance;
use crate::servers::Database;
use crate::worker::{Program, Worker};
use stand_in::{Runs, Setup, StandIn};

/// Which database server a scenario runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Which {
    /// PostgreSQL.
    Postgres,
    /// MariaDB, as the LMS has it.
    Mariadb,
    /// SQLite, on a small disk.
    #[value(skip)]
    Sqlite,
}

/// The servers. Scenarios that only use one share it; one that harms it has it for itself.
pub(crate) struct Servers {
    pub(crate) rabbitmq: RwLock<Rabbitmq>,
    pub(crate) postgres: RwLock<Database>,
    pub(crate) mariadb: RwLock<Database>,
    pub(crate) sqlite: RwLock<Database>,
}

impl Servers {
    /// The one of the two.
    pub(crate) fn database(&self, which: Which) -> &RwLock<Database> {
        match which {
            Which::Postgres => &self.postgres,
            Which::Mariadb => &self.mariadb,
            Which::Sqlite => &self.sqlite,
        }
    }
}

/// Where things are on this machine.
pub(crate) struct Place {
    /// The program under test.
    pub(crate) binary: PathBuf,
    /// Where servers, logs and histories go.
    pub(crate) root: PathBuf,
}

/// How a scenario wants its stage.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Its name; queues and database are called after it.
    pub(crate) name: &'static str,
    /// How many runs.
    pub(crate) runs: usize,
    /// For everything left to chance.
    pub(crate) seed: u64,
}

/// One scenario's stage.
pub(crate) struct Stage {
    pub(crate) load: Load,
    pub(crate) workers: Vec<Worker>,
    pub(crate) queues: Queues,
    pub(crate) chance: Chance,
    pub(crate) program: Program,
    directory: PathBuf,
}

/// How often a stage's settings let the worker heal.
pub(crate) const HEAL: Duration = Duration::from_secs(5);

/// How long a worker holds an event back whose run it has asked for just now.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

impl Stage {
    /// Sets it up, with the tables migrated by the program itself; no worker runs yet.
    pub(crate) async fn new(
        rabbitmq: &Rabbitmq,
        database: &Database,
        place: &Place,
        setting: Setting,
    ) -> anyhow::Result<Self> {
        let directory = place.root.join(setting.name);
        std::fs::create_dir_all(&directory)?;
        let schema = format!("chaos_{}", setting.name.replace('-', "_"));
        let lms = Lms::create(database, &schema).await?;
        let catalog =
            StandIn::start(Setup { runs: Runs::default(), seed: setting.seed, ..Setup::default() }).await;

        let mut program = Program::new(&place.binary, &directory);
        program.set("database.url", &lms.worker_url);
        program.set("amqp.url", rabbitmq.url());
        program.set("amqp.exchange", setting.name);
        program.set("amqp.queue", format!("{}.events", setting.name));
        program.set("catalog.url", catalog.url());
        program.set("marketing_url.allowed_hosts", HOST);
        program.set("sync.min_interval", format!("{}s", MIN_INTERVAL.as_secs()));
        program.set("heal.interval", format!("{}s", HEAL.as_secs()));
        program.set("reconcile.schedule", "off");
        program.set("reconcile.light_schedule", "off");
        program.set("reconcile.delta_interval", "off");
        program.set("http.listen", "off");
        program.run(&["migrate", "--create-overview-table"]).await.context("the tables cannot be made")?;
        lms.watch(setting.runs).await?;

        let publisher = Publisher::new(rabbitmq.url(), setting.name.to_owned());
        Ok(Self {
            load: Load::new(lms, catalog, publisher, setting.runs),
            workers: Vec::new(),
            queues: Queues::new(rabbitmq.url(), setting.name.to_owned()),
            chance: Chance::new(setting.seed, setting.name),
            program,
            directory,
        })
    }

    /// Has workers that are started from now on listen for HTTP; where.
    pub(crate) fn open_http(&mut self) -> SocketAddr {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        self.program.set("http.listen", address.to_string());
        address
    }

    /// How many dead letters there are now.
    pub(crate) async fn dead(&self) -> anyhow::Result<usize> {
        let kept = self.load.lms.dead_letters().await?.len();
        Ok(kept + self.queues.depths().await?.dead as usize)
    }

    /// Starts a worker with the stage's settings, and waits until it consumes.
    pub(crate) async fn start_worker(&mut self) -> anyhow::Result<()> {
        let name = format!("worker-{}", self.workers.len() + 1);
        self.workers.push(Worker::start(self.program.clone(), &name)?);
        self.queues.consumers(u32::try_from(self.workers.len())?).await
    }

    /// Starts a worker and makes every URL known to it.
    pub(crate) async fn begin(&mut self) -> anyhow::Result<()> {
        self.start_worker().await?;
        self.warm_up().await
    }

    /// Makes every URL known to the worker.
    pub(crate) async fn warm_up(&mut self) -> anyhow::Result<()> {
        self.load.warm_up().await;
        until("every run gets its first URL", Duration::from_secs(120), async || self.load.is_right().await)
            .await?;
        Ok(())
    }

    /// Waits until nothing waits any more and every link is right, at most for `limit`: what is missing then is the
    /// checker's to judge.
    pub(crate) async fn settle(&self, limit: Duration) -> anyhow::Result<()> {
        // What a worker has in hand shows in no queue: for longer than it holds an event back, nothing may show.
        let mut quiet_since: Option<Instant> = None;
        let quiet = async || {
            let depths = self.queues.depths().await;
            // What is about a course that is not here waits for it.
            let others = self.load.elsewhere();
            let empty = depths.is_ok_and(|Depths { events, delayed, .. }| events == 0 && delayed <= others);
            if !empty || !self.load.is_right().await? {
                quiet_since = None;
                return Ok(false);
            }
            Ok(quiet_since.get_or_insert_with(Instant::now).elapsed() > 2 * MIN_INTERVAL)
        };
        if until("everything settles", limit, quiet).await.is_err() {
            self.load.note(format!("not settled within {limit:?}"));
        }
        Ok(())
    }

    /// Stops the workers and judges what happened.
    pub(crate) async fn judge(&mut self) -> anyhow::Result<Verdict> {
        for worker in self.workers.iter_mut().filter(|worker| worker.is_started()) {
            worker.terminate().await?;
        }
        let (catalog, sent) = self.load.told().await;
        let (waiting, mut dead) = self.queues.contents().await?;
        for (properties, body) in self.load.lms.dead_letters().await? {
            dead.push(queues::dead_letter(&properties, &body)?);
        }
        let mut history = History {
            writes: self.load.lms.writes().await?,
            columns: self.load.lms.columns(self.load.runs).await?,
            catalog,
            waiting,
            dead,
            ended_at: now(),
            ..History::default()
        };
        for sent in sent {
            match sent {
                Sent::Good(event) => history.events.push(event),
                Sent::Bad(poison) => history.poison.push(poison),
                // It has no link that could be right or wrong.
                Sent::Elsewhere(_) => {}
            }
        }
        // The evidence, for whoever wants to know how a verdict came about.
        let mut evidence = BufWriter::new(File::create(self.directory.join("history.txt"))?);
        write!(evidence, "{history:#?}")?;
        evidence.flush()?;
        Ok(checker::judge(&history))
    }
}
