//! The restore trigger, with no worker anywhere: what it costs the LMS, whether a reader that looks all the time ever sees
//! a row without its link, and whether the LMS's writes go through without a ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use migration::Direction;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database as SeaDatabase, DatabaseConnection, DatabaseTransaction,
    DbBackend, Statement, TransactionTrait,
};

use super::database::{Database, Kind, TABLE, course, not_null_columns, url};
use super::report::{Report, Times, grouped, ms};

const ON: Direction = Direction::Up { create_overview_table: false, restore_trigger: true };
const STALE: &str = "'https://www.campus.example/course/stale'";

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Rounds of delete and re-create, and so many saves of stale copies
    #[arg(long, default_value_t = 10_000)]
    rounds: u32,
    /// Writes of the LMS for each thing that is wrong with the ledger, in turn a save, a delete and an insert
    #[arg(long, default_value_t = 1_000)]
    writes: u32,
    /// Inserts that are timed, with the trigger and without
    #[arg(long, default_value_t = 4_000)]
    inserts: u32,
    /// Runs that the ledger knows
    #[arg(long, default_value_t = 14_000)]
    ledger: u32,
}

pub(crate) async fn run(kind: Kind, args: &Args) -> anyhow::Result<Report> {
    let database = Database::new(kind).await?;
    let mut report = Report::new(format!(
        "trigger: {} rounds, {} saves, no worker, {}",
        grouped(f64::from(args.rounds)),
        grouped(f64::from(args.rounds)),
        kind.name()
    ));
    let measured = measure(&database, args, &mut report).await;
    database.drop().await?;
    measured.map(|()| report)
}

async fn measure(database: &Database, args: &Args, report: &mut Report) -> anyhow::Result<()> {
    database.fill_ledger(args.ledger, "").await?;
    let lms = Lms::new(database).await?;
    cost(database, &lms, args, report).await?;

    migration::migrate(&database.store.connection(), Direction::NoRestoreTrigger).await?;
    let (seen, _) = rounds(&lms, args.rounds.div_ceil(20), &database.url).await?;
    report.tell("without it, rows seen blank", format!("{} of {} looks", seen.blank(), seen.looks()));

    migration::migrate(&database.store.connection(), ON).await?;
    let (seen, time) = rounds(&lms, args.rounds, &database.url).await?;
    seen.judge(report, "delete and re-create", time);
    let (seen, time) = saves(&lms, args.rounds, &database.url).await?;
    seen.judge(report, "save a stale copy", time);

    without_ledger(database, &lms, args, report).await
}

/// Inserts in one transaction, which is rolled back: what a commit costs is no part of it.
async fn cost(database: &Database, lms: &Lms, args: &Args, report: &mut Report) -> anyhow::Result<()> {
    const BLOCKS: u32 = 10;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let db = &database.store.connection();
    for block in 0..2 * BLOCKS {
        let is_on = block % 2 == 1;
        migration::migrate(db, if is_on { ON } else { Direction::NoRestoreTrigger }).await?;
        let transaction = lms.db.begin().await?;
        // The first of a session reads tables and makes plans.
        for n in 0..args.inserts / BLOCKS + 20 {
            let took = lms.timed_insert(&transaction, n).await?;
            if n >= 20 {
                if is_on { with.push(took) } else { without.push(took) }
            }
        }
        transaction.rollback().await?;
    }
    let (with, without) = (Times::new(with), Times::new(without));
    report.tell("an insert without it", without.line());
    report.tell("an insert with it", with.line());
    let more = with.median().saturating_sub(without.median());
    report.judge("more, by the medians", ms(more), "0.1 ms", more <= Duration::from_micros(100));
    Ok(())
}

async fn rounds(lms: &Lms, rounds: u32, at: &str) -> anyhow::Result<(Reader, Duration)> {
    lms.fill().await?;
    let reader = Reader::start(at).await?;
    let began = Instant::now();
    for round in 0..rounds {
        let n = round % COURSES;
        reader.look_at(n);
        lms.write(&lms.delete(n)).await?;
        lms.write(&lms.insert(n, "NULL")).await?;
    }
    Ok((reader.stop().await?, began.elapsed()))
}

async fn saves(lms: &Lms, saves: u32, at: &str) -> anyhow::Result<(Reader, Duration)> {
    let reader = Reader::start(at).await?;
    let began = Instant::now();
    for save in 0..saves {
        let n = save % COURSES;
        reader.look_at(n);
        let copy = ["NULL", STALE, "''"][save as usize % 3];
        lms.write(&lms.save(n, copy)).await?;
    }
    Ok((reader.stop().await?, began.elapsed()))
}

