//! Share links over HTTP, as an LMS page full of courses asks for them.
//!
//! The clients are plain threads on plain sockets, so that they take as little of the cores as may be.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rand::RngExt as _;

use super::database::{Kind, course, url};
use super::floors;
use super::report::{Report, Times, grouped, rate};
use super::stage::{Stage, runs};
use stand_in::Setup;
use test_support::free_port;

/// Different requests, asked for in turn.
const LISTS: usize = 256;
/// Answers of each connection that are read and compared, link by link.
const COMPARED: usize = 5;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Ids in a request
    #[arg(long, default_value_t = 100)]
    ids: usize,
    /// Connections at once
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Overviews in the database
    #[arg(long, default_value_t = 14_000)]
    overviews: u32,
    /// Requests in all
    #[arg(long, default_value_t = 20_000)]
    count: usize,
}

pub(crate) async fn run(kind: Kind, args: &Args) -> anyhow::Result<Report> {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let catalog = Setup { runs: runs(10, ""), ..Setup::default() };
    let stage = Stage::set(kind, catalog, &[("HTTP__LISTEN", address.to_string())]).await?;
    let report = measure(&stage, args, address).await;
    stage.clear().await?;
    report
}

async fn measure(stage: &Stage, args: &Args, address: SocketAddr) -> anyhow::Result<Report> {
    let mut report = Report::new(format!(
        "links: {} requests of {} ids over {} connections, {} overviews, {}",
        grouped(args.count as f64),
        args.ids,
        args.connections,
        grouped(args.overviews.into()),
        stage.database.kind.name()
    ));
    stage.database.fill(args.overviews, Some("")).await?;
    let lists = Arc::new(lists(args));

    let mut worker = stage.worker().await?;
    // Fills the pool and the caches, as any worker's are that has been up for a minute.
    ask(lists.clone(), args.count / 20, args.connections, address).await?;
    let began = Instant::now();
    let times = ask(lists.clone(), args.count, args.connections, address).await?;
    let time = began.elapsed();
    worker.usage();
    let cost = worker.stop(stage, time).await?;

    let (times, reached) = (Times::new(times), rate(args.count as u64, time));
    report.judge("p99", times.line(), "20 ms", times.at(99.0) <= Duration::from_millis(20));
    report.judge("requests a second", grouped(reached), "3,000", reached >= 3_000.0);
    cost.tell(&mut report, (args.count + args.count / 20) as u64);
    let bare = args.count / 2;
    let floor = floors::read_links(&stage.database, lists, bare, args.connections).await?;
    let bare = rate(bare as u64, floor);
    let value =
        format!("{} statements a second; ours takes {:.2} times as long", grouped(bare), bare / reached);
    report.judge("floor: the bare statement", value, "2 times", bare / reached <= 2.0);
    Ok(report.scored(1.0 / reached))
}

fn lists(args: &Args) -> Vec<Vec<u32>> {
    let mut random = rand::rng();
    let list = |_| {
        let mut list = std::collections::BTreeSet::new();
        while list.len() < args.ids.min(args.overviews as usize) {
            list.insert(random.random_range(0..args.overviews));
        }
        list.into_iter().collect()
    };
    (0..LISTS).map(list).collect()
}

/// Asks `count` times over so many connections; how long each answer took. A wrong answer is an error.
async fn ask(
    lists: Arc<Vec<Vec<u32>>>,
    count: usize,
    connections: usize,
    address: SocketAddr,
) -> anyhow::Result<Vec<Duration>> {
    let requests: Vec<Vec<u8>> = lists.iter().map(|list| request(list)).collect();
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    let threads: Vec<_> = (0..connections)
        .map(|_| {
            let (lists, requests, next) = (lists.clone(), requests.clone(), next.clone());
            std::thread::spawn(move || client(&lists, &requests, &next, count, address))
        })
        .collect();
    tokio::task::spawn_blocking(move || {
        let mut times = Vec::new();
        for thread in threads {
            times.extend(thread.join().map_err(|_| anyhow::anyhow!("a client died"))??);
        }
        Ok(times)
    })
    .await?
}

fn request(list: &[u32]) -> Vec<u8> {
    let ids: Vec<String> =
        list.iter().map(|number| format!("course_id={}", course(*number).replace('+', "%2B"))).collect();
    format!("GET /api/v1/share-links?{} HTTP/1.1\r\nHost: bench\r\n\r\n", ids.join("&")).into_bytes()
}

fn client(
    lists: &[Vec<u32>],
    requests: &[Vec<u8>],
    next: &AtomicUsize,
    count: usize,
    address: SocketAddr,
) -> anyhow::Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut buffer = vec![0; 256 * 1024];
    let mut times = Vec::new();
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        if n >= count {
            return Ok(times);
        }
        let began = Instant::now();
        stream.write_all(&requests[n % requests.len()])?;
        let body = answer(&mut stream, &mut buffer)?;
        times.push(began.elapsed());
        if times.len() <= COMPARED {
            compare(body, &lists[n % lists.len()])?;
        }
    }
}

/// Reads one whole answer; its body.
fn answer<'a>(stream: &mut TcpStream, buffer: &'a mut [u8]) -> anyhow::Result<&'a [u8]> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..])?;
        anyhow::ensure!(read > 0, "the connection ended");
        filled += read;
        let Some(end) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..end])?.to_ascii_lowercase();
        anyhow::ensure!(head.starts_with("http/1.1 200"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let whole = end + 4 + length.unwrap_or(0usize);
        anyhow::ensure!(whole <= buffer.len(), "an answer of {whole} bytes");
        while filled < whole {
            let read = stream.read(&mut buffer[filled..])?;
            anyhow::ensure!(read > 0, "the connection ended");
            filled += read;
        }
        return Ok(&buffer[end + 4..whole]);
    }
}

fn compare(body: &[u8], list: &[u32]) -> anyhow::Result<()> {
    let answer: serde_json::Value = serde_json::from_slice(body)?;
    let links = answer["links"].as_object().context("no links")?;
    anyhow::ensure!(links.len() == list.len(), "{} links for {} ids", links.len(), list.len());
    for number in list {
        let link = &links[&course(*number)]["url"];
        anyhow::ensure!(link == &url(*number, ""), "{}: {link}", course(*number));
    }
    Ok(())
}
