//! All that the program meets, for one test: a database, a Catalog, a topology on the broker, and settings that lead
//! there.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use course_sharing::broker::{Broker, Message, Publisher, Received, Topology};
use course_sharing::config::Amqp;
use course_sharing::store::LetterFilter;
use futures_util::FutureExt;
use lapin::message::BasicGetMessage;
use lapin::options::{BasicGetOptions, BasicRejectOptions};
use secrecy::ExposeSecret;
use test_support::program::variable;

use super::broker::{Rig, amqp};
use super::databases::{Kind, TestDatabase};
use super::process::{Ended, Program};
use super::wait_until;
use stand_in::{Auth, Runs, Setup, StandIn};

/// For anything that the program does at once.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// One test's world.
pub(crate) struct Stage {
    pub(crate) rig: Rig,
    pub(crate) database: TestDatabase,
    pub(crate) catalog: StandIn,
}

/// Runs a test on a stage of its own with an empty, open Catalog; deletes the queues whatever becomes of the test.
pub(crate) async fn with_stage(kind: Kind, test: impl AsyncFnOnce(&Stage)) {
    let setup = Setup { runs: Runs::default(), ..Setup::default() };
    with_catalog(kind, setup, test).await;
}

/// The same with another Catalog.
pub(crate) async fn with_catalog(kind: Kind, setup: Setup, test: impl AsyncFnOnce(&Stage)) {
    with_parts(kind, setup, amqp(), test).await;
}

/// The same with an empty, open Catalog, on another broker or virtual host.
pub(crate) async fn with_broker(kind: Kind, url: &str, test: impl AsyncFnOnce(&Stage)) {
    let setup = Setup { runs: Runs::default(), ..Setup::default() };
    with_parts(kind, setup, Amqp { url: url.into(), ..amqp() }, test).await;
}

