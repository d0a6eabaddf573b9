//! What the demo plays on: a database in a folder of its own, the recorded Catalog, the worker, names on the broker.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::Utc;
use course_sharing::broker::{Broker, Message, Publisher, Role, Topology};
use course_sharing::config::Config;
use course_sharing::event::{Event, EventKind};
use course_sharing::model::course_key::CourseKey;
use course_sharing::store::Store;
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use stand_in::{Runs, Setup, StandIn};
use test_support::database::TABLE;
use test_support::program::{beside, variable};
use test_support::{Process, Signal, free_port, http, until};

/// Our own names on the broker, so that the demo disturbs nobody who uses the usual ones.
const QUEUE: &str = "course-sharing-demo.events";
const EXCHANGE: &str = "course-sharing-demo";
/// The worker promises to end within 20 s of a SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(25);

pub(crate) struct Stage {
    pub(crate) catalog: StandIn,
    /// What the recorded Catalog lists.
    listed: BTreeMap<String, Option<String>>,
    config: Config,
    environment: Vec<(String, String)>,
    store: Store,
    publisher: Publisher,
    worker: Option<Process>,
    port: u16,
    dir: tempfile::TempDir,
}

impl Stage {
    /// Sets it up, as if no demo had ever been here.
    pub(crate) async fn set() -> Self {
        let runs = Runs::recorded();
        let listed =
            runs.keys().into_iter().enumerate().map(|(n, key)| (key, runs.at(n).unwrap().url)).collect();
        let catalog = StandIn::start(Setup { runs, ..Setup::default() }).await;
        let dir = tempfile::Builder::new().prefix("course-sharing-demo-").tempdir().unwrap();
        let port = free_port();
        let mut environment = vec![
            ("DATABASE__URL", format!("sqlite://{}/demo.db?mode=rwc", dir.path().display())),
            ("CATALOG__URL", catalog.url()),
            ("AMQP__QUEUE", QUEUE.to_owned()),
            ("AMQP__EXCHANGE", EXCHANGE.to_owned()),
            ("HTTP__LISTEN", format!("127.0.0.1:{port}")),
            ("LMS__ROOT_URL", "https://courses.campus.example".to_owned()),
        ]
        .into_iter()
        .map(|(key, value)| (variable(key), value))
        .collect::<Vec<_>>();
        if let Ok(url) = std::env::var("COURSE_SHARING_AMQP__URL") {
            environment.push(("COURSE_SHARING_AMQP__URL".to_owned(), url));
        }
        let variables = environment.iter().map(|(name, value)| (name.into(), value.into()));
        let config = Config::load(None, variables, &[]).unwrap();
        let broker = Broker::new(&config.amqp).unwrap();
        println!("   broker    {}", broker.address());
        println!("   database  SQLite, in {}", dir.path().display());
        println!("   catalog   {}: the recorded answers of a course-discovery\n", catalog.url());
        let store = Store::connect(&config.database).await.unwrap();
        let up = migration::Direction::Up { create_overview_table: true, restore_trigger: false };
        migration::migrate(&store.connection(), up).await.unwrap();
        let publisher = Publisher::new(broker);
        let stage = Self { catalog, listed, config, environment, store, publisher, worker: None, port, dir };
        stage.forget_queues().await;
        for course in stage.listed.keys() {
            stage.sql(format!("INSERT INTO {TABLE} (id) VALUES (?)"), course).await;
        }
        stage
    }

    /// What another demo has left on the broker, or this one.
    async fn forget_queues(&self) {
        let broker = Broker::new(&self.config.amqp).unwrap();
        let connection = broker.open(Role::Operator).await.unwrap_or_else(|error| panic!("{error}"));
        let topology = Topology::new(&self.config.amqp);
        let delays = topology.steps.iter().map(|step| topology.delay(*step));
        for queue in delays.chain([topology.events.clone(), topology.dead.clone()]) {
            let channel = connection.channel().await.unwrap();
            channel.queue_delete(queue.into(), Default::default()).await.unwrap();
        }
        let channel = connection.channel().await.unwrap();
        channel.exchange_delete(EXCHANGE.into(), Default::default()).await.unwrap();
        connection.close().await;
    }

