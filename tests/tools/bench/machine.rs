//! What it ran on, without which no figure means anything.

use std::fs;
use std::time::Duration;

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::database::Kind;

/// Processors, memory, servers and the day, in lines of Markdown.
pub(crate) async fn description(broker: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = first("/proc/cpuinfo", "model name").unwrap_or_default();
    let memory = first("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kib: f64 = memory.trim_end_matches(" kB").parse().unwrap_or(0.0);
    let mut lines = vec![
        format!("- {cores} cores ({cpu}), {:.0} GiB of memory, Linux", kib / 1024.0 / 1024.0),
        format!("- broker: {broker}"),
    ];
    for kind in [Kind::Postgres, Kind::Mysql] {
        lines.push(format!("- {}", server(kind).await));
    }
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    lines.push(format!("- load when it began: {load}"));
    lines.push(format!("- {}", chrono::Utc::now().format("%-d %B %Y")));
    lines.join("\n")
}

async fn server(kind: Kind) -> String {
    let (name, backend, sql) = match kind {
        Kind::Postgres => (
            "PostgreSQL",
            DbBackend::Postgres,
            "SELECT current_setting('server_version') || ', fsync ' || current_setting('fsync') || \
             ', synchronous_commit ' || current_setting('synchronous_commit') || ', ssl ' || current_setting('ssl') AS t",
        ),
        _ => (
            "MariaDB",
            DbBackend::MySql,
            "SELECT CONCAT(VERSION(), ', innodb_flush_log_at_trx_commit ', @@innodb_flush_log_at_trx_commit) AS t",
        ),
    };
    let asked = async {
        let db = kind.connect(&kind.server()?).await.ok()?;
        let row = db.query_one_raw(Statement::from_string(backend, sql)).await.ok()??;
        row.try_get::<String>("", "t").ok()
    };
    format!("{name} {}", asked.await.unwrap_or_else(|| "(not asked)".to_owned()))
}

fn first(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.split_once(':')?.1.trim().to_owned()))
}

/// How busy all cores are together, between two looks.
pub(crate) struct Busy(u64);

impl Busy {
    pub(crate) fn begin() -> Self {
        Self(busy_ticks())
    }

    /// Cores' worth of work, of whoever's, over `time`.
    pub(crate) fn cores(&self, time: Duration) -> f64 {
        busy_ticks().saturating_sub(self.0) as f64 / 100.0 / time.as_secs_f64().max(1e-9)
    }
}

fn busy_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    ticks.iter().enumerate().filter(|(n, _)| !matches!(n, 3 | 4) && *n < 8).map(|(_, ticks)| ticks).sum()
}
