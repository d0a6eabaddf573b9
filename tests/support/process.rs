//! Processes of our own: each known by its id, and ended by that and by nothing else.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

/// How long a process may take to die of a SIGKILL before we say so.
const DYING: Duration = Duration::from_secs(10);
/// `USER_HZ`, which Linux promises to programs whatever its own clock does.
const TICKS_A_SECOND: u64 = 100;

/// A child and its log. Dropping it ends it, also while a panic unwinds.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
    leads_a_group: bool,
    ended: Option<ExitStatus>,
    used: Usage,
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// On a processor, user and system.
    pub cpu: Duration,
    /// Resident now, in bytes.
    pub resident: u64,
    /// The most that was ever resident, in bytes.
    pub peak: u64,
}

/// The signals that we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Stop in order.
    Term,
    /// Die at once.
    Kill,
    /// The terminal's Ctrl-C. PostgreSQL: stop in order without waiting for clients.
    Int,
    /// PostgreSQL: stop at once and recover at the next start.
    Quit,
    /// Read the configuration again.
    Hup,
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
            Self::Hup => "HUP",
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
    pub fn start(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        Self::spawn(name, command.process_group(0), [log, log], true)
    }

    /// Starts it in our own process group, so that who interrupts us interrupts it; with stdout appended to a file of
    /// its own.
    ///
    /// # Errors
    /// As [`Process::start`].
    pub fn start_with_us(
        name: &str,
        command: &mut Command,
        stdout: &Path,
        log: &Path,
    ) -> anyhow::Result<Self> {
        Self::spawn(name, command, [stdout, log], false)
    }

    fn spawn(
        name: &str,
        command: &mut Command,
        [stdout, log]: [&Path; 2],
        leads_a_group: bool,
    ) -> anyhow::Result<Self> {
        let append = |file| File::options().create(true).append(true).open(file);
        let child = command
            .stdin(Stdio::null())
            .stdout(append(stdout)?)
            .stderr(append(log)?)
            .spawn()
            .with_context(|| format!("{name} did not start: {:?}", command.get_program()))?;
        let (name, log) = (name.to_owned(), log.to_owned());
        Ok(Self { child, name, log, leads_a_group, ended: None, used: Usage::default() })
    }

    /// Sends a signal to this process alone, or with [`Signal::Kill`], [`Signal::Stop`] and [`Signal::Cont`] to
    /// its own group. A process that is known to have ended is left alone: its id may be another's by now.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        if self.ended.is_some() {
            return Ok(());
        }
        let whole_group = self.leads_a_group && matches!(signal, Signal::Kill | Signal::Stop | Signal::Cont);
        let target = format!("{}{}", if whole_group { "-" } else { "" }, self.id());
        // The shell's own `kill`: a system call from here would need unsafe code or another dependency.
        let sent = Command::new("/bin/sh")
            .args(["-c", r#"kill -s "$1" -- "$2""#, "sh", signal.name(), &target])
            .stderr(Stdio::null())
            .status()?;
        ensure!(sent.success(), "{} could not be sent SIG{}", self.name, signal.name());
        Ok(())
    }

    /// Its id, as in /proc.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where its stderr goes, and its stdout where that has no file of its own.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    /// Waits for its end, looking at its use meanwhile.
    ///
    /// # Errors
    /// If it still runs after `limit`.
    pub async fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let since = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            self.usage();
            if since.elapsed() > limit {
                let (name, log) = (&self.name, self.log.display());
                bail!("{name} still runs after {limit:?}; the end of {log}:\n{}", self.last_words());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGKILL, and waits for the end.
    ///
    /// # Errors
    /// If it does not die.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::Kill)?;
        self.wait(DYING).await?;
        Ok(())
    }

    /// What it has used so far; the last known figures once it has ended.
    pub fn usage(&mut self) -> Usage {
        if self.ended.is_none()
            && let Some(usage) = Usage::of(self.id())
        {
            self.used = usage;
        }
        self.used
    }

    /// The last lines of its log, for a message that explains.
    pub fn last_words(&self) -> String {
        let log = read(&self.log);
        let lines: Vec<&str> = log.lines().rev().take(15).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.signal(Signal::Kill);
        // Where the shell could not be started, it alone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Usage {
    /// Of the process with this id; none once it is gone.
    pub fn of(id: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name in parentheses may hold blanks; utime and stime are the 12th and 13th fields behind it.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        Some(Self {
            cpu: Duration::from_millis(ticks * 1000 / TICKS_A_SECOND),
            resident: kib(&status, "VmRSS:")? * 1024,
            peak: kib(&status, "VmHWM:")? * 1024,
        })
    }
}

/// The number in a line of /proc such as `VmRSS:     1234 kB`.
pub fn kib(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// What has been written into a file so far; nothing if there is none.
pub fn read(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
}

/// How many lines of a file have this in them.
pub fn lines_with(file: &Path, what: &str) -> usize {
    read(file).lines().filter(|line| line.contains(what)).count()
}