async fn with_parts(kind: Kind, setup: Setup, amqp: Amqp, test: impl AsyncFnOnce(&Stage)) {
    let stage = Stage {
        rig: rig(amqp),
        database: TestDatabase::new(kind).await,
        catalog: StandIn::start(setup).await,
    };
    drop(stage.rig.connection().await);
    let outcome = AssertUnwindSafe(test(&stage)).catch_unwind().await;
    stage.rig.delete().await;
    match outcome {
        Ok(()) => stage.database.drop().await,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A topology as the program declares it; a rig's own has shorter delays.
fn rig(config: Amqp) -> Rig {
    let broker = Broker::new(&config).unwrap();
    let topology = Topology::new(&config);
    let publisher = Publisher::new(broker.clone());
    Rig { config, broker, topology, publisher }
}

impl Stage {
    /// The environment that leads here, with `more` over it, each as `section.key` and value.
    pub(crate) fn environment(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut settings = vec![
            ("database.url".to_owned(), self.database.url.clone()),
            ("database.max_connections".to_owned(), "4".to_owned()),
            ("amqp.url".to_owned(), self.rig.config.url.expose_secret().to_owned()),
            ("amqp.exchange".to_owned(), self.rig.config.exchange.clone()),
            ("amqp.queue".to_owned(), self.rig.config.queue.clone()),
            ("catalog.url".to_owned(), self.catalog.url()),
            ("http.listen".to_owned(), "127.0.0.1:0".to_owned()),
            ("reconcile.schedule".to_owned(), "off".to_owned()),
            ("reconcile.light_schedule".to_owned(), "off".to_owned()),
            ("reconcile.delta_interval".to_owned(), "off".to_owned()),
            ("heal.interval".to_owned(), "off".to_owned()),
            ("sync.min_interval".to_owned(), "0s".to_owned()),
        ];
        let auth = self.catalog.state().setup.auth.clone();
        if let Some(Auth { client_id, client_secret, .. }) = auth {
            settings.push(("catalog.token_url".to_owned(), self.catalog.token_url()));
            settings.push(("catalog.client_id".to_owned(), client_id));
            settings.push(("catalog.client_secret".to_owned(), client_secret));
        }
        settings.retain(|(key, _)| more.iter().all(|(other, _)| other != key));
        settings.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        settings.into_iter().map(|(key, value)| (variable(&key), value)).collect()
    }

    /// Runs a command to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(&[], arguments).await
    }

    /// The same, with other settings.
    pub(crate) async fn run_with(&self, settings: &[(&str, &str)], arguments: &[&str]) -> Ended {
        Program::start(arguments, &self.environment(settings)).ended().await
    }

    /// A worker that consumes.
    pub(crate) async fn worker(&self, settings: &[(&str, &str)]) -> Program {
        let worker = self.start_worker(settings);
        worker.until_metric("course_sharing_consumer_up", 1.0).await;
        worker
    }

    /// A worker that may still be looking for what it needs.
    pub(crate) fn start_worker(&self, settings: &[(&str, &str)]) -> Program {
        Program::start(&["worker"], &self.environment(settings))
    }

    /// An overview and its run in the Catalog.
    pub(crate) async fn course(&self, key: &str, link: Option<&str>, listed: Option<&str>) {
        self.database.insert_overview(key, link).await;
        self.catalog.put(key, listed);
    }

    /// Publishes by the events' exchange.
    pub(crate) async fn publish(&self, routing_key: &str, message: &Message) {
        self.rig.publisher.publish(&self.rig.config.exchange, routing_key, message).await.unwrap();
    }

    /// Publishes a `course-publish` in the native form.
    pub(crate) async fn publish_course(&self, key: &str) {
        self.rig.publish(&format!(r#"{{"course_id": "{key}"}}"#)).await;
    }

    /// Waits until an overview has this link.
    pub(crate) async fn until_link(&self, key: &str, link: Option<&str>) {
        let what = format!("{key} has {link:?}");
        let wanted = Some(link.map(str::to_owned));
        wait_until(SOON, &what, || async { self.database.link(key).await == wanted }).await;
    }

    /// Every dead letter that a worker has taken over, whole.
    pub(crate) async fn dead_letters(&self) -> Vec<Received> {
        let store = &self.database.store;
        let mut letters = Vec::new();
        for head in store.letters(&LetterFilter::default(), 0, 1_000).await.unwrap() {
            let letter = store.letter(head.id).await.unwrap().unwrap();
            let (properties, key) = (&letter.properties, &letter.routing_key);
            letters.push(Received::stored(properties, key, letter.body, letter.first_seen));
        }
        letters
    }

    /// The number of messages in the events queue and in all delay queues together, and of dead letters, in their
    /// queue and in the table.
    pub(crate) async fn ready(&self) -> (u32, u32, u32) {
        let (events, delayed, waiting) = self.rig.ready().await;
        let kept = self.database.store.count_letters(&LetterFilter::default()).await.unwrap();
        (events, delayed, waiting + u32::try_from(kept).unwrap())
    }

    pub(crate) async fn wait_for_ready(&self, events: u32, delayed: u32, dead: u32) {
        let what = format!("{events} in events, {delayed} delayed, {dead} dead");
        wait_until(SOON, &what, || async { self.ready().await == (events, delayed, dead) }).await;
    }

    /// Waits until so many dead letters are rows.
    pub(crate) async fn until_letters(&self, count: u64) {
        let all = LetterFilter::default();
        let letters = async || self.database.store.count_letters(&all).await.unwrap() == count;
        wait_until(SOON, &format!("{count} dead letters are rows"), letters).await;
    }

    /// The first message that waits in a delay queue; it stays there.
    pub(crate) async fn delayed(&self, seconds: u32) -> BasicGetMessage {
        let connection = self.rig.connection().await;
        let channel = connection.channel().await.unwrap();
        let queue = self.rig.topology.delay(seconds);
        let got = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await.unwrap();
        let message = got.unwrap_or_else(|| panic!("nothing in {queue}"));
        message.delivery.acker.reject(BasicRejectOptions { requeue: true }).await.unwrap();
        connection.close().await;
        message
    }
}
