//! What every bench stands on: a database, queues, a Catalog stand-in in this process, and the worker beside them.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use chrono::Utc;
use course_sharing::event::{Event, EventKind};
use course_sharing::model::course_key::CourseKey;

use super::database::{Database, Kind, course};
use super::machine::Busy;
use super::process::Program;
use super::queue::Queues;
use super::report::{Report, grouped, mib};
use stand_in::{Runs, Setup, StandIn};
use test_support::process::Usage;
use test_support::program::variable;

/// How long a worker may take to consume.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Everything around the worker.
pub(crate) struct Stage {
    pub(crate) database: Database,
    pub(crate) queues: Queues,
    pub(crate) catalog: StandIn,
    pub(crate) dir: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// A worker at work, and what was counted before it began.
pub(crate) struct Run {
    worker: Program,
    pub(crate) began: Instant,
    before: Usage,
    busy: Busy,
    statements: Option<u64>,
    requests: u64,
}

/// What a worker's work came to.
pub(crate) struct Cost {
    pub(crate) requests: u64,
    statements: Option<u64>,
    cpu: Duration,
    pub(crate) peak: u64,
    pub(crate) resident: u64,
    busy: f64,
    lost: usize,
    counted: &'static str,
}

impl Stage {
    /// Sets it up; `settings` as in the environment, less the prefix.
    pub(crate) async fn set(kind: Kind, catalog: Setup, settings: &[(&str, String)]) -> anyhow::Result<Self> {
        let database = Database::new(kind).await?;
        let queues = Queues::new().await?;
        let catalog = StandIn::start(catalog).await;
        let mut environment = vec![
            ("DATABASE__URL", database.url.clone()),
            ("CATALOG__URL", catalog.url()),
            ("AMQP__QUEUE", queues.topology.events.clone()),
            ("AMQP__EXCHANGE", queues.topology.exchange.clone()),
            ("HTTP__LISTEN", "off".to_owned()),
            ("RECONCILE__SCHEDULE", "off".to_owned()),
            ("RECONCILE__LIGHT_SCHEDULE", "off".to_owned()),
            ("RECONCILE__DELTA_INTERVAL", "off".to_owned()),
            // What a bench sees restored has been restored by its event.
            ("HEAL__INTERVAL", "off".to_owned()),
        ];
        environment.extend(settings.iter().cloned());
        let environment = environment
            .into_iter()
            .map(|(key, value)| (variable(key), value))
            .collect::<std::collections::BTreeMap<_, _>>();
        let dir = tempfile::Builder::new().prefix("course-sharing-bench-").tempdir()?;
        Ok(Self { database, queues, catalog, dir, environment: environment.into_iter().collect() })
    }

    /// Sets one more variable for what is started from now on.
    pub(crate) fn tell(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts `course-sharing <arguments>` on this stage.
    pub(crate) fn program(&self, arguments: &[&str]) -> anyhow::Result<Program> {
        Program::start(arguments, &self.environment, self.dir.path())
    }

    /// Starts a worker; the clock runs from when it consumes.
    pub(crate) async fn worker(&self) -> anyhow::Result<Run> {
        // As the worker before this one has left it: to note thousands of blank links for the first time is no part of
        // what is measured.
        self.database.store.note_blanks(Duration::ZERO).await?;
        let statements = self.database.asked_of_it().await?;
        let requests = self.catalog.stats().requests;
        let mut worker = self.program(&["worker"])?;
        let began = worker.attached(START_LIMIT).await?;
        Ok(Run { before: worker.usage(), worker, began, busy: Busy::begin(), statements, requests })
    }

    /// Publishes `count` events, each about run `number(n)`.
    pub(crate) async fn publish_all(
        &self,
        kind: EventKind,
        count: u32,
        number: impl Fn(u32) -> u32,
    ) -> anyhow::Result<Duration> {
        let bodies = (0..count).map(|n| body(kind, number(n)));
        self.queues.publish_all(kind.as_str(), bodies).await
    }

    /// Waits until `found` says `wanted`, looking more often towards the end; when it came to be.
    pub(crate) async fn until<F, Fut>(
        &self,
        wanted: u64,
        limit: Duration,
        found: F,
    ) -> anyhow::Result<Instant>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = anyhow::Result<u64>>,
    {
        let deadline = Instant::now() + limit;
        loop {
            let asked = Instant::now();
            let now = found().await?;
            if now >= wanted {
                return Ok(Instant::now());
            }
            if Instant::now() > deadline {
                anyhow::bail!("{now} of {wanted} after {} s", limit.as_secs());
            }
            let nearly = now.saturating_mul(10) >= wanted.saturating_mul(9);
            let pause = Duration::from_millis(if nearly { 5 } else { 25 });
            // Looking counts a whole table; it must not take what the worker could have.
            tokio::time::sleep(pause.max(asked.elapsed() * 10)).await;
        }
    }

    /// Drops and deletes everything.
    pub(crate) async fn clear(self) -> anyhow::Result<()> {
        self.queues.delete().await?;
        self.database.drop().await
    }
}

impl Run {
    /// What the worker has used since it began to consume.
    pub(crate) fn usage(&mut self) -> Usage {
        let now = self.worker.usage();
        Usage { cpu: now.cpu.saturating_sub(self.before.cpu), ..now }
    }

