//! Harm to the worker's HTTP port.

use std::net::SocketAddr;
use std::time::Duration;

use test_support::http;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Result, Size, no_dead_letters};
use crate::report::Demand;
use crate::schedule::Mix;
use crate::stage::Stage;

/// Slow clients: most of them do not come to the end of their request line, some not to that of a body.
const CLIENTS: usize = 1_200;
/// More than the worker has places for, still.
const CLIENTS_SMALL: usize = 700;
const BODIES: usize = 16;
const PROBED: Duration = Duration::from_secs(1);
/// The same for the small version, which shares its machine with builds and other tests.
const PROBED_SMALL: Duration = Duration::from_secs(5);
const LOOKED_UP: Duration = Duration::from_secs(3);
/// They come one after the other: what is tried is how long they stay, and not what the kernel's queue of new
/// connections holds.
const ARRIVING: Duration = Duration::from_secs(3);
/// One that was closed comes again, after so long.
const AGAIN: Duration = Duration::from_secs(3);
const EVERY: Duration = Duration::from_millis(250);

/// Connections that send a byte a second, for as long as there are events.
pub(super) async fn slow(stage: &mut Stage, size: Size) -> Result {
    let address = stage.open_http();
    stage.begin().await?;
    let steps = stage.chance.steps(size.events, stage.load.runs, Mix::default());
    let mut clients = JoinSet::new();
    let count = clients_allowed(if size.small { CLIENTS_SMALL } else { CLIENTS });
    for client in 0..count {
        clients.spawn(slow_client(address, client < BODIES, ARRIVING.mul_f64(client as f64 / count as f64)));
    }
    let (mut probes, mut look_ups) = (Vec::new(), Vec::new());
    let (load, pace) = (&stage.load, size.pace() / 4);
    let probing = async {
        tokio::time::sleep(ARRIVING).await;
        loop {
            for path in ["/healthz", "/readyz"] {
                probes.push(http::get(address, path).await?.took);
            }
            look_ups
                .push(http::get(address, "/api/v1/share-links?course_id=course-v1:a%2Bb%2Bc").await?.took);
            tokio::time::sleep(EVERY).await;
        }
    };
    let played: anyhow::Result<()> = tokio::select! {
        played = load.play(&steps, pace) => played,
        broken = probing => broken,
    };
    played?;
    drop(clients);
    stage.settle(size.settling()).await?;
    let verdict = stage.judge().await?;
    let slowest = |times: &[Duration]| times.iter().max().copied().unwrap_or(Duration::MAX);
    let demands = vec![
        Demand::new("slow clients", count.to_string(), true),
        Demand::within(
            "probes; the slowest",
            slowest(&probes),
            if size.small { PROBED_SMALL } else { PROBED },
        ),
        Demand::within("look-ups of others; the slowest", slowest(&look_ups), LOOKED_UP),
        no_dead_letters(&verdict),
    ];
    Ok((verdict, demands))
}

/// As many as there may be open files for, on both sides.
fn clients_allowed(wanted: usize) -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = files.and_then(|values| values.split_whitespace().next()?.parse::<usize>().ok());
    soft.map_or(wanted, |soft| wanted.min(soft / 2))
}

/// A client that is closed connects again: it means harm.
async fn slow_client(address: SocketAddr, with_body: bool, arrives: Duration) {
    tokio::time::sleep(arrives).await;
    let head = "POST /api/v1/share-links HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n";
    let start = if with_body { head } else { "G" };
    loop {
        if let Ok(mut socket) = TcpStream::connect(address).await {
            let mut alive = socket.write_all(start.as_bytes()).await.is_ok();
            while alive {
                tokio::time::sleep(Duration::from_secs(1)).await;
                alive = socket.write_all(b" ").await.is_ok();
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}