/// Takes the ledger away in each way, and has the LMS write.
async fn without_ledger(
    database: &Database,
    lms: &Lms,
    args: &Args,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut ways = vec![
        ("renamed", vec!["ALTER TABLE course_sharing_ledger RENAME TO elsewhere".to_owned()]),
        ("back", vec!["ALTER TABLE elsewhere RENAME TO course_sharing_ledger".to_owned()]),
    ];
    let reader = format!("{}_r", database.own.name);
    ways.extend(unreadable(database, &reader).await?);
    ways.push(("dropped", vec!["DROP TABLE course_sharing_ledger".to_owned()]));
    for (what, statements) in ways {
        for sql in &statements {
            database.execute(sql).await.with_context(|| sql.clone())?;
        }
        lms.fill().await?;
        let mut through = 0;
        for write in 0..args.writes {
            let n = write / 3 % COURSES;
            let sql = match write % 3 {
                0 => lms.save(n, STALE),
                1 => lms.delete(n),
                _ => lms.insert(n, "NULL"),
            };
            match lms.write(&sql).await {
                Ok(()) => through += 1,
                Err(error) => report.wrong(format!("{what}: {error:#}")),
            }
        }
        let met = through == args.writes;
        report.judge(
            format!("writes that go through, the ledger {what}"),
            through.to_string(),
            args.writes.to_string(),
            met,
        );
    }
    if database.kind != Kind::Sqlite {
        migration::migrate(&database.store.connection(), Direction::NoRestoreTrigger).await?;
        if database.kind == Kind::Postgres {
            database.execute(&format!("DROP OWNED BY {reader}")).await?;
        }
        database.execute(&format!("DROP USER {reader}")).await?;
    }
    Ok(())
}

/// Has the trigger run as a user who may not read the ledger.
async fn unreadable(
    database: &Database,
    reader: &str,
) -> anyhow::Result<Option<(&'static str, Vec<String>)>> {
    let sql = match database.kind {
        Kind::Sqlite => return Ok(None),
        Kind::Postgres => vec![
            format!("CREATE ROLE {reader}"),
            format!("GRANT USAGE, CREATE ON SCHEMA public TO {reader}"),
            format!(
                "ALTER FUNCTION course_sharing_restore_v{}() OWNER TO {reader}",
                migration::restore_trigger::VERSION
            ),
        ],
        Kind::Mysql => {
            database.execute(&format!("CREATE USER {reader} IDENTIFIED BY 'x'")).await?;
            database.execute(&format!("GRANT ALL ON {}.* TO {reader}", database.own.name)).await?;
            // A server with a binary log, as MySQL has one from the start, wants it for a function or trigger.
            database.execute(&format!("GRANT SUPER ON *.* TO {reader}")).await?;
            migration::migrate(&database.store.connection(), Direction::NoRestoreTrigger).await?;
            let mut url = url::Url::parse(&database.url)?;
            let named = url.set_username(reader).and_then(|()| url.set_password(Some("x")));
            named.map_err(|()| anyhow::anyhow!("a URL without a user"))?;
            let db = SeaDatabase::connect(url.as_str()).await?;
            migration::migrate(&db, ON).await?;
            db.close().await?;
            vec![format!("REVOKE SELECT ON {}.* FROM {reader}", database.own.name)]
        }
    };
    Ok(Some(("unreadable", sql)))
}

/// Overviews that are written in turn.
const COURSES: u32 = 50;

/// The LMS's session.
struct Lms {
    db: DatabaseConnection,
    rest: Vec<(&'static str, &'static str)>,
}

impl Lms {
    async fn new(database: &Database) -> anyhow::Result<Self> {
        let rest = not_null_columns(database.kind);
        Ok(Self { db: session(&database.url).await?, rest })
    }

    fn insert(&self, n: u32, link: &str) -> String {
        let columns: String = self.rest.iter().map(|(column, _)| format!(", {column}")).collect();
        let values: String = self.rest.iter().map(|(_, value)| format!(", {value}")).collect();
        format!("INSERT INTO {TABLE} (id, marketing_url{columns}) VALUES ('{}', {link}{values})", course(n))
    }

