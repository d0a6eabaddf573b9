//! From a change to its committed row, by each of the four ways: an event, a hint, a light pass, heal. Hints, passes and heal
//! come at intervals that are shorter here than they are by default; what counts is what comes on top of the interval.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use course_sharing::event::EventKind;
use sea_orm::{ConnectionTrait, Statement};

use super::database::{Kind, TABLE, course, url};
use super::report::{Report, Times, ms};
use super::stage::{Stage, body, runs};
use stand_in::{Draft, LineLimit, Setup};

/// How long one change may take beyond its interval.
const LIMIT: Duration = Duration::from_secs(30);
/// How much beyond the interval is asked for, at p99.
const ON_TOP: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Changes by each way, each of a run of its own
    #[arg(long, default_value_t = 200)]
    count: u32,
    /// Between two changes
    #[arg(long, default_value_t = 50)]
    every_ms: u64,
    /// How far apart questions what has changed, light passes and heals are
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=30))]
    interval_s: u64,
    /// Runs that the Catalog lists, each with an overview
    #[arg(long, default_value_t = 3_300)]
    runs: u32,
    /// How long the Catalog takes for an answer
    #[arg(long, default_value_t = 15)]
    catalog_ms: u64,
}

pub(crate) async fn run(kind: Kind, args: &Args) -> anyhow::Result<Report> {
    anyhow::ensure!(args.runs / 4 >= args.count, "there must be four runs for each change");
    let latency = Duration::from_millis(args.catalog_ms);
    let catalog =
        Setup { runs: runs(args.runs, ""), latency, line_limit: LineLimit::None, ..Setup::default() };
    let mut stage = Stage::set(kind, catalog, &[]).await?;
    let report = measure(&mut stage, args).await;
    stage.clear().await?;
    report
}

async fn measure(stage: &mut Stage, args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new(format!(
        "freshness: {} changes by each way, {} runs, Catalog {} ms, {}",
        args.count,
        args.runs,
        args.catalog_ms,
        stage.database.kind.name()
    ));
    stage.database.fill(args.runs, Some("")).await?;
    // A light pass compares with what a full one has found.
    let ended = stage.program(&["reconcile"])?.ended(LIMIT).await?;
    anyhow::ensure!(ended.success(), "the first pass ended with {ended}");
    let mut score = 0.0;
    for (place, way) in (0..).zip(Way::ALL) {
        let (times, requests) = way.measured(stage, args, place * args.count).await.context(way.name())?;
        let interval = way.interval(args);
        let every = if interval.is_zero() { String::new() } else { format!(", every {}", ms(interval)) };
        report.tell(
            format!("{}{every}: change to committed row", way.name()),
            format!(
                "median {}, p99 {}, longest {}",
                ms(times.median()),
                ms(times.at(99.0)),
                ms(times.at(100.0))
            ),
        );
        let on_top = times.at(99.0).saturating_sub(interval);
        let what = format!("{}: p99 beyond the interval", way.name());
        report.judge(what, ms(on_top), ms(ON_TOP), on_top <= ON_TOP);
        let what = format!("{}: requests to the Catalog for {} changes", way.name(), args.count);
        match way {
            Way::Heal => report.judge(what, requests.to_string(), "0", requests == 0),
            _ => report.tell(what, requests.to_string()),
        }
        score += times.median().as_secs_f64();
    }
    Ok(report.scored(score))
}

/// By what a change gets into its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The official run changes, and Studio tells of it.
    Event,
    /// The run's draft is saved and published; no event comes.
    Hint,
    /// The official run changes behind the drafts' back; no event comes.
    Light,
    /// The LMS loses the link; no event comes.
    Heal,
}

impl Way {
    const ALL: [Self; 4] = [Self::Event, Self::Hint, Self::Light, Self::Heal];

    fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Hint => "hint",
            Self::Light => "light pass",
            Self::Heal => "heal",
        }
    }

    /// The setting that has the worker work this way, and what it is.
    fn setting(self, seconds: u64) -> Option<(&'static str, String)> {
        match self {
            Self::Event => None,
            Self::Hint => Some(("COURSE_SHARING_RECONCILE__DELTA_INTERVAL", format!("{seconds}s"))),
            Self::Light => {
                Some(("COURSE_SHARING_RECONCILE__LIGHT_SCHEDULE", format!("*/{seconds} * * * * *")))
            }
            Self::Heal => Some(("COURSE_SHARING_HEAL__INTERVAL", format!("{seconds}s"))),
        }
    }

    fn interval(self, args: &Args) -> Duration {
        Duration::from_secs(if self == Self::Event { 0 } else { args.interval_s })
    }

    /// Of the URLs that the runs have afterwards.
    fn edition(self) -> &'static str {
        match self {
            Self::Event => "-event",
            Self::Hint => "-hint",
            Self::Light => "-light",
            // The one that they had.
            Self::Heal => "",
        }
    }

    /// How long each change took, and how many requests the Catalog had meanwhile.
    async fn measured(self, stage: &mut Stage, args: &Args, first: u32) -> anyhow::Result<(Times, u64)> {
        let setting = self.setting(args.interval_s);
        if let Some((name, value)) = &setting {
            stage.tell(name, value);
        }
        let courses = stage.catalog.stats().courses;
        let worker = stage.worker().await?;
        if self == Self::Hint {
            // The first question says from when on changes count.
            let asked = async || Ok(stage.catalog.stats().courses);
            stage.until(courses + 1, LIMIT, asked).await?;
        }
        let before = stage.catalog.stats().requests;
        let times = self.times(stage, args, first).await;
        let times = times.map_err(|error| error.context(worker.log_end()))?;
        let requests = stage.catalog.stats().requests - before;
        worker.stop(stage, Duration::ZERO).await?;
        if let Some((name, _)) = setting {
            stage.tell(name, "off");
        }
        Ok((Times::new(times), requests))
    }

    /// Makes a change now and then, and looks at the rows all the while.
    async fn times(self, stage: &Stage, args: &Args, first: u32) -> anyhow::Result<Vec<Duration>> {
        let (every, limit) = (Duration::from_millis(args.every_ms), self.interval(args) + LIMIT);
        let look = Duration::from_millis(if self == Self::Event { 0 } else { 5 });
        let (began, last) = (Instant::now(), first + args.count);
        let mut next = first;
        let (mut waiting, mut times): (Vec<(u32, Instant)>, _) = (Vec::new(), Vec::new());
        while next < last || !waiting.is_empty() {
            if next < last && began.elapsed() >= every * (next - first) {
                waiting.push((next, Instant::now()));
                self.change(stage, next).await?;
                next += 1;
            }
            let numbers: Vec<u32> = waiting.iter().map(|(number, _)| *number).collect();
            let right = self.right_of(stage, &numbers).await?;
            let now = Instant::now();
            let seen = waiting.extract_if(.., |(number, _)| right.contains(number));
            times.extend(seen.map(|(_, since)| now - since));
            let late = waiting.iter().find(|(_, since)| now - *since > limit);
            anyhow::ensure!(late.is_none(), "run {late:?} is not right after {} s", limit.as_secs());
            // The runtime's timer is no finer than a millisecond.
            tokio::time::sleep(look.max(Duration::from_micros(200))).await;
        }
        Ok(times)
    }

    async fn change(self, stage: &Stage, number: u32) -> anyhow::Result<()> {
        let (key, url) = (course(number), url(number, self.edition()));
        match self {
            Self::Event => {
                stage.catalog.put(&key, Some(&url));
                let kind = EventKind::CoursePublish;
                stage.queues.publish(kind.as_str(), body(kind, number)).await
            }
            Self::Hint => {
                let draft = Draft::new(&key, Some(&url));
                stage.catalog.save_draft(Draft { official_after: Duration::ZERO, ..draft });
                Ok(())
            }
            Self::Light => {
                stage.catalog.put(&key, Some(&url));
                Ok(())
            }
            Self::Heal => {
                let sql = format!("UPDATE {TABLE} SET marketing_url = NULL WHERE id = '{key}'");
                stage.database.execute(&sql).await.map(drop)
            }
        }
    }

    /// Those of these runs whose row is right.
    async fn right_of(self, stage: &Stage, numbers: &[u32]) -> anyhow::Result<Vec<u32>> {
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        let is_right =
            |n: &u32| format!("(id = '{}' AND marketing_url = '{}')", course(*n), url(*n, self.edition()));
        let rows: Vec<String> = numbers.iter().map(is_right).collect();
        let sql = format!("SELECT id FROM {TABLE} WHERE {}", rows.join(" OR "));
        let connection = stage.database.store.connection();
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        let found = connection.query_all_raw(statement).await?;
        let ids: Vec<String> = found.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
        Ok(numbers.iter().filter(|n| ids.contains(&course(**n))).copied().collect())
    }
}
