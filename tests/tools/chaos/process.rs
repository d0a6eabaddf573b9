//! Processes of our own: each in its own group, known by its id, and ended by that and by nothing else.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// How long a process may take to die of a SIGKILL before we say so.
const DYING: Duration = Duration::from_secs(10);

/// A child and its log. Dropping it ends it, also while a panic unwinds.
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

/// The signals that we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Stop in order.
    Term,
    /// Die at once.
    Kill,
    /// PostgreSQL: stop in order without waiting for clients.
    Int,
    /// PostgreSQL: stop at once and recover at the next start.
    Quit,
    /// Freeze.
    Stop,
    /// Go on.
    Cont,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Kill => "KILL",
            Self::Int => "INT",
            Self::Quit => "QUIT",
            Self::Stop => "STOP",
            Self::Cont => "CONT",
        }
    }
}

impl Process {
    /// Starts it in a process group of its own, with both outputs appended to `log`.
    ///
    /// # Errors
    /// If the program is not there or the log cannot be written.
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0)
            .spawn()
            .with_context(|| format!("{name} did not start: {:?}", command.get_program()))?;
        Ok(Self { child, name: name.to_owned(), log: log.to_owned() })
    }

    /// Sends a signal to this process alone, or with [`Signal::Kill`], [`Signal::Stop`] and [`Signal::Cont`] to
    /// its group. A process that has ended is left alone: its id may be another's by now.
    pub(crate) fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        let whole_group = matches!(signal, Signal::Kill | Signal::Stop | Signal::Cont);
        let target = format!("{}{}", if whole_group { "-" } else { "" }, self.child.id());
        // The shell's own `kill`: a system call from here would need unsafe code or another dependency.
        let sent = Command::new("/bin/sh")
            .args(["-c", r#"kill -s "$1" -- "$2""#, "sh", signal.name(), &target])
            .stderr(Stdio::null())
            .status()?;
        if !sent.success() && self.ended()?.is_none() {
            bail!("{} could not be sent SIG{}", self.name, signal.name());
        }
        Ok(())
    }

    /// Its id, as in /proc.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// If it still runs after `limit`.
    pub(crate) async fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let since = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if since.elapsed() > limit {
                bail!("{} still runs after {limit:?}; its log: {}", self.name, self.log.display());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// SIGKILL to the whole group, and waits for the end.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::Kill)?;
        self.wait(DYING).await?;
        Ok(())
    }

    /// The last lines of its log, for a message that explains.
    pub(crate) fn last_words(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = text.lines().rev().take(15).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.signal(Signal::Cont);
        let _ = self.signal(Signal::Kill);
        let _ = self.child.wait();
    }
}

/// Asks `done` until it says yes.
///
/// # Errors
/// If it has not said so within `limit`; `what` says what did not come true.
pub(crate) async fn until(
    what: &str,
    limit: Duration,
    mut done: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<Duration> {
    let since = Instant::now();
    loop {
        if done().await? {
            return Ok(since.elapsed());
        }
        if since.elapsed() > limit {
            bail!("{what}: not within {limit:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