    /// Runs a command of the program; whether it exited 0, and what it printed.
    pub(crate) fn program(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.command().args(arguments).stderr(Stdio::null()).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts the worker and waits until it is ready.
    pub(crate) async fn start_worker(&mut self, limit: Duration) -> bool {
        let log = self.dir.path().join("worker.log");
        let worker = Process::start("the worker", self.command().arg("worker"), &log).unwrap();
        let worker = self.worker.insert(worker);
        let address = ("127.0.0.1", self.port);
        let is_at_work = async || {
            let ready = http::get(address, "/readyz").await.is_ok_and(|ready| ready.status == 200);
            let metrics =
                http::get(address, "/metrics").await.map(|metrics| metrics.body).unwrap_or_default();
            Ok(ready && http::metric(&metrics, "course_sharing_consumer_up") == Some(1.0))
        };
        if let Err(error) = until("the worker is ready", limit, is_at_work).await {
            println!("   NOT so: {error}; its log:\n\n{}", worker.last_words());
            return false;
        }
        // Opens our own connection to the broker, so that what is timed later is the event alone.
        let library = Message::json(br#"{"course_id": "library-v1:demo+first"}"#.to_vec());
        self.publisher.publish(EXCHANGE, "course-publish", &library).await.is_ok()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(beside().unwrap());
        command.envs(self.environment.clone());
        command
    }

    pub(crate) async fn publish(&self, kind: EventKind, course: &str) {
        let event =
            Event { kind, course: CourseKey::parse(course).unwrap(), time: Some(Utc::now()), id: None };
        self.publisher.publish(EXCHANGE, kind.as_str(), &Message::json(event.to_json())).await.unwrap();
    }

    /// What an LMS does when it makes an overview anew: the row goes, and comes back without what it does not know.
    pub(crate) async fn recreate_overview(&self, course: &str) {
        self.sql(format!("DELETE FROM {TABLE} WHERE id = ?"), course).await;
        self.sql(format!("INSERT INTO {TABLE} (id) VALUES (?)"), course).await;
    }

    pub(crate) async fn link(&self, course: &str) -> Option<String> {
        let course = CourseKey::parse(course).unwrap();
        let overviews = self.store.overviews(std::slice::from_ref(&course)).await.unwrap();
        overviews.get(&course).and_then(|overview| overview.marketing_url.clone())
    }

    pub(crate) async fn blanks(&self) -> i64 {
        self.store.counts().await.unwrap().blank
    }

    /// Courses whose link is not what the Catalog lists. A custom course shares its parent's.
    pub(crate) async fn wrong_links(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (course, own) in &self.listed {
            let run = CourseKey::parse(course).unwrap().run_key();
            // A custom course has the URL of its parent, and its own where the parent has none.
            let expected = self.listed.get(run.as_str()).cloned().flatten().or_else(|| own.clone());
            if self.link(course).await != expected {
                wrong.push(course.clone());
            }
        }
        wrong
    }

    pub(crate) fn courses_with_links(&self, count: usize) -> Vec<String> {
        let linked = self.listed.iter().filter(|(key, url)| url.is_some() && key.starts_with("course-v1:"));
        linked.map(|(key, _)| key.clone()).take(count).collect()
    }

    /// What to look at while the worker runs.
    pub(crate) fn invite(&self) {
        println!(
            "   The worker runs on. Look at http://127.0.0.1:{}/ or its log, {}/worker.log;",
            self.port,
            self.dir.path().display()
        );
        println!("   or wipe a link and see it healed within the minute. Ctrl-C ends the demo.");
    }

    /// Stops the worker as an operator would, and leaves nothing behind; false if it did not stop well.
    pub(crate) async fn clear(mut self) -> bool {
        let mut stopped_well = true;
        if let Some(mut worker) = self.worker.take() {
            let _ = worker.signal(Signal::Term);
            stopped_well = worker.wait(STOP_LIMIT).await.is_ok_and(|status| status.success());
        }
        self.publisher.close().await;
        self.forget_queues().await;
        stopped_well
    }

    async fn sql(&self, sql: String, course: &str) {
        let statement = Statement::from_sql_and_values(DbBackend::Sqlite, sql, [course.into()]);
        self.store.connection().execute_raw(statement).await.unwrap();
    }
}