    /// How many lines of the log tell of this event.
    pub(crate) fn told(&self, event: &str) -> usize {
        self.worker.told(event)
    }

    /// Why it may be stuck.
    pub(crate) fn log_end(&self) -> String {
        self.worker.log_end()
    }

    /// Stops the worker, and says what its work came to; `time` is how long the part took that is reported.
    pub(crate) async fn stop(mut self, stage: &Stage, time: Duration) -> anyhow::Result<Cost> {
        let busy = self.busy.cores(time.max(self.began.elapsed()));
        let resident = self.worker.usage().resident;
        // Nobody cut a wire here: a consumer that had to begin anew has broken off by its own fault.
        let lost = self.worker.told("consumer.detached");
        let after = self.worker.stop().await.context("stopping the worker")?;
        let statements = stage.database.asked_of_it().await?;
        Ok(Cost {
            requests: stage.catalog.stats().requests - self.requests,
            statements: statements.zip(self.statements).map(|(after, before)| after.saturating_sub(before)),
            cpu: after.cpu.saturating_sub(self.before.cpu),
            peak: after.peak,
            resident,
            busy,
            lost,
            counted: stage.database.counted(),
        })
    }
}

impl Cost {
    /// The rows that every bench has. `events`: what the statements are shared by.
    pub(crate) fn tell(&self, report: &mut Report, events: u64) {
        let per = |count: u64| events as f64 / count.max(1) as f64;
        report.tell("requests", format!("{} (1 for {:.1})", self.requests, per(self.requests)));
        let statements = self.statements.map_or("n/a".to_owned(), |count| {
            format!("{} (1 for {:.1}), start and stop included", grouped(count as f64), per(count))
        });
        report.tell(self.counted, statements);
        let cpu = self.cpu.as_secs_f64();
        let each = cpu * 1e6 / events.max(1) as f64;
        report.tell("CPU of the worker", format!("{cpu:.2} s, {each:.0} µs each"));
        let peak = mib(self.peak);
        report.judge("peak memory of the worker", peak, "64 MiB", self.peak <= 64 * 1024 * 1024);
        report.judge("times that the consumer broke off", self.lost.to_string(), "0", self.lost == 0);
        report.tell("cores busy meanwhile, everybody's", format!("{:.1}", self.busy));
    }
}

/// An event's body, as Studio would send it.
pub(crate) fn body(kind: EventKind, number: u32) -> Vec<u8> {
    let course = CourseKey::parse(&course(number)).expect("a made-up key is a key");
    Event { kind, course, time: Some(Utc::now()), id: Some(format!("bench-{number}")) }.to_json()
}

/// A Catalog that lists the first `count` runs, with URLs of this edition.
pub(crate) fn runs(count: u32, edition: &str) -> Runs {
    Runs::generated(count).of_edition(edition)
}
