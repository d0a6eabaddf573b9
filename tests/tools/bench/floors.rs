//! The floors: the least that the same work can cost on this machine at this minute.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use sea_orm::sea_query::{ArrayType, Value};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::database::{Database, course, url};

/// Fetches these URLs, so many at a time, and reads the answers without looking at them; how long all took, and each.
pub(crate) async fn fetch(
    root: &str,
    targets: Vec<String>,
    at_once: usize,
) -> anyhow::Result<(Duration, Vec<Duration>)> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build()?;
    let work = Arc::new((
        targets.into_iter().map(|target| format!("{root}{target}")).collect::<Vec<_>>(),
        AtomicUsize::new(0),
    ));
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..at_once.max(1) {
        let (work, client) = (work.clone(), client.clone());
        tasks.spawn(async move {
            let mut times = Vec::new();
            while let Some(url) = work.0.get(work.1.fetch_add(1, Ordering::Relaxed)) {
                let began = Instant::now();
                let answer = client.get(url).send().await?.error_for_status()?;
                answer.bytes().await?;
                times.push(began.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done??);
    }
    Ok((began.elapsed(), times))
}

/// Writes one link and commits, one after another.
pub(crate) async fn committed_rows(database: &Database, count: u32) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for number in 0..count {
        let (id, url) = (course(number), url(number, "-floor"));
        let sql =
            format!("UPDATE course_overviews_courseoverview SET marketing_url = '{url}' WHERE id = '{id}'");
        let began = Instant::now();
        database.execute(&sql).await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

/// Writes `count` ledger rows and their overviews, with URLs of this edition, in transactions of `rows` rows, two at a
/// time; by ranges of keys and with no look at what is there, which no program can do; how long all took.
pub(crate) async fn write_all(
    database: &Database,
    count: u32,
    rows: u32,
    edition: &'static str,
) -> anyhow::Result<Duration> {
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let writers = (0..2).map(|_| {
        let next = next.clone();
        async move {
            loop {
                let from = u32::try_from(next.fetch_add(1, Ordering::Relaxed))?.saturating_mul(rows);
                if from >= count {
                    return anyhow::Ok(());
                }
                database.write(from, count.min(from + rows), edition).await?;
            }
        }
    });
    futures_util::future::try_join_all(writers).await?;
    Ok(began.elapsed())
}

/// Reads the links of these lists of courses by the one statement there is for it, `at_once` at a time over the
/// worker's own number of connections, and looks at nothing; how long all took.
pub(crate) async fn read_links(
    database: &Database,
    lists: Arc<Vec<Vec<u32>>>,
    count: usize,
    at_once: usize,
) -> anyhow::Result<Duration> {
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let (next, lists, connection) = (next.clone(), lists.clone(), database.store.connection());
        tasks.spawn(async move {
            let backend = connection.get_database_backend();
            while let Some(n) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|n| *n < count) {
                let list = &lists[n % lists.len()];
                let rows = connection.query_all_raw(select(backend, list)).await?;
                anyhow::ensure!(rows.len() == list.len(), "{} rows for {} ids", rows.len(), list.len());
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.context("a task died")??;
    }
    Ok(began.elapsed())
}

/// As each database takes it best: on PostgreSQL all ids are one parameter.
fn select(backend: DbBackend, list: &[u32]) -> Statement {
    let ids = list.iter().map(|number| Value::from(course(*number)));
    let (among, values) = match backend {
        DbBackend::Postgres => {
            ("= ANY($1)".to_owned(), vec![Value::Array(ArrayType::String, Some(Box::new(ids.collect())))])
        }
        _ => (format!("IN ({})", vec!["?"; list.len()].join(", ")), ids.collect()),
    };
    let columns = "id, marketing_url, social_sharing_url";
    let sql = format!("SELECT {columns} FROM course_overviews_courseoverview WHERE id {among}");
    Statement::from_sql_and_values(backend, sql, values)
}
