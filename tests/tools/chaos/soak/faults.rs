//! What is done in a storm. Each victim has a lane of its own: within it one fault follows the other, and each is
//! over before the next, so that the victim can recover; the lanes overlap as chance has it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use test_support::Proxy;
use test_support::servers::{Down, Rabbitmq};
use tokio::time::Instant;

use crate::load::Load;
use crate::schedule::Chance;
use crate::servers::Database;
use crate::worker::Worker;
use stand_in::{Fault, Ratios, RetryAfter};

/// Milliseconds that a fault lasts, and that a victim has rest before it.
const LASTING: (u64, u64) = (500, 12_000);
const REST: (u64, u64) = (1_000, 12_000);
/// A younger process does not listen for SIGTERM yet, and dies of it as any other does.
const GROWN_UP: Duration = Duration::from_secs(5);
const SLOW: Duration = Duration::from_secs(3);
const MORE_THAN_EVER_ASKED: usize = 100_000;

#[derive(Debug, Clone, Copy)]
enum OfWorkers {
    Kill,
    Terminate,
    Freeze(usize),
}

#[derive(Debug, Clone, Copy)]
enum OfBroker {
    Restart(Down),
    Freeze,
    Cut,
    Silence,
}

#[derive(Debug, Clone, Copy)]
enum OfDatabase {
    Restart(Down),
    Lock,
    ReadOnly,
    Cut,
    Silence,
    Slow,
}

#[derive(Debug, Clone, Copy)]
enum OfCatalog {
    Away,
    Closed,
    Hang,
    Throttled,
    Mixed,
}

/// How often each fault was played.
#[derive(Default)]
pub(super) struct Tally(Mutex<BTreeMap<String, usize>>);

impl Tally {
    fn add(&self, lane: &str, fault: impl fmt::Debug) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(format!("{lane} {fault:?}")).or_default() += 1;
    }

    /// All of them.
    pub(super) fn total(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let each: Vec<String> = counts.iter().map(|(what, count)| format!("{count} × {what}")).collect();
        f.write_str(&each.join(", "))
    }
}

/// What the lanes share.
#[derive(Clone, Copy)]
pub(super) struct Lanes<'a> {
    pub(super) load: &'a Load,
    pub(super) to_broker: &'a Proxy,
    pub(super) to_database: &'a Proxy,
    pub(super) tally: &'a Tally,
}