    /// As Django sends it: with its key as a parameter on SQLite, where statements are kept, and as text to a server.
    async fn timed_insert(&self, transaction: &DatabaseTransaction, n: u32) -> anyhow::Result<Duration> {
        let backend = self.db.get_database_backend();
        let text = self.insert(n, "NULL");
        if backend != DbBackend::Sqlite {
            let began = Instant::now();
            transaction.execute_unprepared(&text).await?;
            return Ok(began.elapsed());
        }
        let key = course(n);
        let kept = text.replace(&format!("'{key}'"), "?");
        let insert = Statement::from_sql_and_values(backend, kept, [key.into()]);
        let began = Instant::now();
        transaction.execute_raw(insert).await?;
        Ok(began.elapsed())
    }

    /// Every column, as the LMS saves.
    fn save(&self, n: u32, link: &str) -> String {
        let rest: String = self.rest.iter().map(|(column, value)| format!(", {column} = {value}")).collect();
        format!("UPDATE {TABLE} SET marketing_url = {link}{rest} WHERE id = '{}'", course(n))
    }

    /// All overviews, each with its link.
    async fn fill(&self) -> anyhow::Result<()> {
        self.db.execute_unprepared(&format!("DELETE FROM {TABLE}")).await?;
        for n in 0..COURSES {
            self.write(&self.insert(n, &format!("'{}'", url(n, "")))).await?;
        }
        Ok(())
    }

    fn delete(&self, n: u32) -> String {
        format!("DELETE FROM {TABLE} WHERE id = '{}'", course(n))
    }

    async fn write(&self, sql: &str) -> anyhow::Result<()> {
        let rows = self.db.execute_unprepared(sql).await?.rows_affected();
        anyhow::ensure!(rows == 1, "{rows} rows: {sql}");
        Ok(())
    }
}

async fn session(url: &str) -> anyhow::Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Ok(SeaDatabase::connect(options).await?)
}

/// Looks at the link of one overview, again and again, on a connection of its own.
struct Reader {
    seen: Arc<Seen>,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

#[derive(Default)]
struct Seen {
    course: AtomicU32,
    stop: AtomicBool,
    looks: AtomicU64,
    absent: AtomicU64,
    blank: AtomicU64,
    wrong: AtomicU64,
}

impl Reader {
    async fn start(at: &str) -> anyhow::Result<Self> {
        let (seen, db) = (Arc::new(Seen::default()), session(at).await?);
        let task = tokio::spawn({
            let seen = seen.clone();
            async move {
                while !seen.stop.load(Ordering::Relaxed) {
                    seen.look(&db).await?;
                }
                Ok(db.close().await?)
            }
        });
        Ok(Self { seen, task })
    }

    fn look_at(&self, n: u32) {
        self.seen.course.store(n, Ordering::Relaxed);
    }

    async fn stop(mut self) -> anyhow::Result<Self> {
        self.seen.stop.store(true, Ordering::Relaxed);
        (&mut self.task).await??;
        Ok(self)
    }

    fn looks(&self) -> u64 {
        self.seen.looks.load(Ordering::Relaxed)
    }

    fn blank(&self) -> u64 {
        self.seen.blank.load(Ordering::Relaxed)
    }

    fn judge(&self, report: &mut Report, what: &str, time: Duration) {
        let [absent, wrong] =
            [&self.seen.absent, &self.seen.wrong].map(|count| count.load(Ordering::Relaxed));
        let blank = self.blank();
        let looks = format!(
            "{} looks in {:.1} s, {} of them between the two statements",
            grouped(self.looks() as f64),
            time.as_secs_f64(),
            grouped(absent as f64)
        );
        report.tell(what, looks);
        report.judge(
            format!("{what}: seen blank or wrong"),
            format!("{blank}, {wrong}"),
            "0, 0",
            blank + wrong == 0,
        );
        if blank + wrong > 0 {
            report.wrong(format!("{what}: seen {blank} times blank, {wrong} times wrong"));
        }
    }
}

impl Seen {
    async fn look(&self, db: &DatabaseConnection) -> anyhow::Result<()> {
        let n = self.course.load(Ordering::Relaxed);
        let sql = format!("SELECT marketing_url FROM {TABLE} WHERE id = '{}'", course(n));
        let row = db.query_one_raw(Statement::from_string(db.get_database_backend(), sql)).await?;
        self.looks.fetch_add(1, Ordering::Relaxed);
        let count = match row.map(|row| row.try_get_by_index::<Option<String>>(0)).transpose()? {
            None => &self.absent,
            Some(None) => &self.blank,
            Some(Some(link)) if link.is_empty() => &self.blank,
            Some(Some(link)) if link != url(n, "") => &self.wrong,
            Some(Some(_)) => return Ok(()),
        };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
