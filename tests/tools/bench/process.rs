//! The program as an operator runs it: the release binary as a process, and what the kernel says that it used.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// `USER_HZ`, which Linux promises to programs whatever its own clock does.
const TICKS_A_SECOND: u64 = 100;
/// The worker promises to end within 20 s of a SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(25);

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// On a processor, user and system.
    pub(crate) cpu: Duration,
    /// Resident now, in bytes.
    pub(crate) resident: u64,
    /// The most that was ever resident, in bytes.
    pub(crate) peak: u64,
}

/// A running `course-sharing`; killed when dropped.
pub(crate) struct Program {
    child: Child,
    log: PathBuf,
    last: Usage,
}

impl Program {
    /// Starts `course-sharing <arguments>`; stdout and stderr go to files in `dir`.
    pub(crate) fn start(
        arguments: &[&str],
        environment: &[(String, String)],
        dir: &Path,
    ) -> anyhow::Result<Self> {
        let log = dir.join("stderr.log");
        let mut command = Command::new(binary()?);
        command.args(arguments).envs(environment.iter().cloned()).stdin(Stdio::null());
        command.stdout(File::create(dir.join("stdout.log"))?).stderr(File::create(&log)?);
        let child = command.spawn().context("cannot start course-sharing; ops/bench builds it")?;
        Ok(Self { child, log, last: Usage::default() })
    }

    /// When the log says that events are consumed.
    pub(crate) async fn attached(&mut self, limit: Duration) -> anyhow::Result<Instant> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if fs::read_to_string(&self.log)?.contains("consumer.attached") {
                return Ok(Instant::now());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the worker ended at once ({status}): {}", self.log_end());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        bail!("the worker consumes nothing after {} s: {}", limit.as_secs(), self.log_end())
    }

    /// What it has used so far; the last known figures once it has ended.
    pub(crate) fn usage(&mut self) -> Usage {
        if let Some(usage) = usage_of(self.child.id()) {
            self.last = Usage { peak: usage.peak.max(self.last.peak), ..usage };
        }
        self.last
    }

    /// Stops it as an operator would, and says what it had used.
    pub(crate) async fn stop(mut self) -> anyhow::Result<Usage> {
        self.usage();
        // By its id; std has no other signal than KILL.
        Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status()?;
        let status = self.ended(STOP_LIMIT).await?;
        if !status.success() {
            bail!("the worker ended badly ({status}): {}", self.log_end());
        }
        Ok(self.last)
    }

    /// Waits for its end, looking at its use meanwhile.
    pub(crate) async fn ended(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            self.usage();
            if Instant::now() > deadline {
                bail!("it has not ended after {} s: {}", limit.as_secs(), self.log_end());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How many lines of the log tell of this event.
    pub(crate) fn told(&self, event: &str) -> usize {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().filter(|line| line.contains(event)).count()
    }

    /// The last lines of the log.
    pub(crate) fn log_end(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(8).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n    ")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// None once it is gone.
pub(crate) fn usage_of(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold blanks; utime and stime are the 12th and 13th fields behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = |name: &str| -> Option<u64> {
        status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
    };
    Some(Usage {
        cpu: Duration::from_millis(ticks * 1000 / TICKS_A_SECOND),
        resident: kib("VmRSS:")? * 1024,
        peak: kib("VmHWM:")? * 1024,
    })
}

/// The program, built beside this one: `target/release/bench` and `target/release/course-sharing`.
fn binary() -> anyhow::Result<PathBuf> {
    let ours = std::env::current_exe()?;
    let folder = ours.parent().context("this program is in no folder")?;
    Ok(folder.join("course-sharing"))
}
