//! The scenarios: what is done to the program, and what is demanded beside "lost 0, wrong 0".

mod broker;
mod catalog;
mod database;
mod disk;
mod http;
mod lms;
mod message;
mod rights;
mod way;
mod worker;

use std::time::Duration;

use crate::checker::Verdict;
use crate::report::Demand;
use crate::servers::Lent;
use crate::stage::{Place, Servers, Setting, Stage, Which};

/// What a scenario comes to.
pub(crate) type Result = anyhow::Result<(Verdict, Vec<Demand>)>;

/// One of them.
pub(crate) struct Scenario {
    /// By which it is chosen.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) what: &'static str,
    kind: Kind,
    which: Which,
    events: usize,
    times: usize,
    small: (usize, usize),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Kill9,
    Sigterm,
    TwoWorkers,
    BrokerRestart,
    BrokerFreeze,
    BrokerCut,
    DbRestart,
    DbLock,
    DbReadOnly,
    CatalogAway,
    CatalogFaults,
    StaleSave,
    Poison,
    DbSlow,
    DbSilent,
    DbRevoked,
    LookedAt,
    DiskFull,
    Deep,
    Unreadable,
    BeyondTheTable,
    SlowHttp,
}

/// How large a scenario is played.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Events.
    pub(crate) events: usize,
    /// How often the harm is done.
    pub(crate) times: usize,
    /// Whether this is the version for every day.
    pub(crate) small: bool,
}

const fn scenario(
    name: &'static str,
    what: &'static str,
    kind: Kind,
    which: Which,
    full: (usize, usize),
    small: (usize, usize),
) -> Scenario {
    Scenario { name, what, kind, which, events: full.0, times: full.1, small }
}

/// All of them: name, what it does, where, (events, times) in full and in small. First those that want a server for
/// themselves, so that the others need not wait for one another.
#[rustfmt::skip]
pub(crate) const SCENARIOS: [Scenario; 27] = {
    use Which::{Mariadb, Postgres, Sqlite};
    [
        scenario("broker-restart", "the broker restarted, in order and by a crash", Kind::BrokerRestart, Postgres, (10_000, 5), (200, 1)),
        scenario("broker-freeze", "the broker frozen for 20 s", Kind::BrokerFreeze, Postgres, (10_000, 5), (200, 1)),
        scenario("db-restart-postgres", "PostgreSQL restarted, in order and by a crash", Kind::DbRestart, Postgres, (10_000, 5), (200, 1)),
        scenario("db-restart-mariadb", "MariaDB restarted, in order and by a crash", Kind::DbRestart, Mariadb, (10_000, 5), (200, 1)),
        scenario("db-readonly-postgres", "PostgreSQL read-only for 10 s", Kind::DbReadOnly, Postgres, (10_000, 5), (200, 1)),
        scenario("db-readonly-mariadb", "MariaDB read-only for 10 s", Kind::DbReadOnly, Mariadb, (10_000, 5), (200, 1)),
        scenario("db-lock-postgres", "tables locked for 10 s, PostgreSQL", Kind::DbLock, Postgres, (10_000, 5), (200, 1)),
        scenario("db-lock-mariadb", "tables locked for 10 s, MariaDB", Kind::DbLock, Mariadb, (10_000, 5), (200, 1)),
        scenario("unreadable", "a message whose properties are not UTF-8", Kind::Unreadable, Mariadb, (1_000, 1), (200, 1)),
        scenario("db-silent-postgres", "connections to PostgreSQL that become black holes", Kind::DbSilent, Postgres, (1_000, 3), (200, 1)),
        scenario("db-silent-mariadb", "connections to MariaDB that become black holes", Kind::DbSilent, Mariadb, (1_000, 3), (200, 1)),
        scenario("db-revoked-postgres", "the right to UPDATE taken away for a while, PostgreSQL", Kind::DbRevoked, Postgres, (1_000, 1), (200, 1)),
        scenario("db-revoked-mariadb", "the right to UPDATE taken away for a while, MariaDB", Kind::DbRevoked, Mariadb, (1_000, 1), (200, 1)),
        scenario("letters-looked-at", "dead letters looked at on a broker that limits deliveries", Kind::LookedAt, Postgres, (500, 1), (100, 1)),
        scenario("db-slow-mariadb", "two workers, one of which needs 3 s for each connection to MariaDB", Kind::DbSlow, Mariadb, (5_000, 1), (500, 1)),
        scenario("disk-full", "SQLite's disk full under load, then a restart", Kind::DiskFull, Sqlite, (10_000, 3), (500, 1)),
        scenario("deep-headers", "headers nested as deep as a frame can carry", Kind::Deep, Postgres, (1_000, 1), (200, 1)),
        scenario("beyond-utf8mb3", "a course whose key the LMS's old table cannot hold", Kind::BeyondTheTable, Mariadb, (1_000, 20), (200, 5)),
        scenario("slow-http", "HTTP clients that send a byte a second", Kind::SlowHttp, Postgres, (2_000, 1), (300, 1)),
        scenario("broker-cut", "the worker's sockets to the broker cut every 1 to 5 s", Kind::BrokerCut, Mariadb, (10_000, 5), (400, 2)),
        scenario("kill9", "SIGKILL of the worker at random moments", Kind::Kill9, Mariadb, (10_000, 50), (400, 4)),
        scenario("sigterm", "SIGTERM of the worker under load", Kind::Sigterm, Postgres, (10_000, 50), (300, 4)),
        scenario("two-workers", "two workers, one schedule", Kind::TwoWorkers, Mariadb, (10_000, 1), (400, 1)),
        scenario("catalog-away", "the Catalog away for the whole of the events, then back", Kind::CatalogAway, Mariadb, (5_000, 1), (200, 1)),
        scenario("catalog-faults", "500, 429, HTML, cut answers, nulls, foreign and relative URLs", Kind::CatalogFaults, Postgres, (10_000, 1), (400, 1)),
        scenario("stale-save", "the LMS saves its stale copy of the row over ours", Kind::StaleSave, Mariadb, (1_000, 1), (100, 1)),
        scenario("poison", "1% of the messages cannot be understood", Kind::Poison, Postgres, (10_000, 1), (600, 1)),
    ]
};