impl Lanes<'_> {
    /// Kills and stops the last worker; freezes any.
    pub(super) async fn harm_workers(
        self,
        chance: &mut Chance,
        over: Instant,
        workers: &mut [Worker],
    ) -> anyhow::Result<()> {
        let mut kinds = vec![OfWorkers::Kill, OfWorkers::Terminate];
        kinds.extend((0..workers.len()).map(OfWorkers::Freeze));
        let last = workers.len() - 1;
        let mut started = Instant::now();
        while let Some((kind, lasting)) = next(chance, over, &kinds).await {
            self.tally.add("worker", kind);
            match kind {
                OfWorkers::Freeze(which) => workers[which].freeze(lasting).await?,
                OfWorkers::Kill | OfWorkers::Terminate => {
                    if matches!(kind, OfWorkers::Kill) {
                        workers[last].kill().await?;
                    } else {
                        tokio::time::sleep_until(started + GROWN_UP).await;
                        workers[last].terminate().await?;
                    }
                    tokio::time::sleep(lasting / 4).await;
                    workers[last].start_again()?;
                    started = Instant::now();
                }
            }
        }
        Ok(())
    }

    pub(super) async fn harm_broker(
        self,
        chance: &mut Chance,
        over: Instant,
        rabbitmq: &mut Rabbitmq,
    ) -> anyhow::Result<()> {
        const KINDS: [OfBroker; 5] = [
            OfBroker::Restart(Down::Crash),
            OfBroker::Restart(Down::Orderly),
            OfBroker::Freeze,
            OfBroker::Cut,
            OfBroker::Silence,
        ];
        while let Some((kind, lasting)) = next(chance, over, &KINDS).await {
            self.tally.add("broker", kind);
            match kind {
                OfBroker::Restart(down) => {
                    rabbitmq.stop(down).await?;
                    tokio::time::sleep(lasting / 4).await;
                    rabbitmq.start_again().await?;
                }
                OfBroker::Freeze => {
                    rabbitmq.freeze()?;
                    tokio::time::sleep(lasting).await;
                    rabbitmq.thaw()?;
                }
                OfBroker::Cut => cut(self.to_broker, lasting).await,
                OfBroker::Silence => self.to_broker.silence(),
            }
        }
        Ok(())
    }

    /// While the database is out, it is so for the LMS too.
    pub(super) async fn harm_database(
        self,
        chance: &mut Chance,
        over: Instant,
        database: &mut Database,
    ) -> anyhow::Result<()> {
        const KINDS: [OfDatabase; 7] = [
            OfDatabase::Restart(Down::Crash),
            OfDatabase::Restart(Down::Orderly),
            OfDatabase::Lock,
            OfDatabase::ReadOnly,
            OfDatabase::Cut,
            OfDatabase::Silence,
            OfDatabase::Slow,
        ];
        while let Some((kind, lasting)) = next(chance, over, &KINDS).await {
            self.tally.add("database", kind);
            let everybodys = matches!(kind, OfDatabase::Restart(_) | OfDatabase::Lock | OfDatabase::ReadOnly);
            self.load.lms_is_out.store(everybodys, Ordering::Relaxed);
            let done = self.harm_database_once(kind, lasting, database).await;
            self.load.lms_is_out.store(false, Ordering::Relaxed);
            done?;
        }
        Ok(())
    }

    async fn harm_database_once(
        self,
        kind: OfDatabase,
        lasting: Duration,
        database: &mut Database,
    ) -> anyhow::Result<()> {
        match kind {
            OfDatabase::Restart(down) => database.restart(down).await?,
            OfDatabase::Lock => self.load.lms.lock(lasting).await?,
            OfDatabase::ReadOnly => {
                self.load.lms.read_only(true).await?;
                tokio::time::sleep(lasting).await;
                self.load.lms.read_only(false).await?;
            }
            OfDatabase::Cut => cut(self.to_database, lasting).await,
            OfDatabase::Silence => self.to_database.silence(),
            OfDatabase::Slow => {
                self.to_database.delay(SLOW);
                self.to_database.cut();
                tokio::time::sleep(lasting).await;
                self.to_database.delay(Duration::ZERO);
            }
        }
        Ok(())
    }

    pub(super) async fn harm_catalog(self, chance: &mut Chance, over: Instant) -> anyhow::Result<()> {
        const KINDS: [OfCatalog; 5] =
            [OfCatalog::Away, OfCatalog::Closed, OfCatalog::Hang, OfCatalog::Throttled, OfCatalog::Mixed];
        let catalog = &self.load.catalog;
        while let Some((kind, lasting)) = next(chance, over, &KINDS).await {
            self.tally.add("Catalog", kind);
            match kind {
                OfCatalog::Away => script(self.load, Fault::Status(503)),
                OfCatalog::Hang => script(self.load, Fault::Hang),
                OfCatalog::Throttled => script(self.load, Fault::Throttled(RetryAfter::Seconds(3))),
                OfCatalog::Closed => catalog.off(true),
                OfCatalog::Mixed => {
                    catalog.state().faults.ratios = Ratios {
                        server_error: 0.15,
                        throttled: 0.10,
                        html200: 0.10,
                        cut: 0.10,
                        close: 0.05,
                        null: 0.05,
                        foreign: 0.025,
                        relative: 0.025,
                    };
                }
            }
            tokio::time::sleep(lasting).await;
            catalog.off(false);
            let mut state = catalog.state();
            state.faults.script.clear();
            state.faults.ratios = Ratios::default();
        }
        Ok(())
    }
}

/// After some rest: the next fault, and how long it lasts; none when the storm is over.
async fn next<K: Copy>(chance: &mut Chance, over: Instant, kinds: &[K]) -> Option<(K, Duration)> {
    let rest = Duration::from_millis(chance.between(REST.0, REST.1));
    let kind = kinds[chance.index(kinds.len())];
    let lasting = Duration::from_millis(chance.between(LASTING.0, LASTING.1));
    if Instant::now() + rest >= over {
        return None;
    }
    tokio::time::sleep(rest).await;
    Some((kind, lasting))
}

/// Cuts all connections each second.
async fn cut(proxy: &Proxy, how_long: Duration) {
    let over = Instant::now() + how_long;
    proxy.cut();
    while Instant::now() < over {
        tokio::time::sleep(Duration::from_secs(1)).await;
        proxy.cut();
    }
}

fn script(load: &Load, fault: Fault) {
    load.catalog.script(std::iter::repeat_n(fault, MORE_THAN_EVER_ASKED));
}
