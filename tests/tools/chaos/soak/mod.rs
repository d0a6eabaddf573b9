//! A day's worth in an hour: two workers, events all the time, and faults at random from all scenarios at once.
//!
//! Storms and calms take turns. In a storm, workers, broker, database and Catalog are each harmed by one fault after
//! the other, so that up to four faults overlap. A calm is longer than the delay queue of three minutes: what a storm
//! has parked meets no further storm, and climbs no further. At the end everything settles, and the checker judges
//! the whole of it from the database.
//!
//! `faults` what is done · `samples` (pure but for /proc) memory and descriptors

mod faults;
mod samples;

use std::time::Duration;

use test_support::Proxy;
use test_support::servers::{DatabaseServer, Rabbitmq};
use tokio::time::Instant;

use self::faults::{Lanes, Tally};
use self::samples::Sampler;
use crate::report::{Demand, Played};
use crate::scenarios::Result;
use crate::schedule::{Chance, Mix};
use crate::servers::Database;
use crate::stage::{Place, Setting, Stage, Which};

/// The longest soak: what has been sent is kept in memory until the checker has judged it.
pub(crate) const MAX_MINUTES: u64 = 240;

const STORM: Duration = Duration::from_secs(180);
const CALM: Duration = Duration::from_secs(210);
const EVENTS_A_SECOND: u32 = 20;
const RUNS: usize = 300;
const SETTLING: Duration = Duration::from_secs(600);
/// How long start, settling and judging may take together, beside the events.
const BESIDE: Duration = Duration::from_secs(1200);
/// RabbitMQ 3.10 loses a queue for good if it crashes before it has written down where the queue is.
const WRITTEN_DOWN: Duration = Duration::from_secs(3);

/// How long, on what, and by which chance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Soak {
    /// How long events flow; settling comes on top.
    pub(crate) length: Duration,
    /// Which database server.
    pub(crate) which: Which,
    /// For everything left to chance.
    pub(crate) seed: u64,
}

impl Soak {
    /// Plays it on servers of its own.
    pub(crate) async fn play(self, place: &Place) -> anyhow::Result<Played> {
        let rabbitmq = Rabbitmq::start(&place.root, None).await?;
        let (name, server) = match self.which {
            Which::Postgres => ("soak-postgres", DatabaseServer::postgres(&place.root, None).await?),
            Which::Mariadb => ("soak-mariadb", DatabaseServer::mariadb(&place.root, None, &[]).await?),
            Which::Sqlite => anyhow::bail!("only servers can be soaked"),
        };
        let database = Database::Server(server);
        let since = std::time::Instant::now();
        let setting = Setting { name, runs: RUNS, seed: self.seed };
        let mut stage = Stage::new(&rabbitmq, &database, place, setting).await?;
        let playing = self.on(&mut stage, rabbitmq, database);
        let result = match tokio::time::timeout(self.length + BESIDE, playing).await {
            Ok(result) => result,
            Err(_) => Err(anyhow::anyhow!("it has not ended {BESIDE:?} after its time")),
        };
        let notes = stage.load.notes();
        Ok(Played::new(name, "all faults at random, on two workers", result, notes, since.elapsed()))
    }

    async fn on(self, stage: &mut Stage, mut rabbitmq: Rabbitmq, mut database: Database) -> Result {
        let to_broker = Proxy::start(("127.0.0.1", rabbitmq.port)).await?;
        let to_database = Proxy::start(("127.0.0.1", database.port())).await?;
        stage.program.set("amqp.url", Rabbitmq::url_at(to_broker.port()));
        stage.program.set("database.url", stage.load.lms.worker_url_at(to_database.port())?);
        stage.program.set("reconcile.schedule", "0 */2 * * * *");
        stage.program.set("reconcile.light_schedule", "0 1/2 * * * *");
        stage.program.set("reconcile.delta_interval", "20s");
        // The Catalog's false nulls are seen more than once in so long a time, and would rightly clear a link.
        stage.program.set("sync.clear_after", "12h");
        // The first is never killed, so that its memory tells of the whole time.
        stage.start_worker().await?;
        stage.start_worker().await?;
        stage.warm_up().await?;
        tokio::time::sleep(WRITTEN_DOWN).await;

        let mix = Mix { edits: 0.4, wipes: 0.3, stale_saves: 0.05, poison: 0.005 };
        let events = usize::try_from(self.length.as_secs())? * EVENTS_A_SECOND as usize;
        let steps = stage.chance.steps(events, stage.load.runs, mix);
        let end = Instant::now() + self.length;
        let sampler = Sampler::new(self.length, &stage.workers);
        let tally = Tally::default();
        let (load, workers) = (&stage.load, &mut stage.workers);
        let lanes = Lanes { load, to_broker: &to_broker, to_database: &to_database, tally: &tally };
        let storms = self.storms(end, lanes, workers, &mut rabbitmq, &mut database, &sampler);
        let playing = async { tokio::try_join!(load.play_until(&steps, EVENTS_A_SECOND, Some(end)), storms) };
        tokio::select! {
            played = playing => { played?; }
            () = sampler.sample() => {}
        }
        load.note(format!("faults: {tally}"));
        for line in sampler.lines() {
            load.note(line);
        }
        stage.settle(SETTLING).await?;
        let verdict = stage.judge().await?;
        let mut demands = sampler.demands();
        demands.push(Demand::new("faults", tally.total().to_string(), tally.total() > 0));
        Ok((verdict, demands))
    }

    /// Storm and calm in turn, until the end.
    async fn storms(
        self,
        end: Instant,
        lanes: Lanes<'_>,
        workers: &mut [crate::worker::Worker],
        rabbitmq: &mut Rabbitmq,
        database: &mut Database,
        sampler: &Sampler,
    ) -> anyhow::Result<()> {
        // A soak of some minutes, to try it out, has a storm too.
        let storm = STORM.min(self.length / 2);
        let mut chances =
            ["workers", "broker", "database", "catalog"].map(|lane| Chance::new(self.seed, lane));
        let [of_workers, of_broker, of_database, of_catalog] = &mut chances;
        let began = Instant::now();
        while Instant::now() + storm <= end {
            let over = Instant::now() + storm;
            tokio::try_join!(
                lanes.harm_workers(of_workers, over, workers),
                lanes.harm_broker(of_broker, over, rabbitmq),
                lanes.harm_database(of_database, over, database),
                lanes.harm_catalog(of_catalog, over),
            )?;
            let minutes = began.elapsed().as_secs_f64() / 60.0;
            println!("after {minutes:.0} min: {} faults; {}", lanes.tally.total(), sampler.now());
            tokio::time::sleep_until((over + CALM).min(end)).await;
        }
        tokio::time::sleep_until(end).await;
        Ok(())
    }
}