impl Size {
    /// A scenario's own size, its small one, or one with so many events and faults in proportion.
    pub(crate) fn new(scenario: &Scenario, events: Option<usize>, small: bool) -> Self {
        let (own, times) = if small { scenario.small } else { (scenario.events, scenario.times) };
        let events = events.unwrap_or(own).max(1);
        Self { events, times: (times * events / own).clamp(1, times), small }
    }

    /// How long a fault lasts that is to last `full`.
    pub(crate) fn lasting(self, full: Duration) -> Duration {
        if self.small { full / 5 } else { full }
    }

    /// Events a second.
    pub(crate) fn pace(self) -> u32 {
        if self.small { 100 } else { 200 }
    }

    /// How long the events themselves take.
    pub(crate) fn playing(self) -> Duration {
        Duration::from_secs_f64(self.events as f64 / f64::from(self.pace()))
    }

    /// How long everything may take to settle: the delay queues have fixed times, the longest of which that an
    /// outage of these lengths leads to is three minutes.
    pub(crate) fn settling(self) -> Duration {
        Duration::from_secs(if self.small { 150 } else { 600 })
    }
}

impl Scenario {
    /// Plays it on the servers: what came of it, and what is worth telling.
    pub(crate) async fn play(
        &self,
        size: Size,
        seed: u64,
        servers: &Servers,
        place: &Place,
        notes: &mut Vec<String>,
    ) -> Result {
        let setting = Setting { name: self.name, runs: (size.events / 10).clamp(20, 1_000), seed };
        // Always in this order, so that two scenarios cannot wait for each other.
        let mut rabbitmq = Lent::of(&servers.rabbitmq, self.kind.harms_broker()).await;
        let mut database = Lent::of(servers.database(self.which), self.kind.harms_database()).await;
        if self.which == Which::Sqlite && !database.disk()?.is_small() {
            let played =
                Demand::new("played", "no: to mount a small file system, it has to be run as root", true);
            return Ok((Verdict::default(), vec![played]));
        }
        let mut stage = Stage::new(&rabbitmq, &database, place, setting).await?;
        let played = match self.kind {
            Kind::Kill9 => worker::kill9(&mut stage, size).await,
            Kind::Sigterm => worker::sigterm(&mut stage, size).await,
            Kind::TwoWorkers => worker::two(&mut stage, size).await,
            Kind::BrokerRestart => broker::restart(&mut stage, rabbitmq.victim()?, size).await,
            Kind::BrokerFreeze => broker::freeze(&mut stage, rabbitmq.victim()?, size).await,
            Kind::BrokerCut => broker::cut(&mut stage, &rabbitmq, size).await,
            Kind::DbRestart => database::restart(&mut stage, database.victim()?, size).await,
            Kind::DbLock => database::lock(&mut stage, size).await,
            Kind::DbReadOnly => database::read_only(&mut stage, size).await,
            Kind::CatalogAway => catalog::away(&mut stage, size).await,
            Kind::CatalogFaults => catalog::faults(&mut stage, size).await,
            Kind::StaleSave => lms::stale_save(&mut stage, size).await,
            Kind::Poison => lms::poison(&mut stage, size).await,
            Kind::DbSlow => way::slow(&mut stage, &database, size).await,
            Kind::DbSilent => way::silent(&mut stage, &database, size).await,
            Kind::DbRevoked => rights::revoked(&mut stage, size).await,
            Kind::LookedAt => message::looked_at(&mut stage, &rabbitmq, size).await,
            Kind::DiskFull => disk::full(&mut stage, database.disk()?, size).await,
            Kind::Deep => message::deep(&mut stage, &rabbitmq, size).await,
            Kind::Unreadable => message::unreadable(&mut stage, &rabbitmq, size).await,
            Kind::BeyondTheTable => message::beyond_the_table(&mut stage, size).await,
            Kind::SlowHttp => http::slow(&mut stage, size).await,
        };
        notes.extend(stage.load.notes());
        played
    }
}

impl Kind {
    fn harms_broker(self) -> bool {
        matches!(self, Self::BrokerRestart | Self::BrokerFreeze)
    }

    /// A lock is one database's own affair; a restart and a read-only server are all databases'.
    fn harms_database(self) -> bool {
        matches!(self, Self::DbRestart | Self::DbReadOnly)
    }
}

/// That nothing is a dead letter: what is out is waited for.
fn no_dead_letters(verdict: &Verdict) -> Demand {
    Demand::new("dead letters 0", verdict.dead.to_string(), verdict.dead == 0)
}
