//! The program as an operator runs it: the release binary as a process, and what the kernel says that it used.

use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use test_support::process::{Usage, lines_with};
use test_support::program::beside;
use test_support::{Process, Signal, until_every};

/// The worker promises to end within 20 s of a SIGTERM.
const STOP_LIMIT: Duration = Duration::from_secs(25);
/// Between two looks at the log: the clock runs from there.
const LOOK: Duration = Duration::from_millis(1);

/// A running `course-sharing`.
pub(crate) struct Program(Process);

impl Program {
    /// Starts `course-sharing <arguments>`; stdout and stderr go to files in `dir`.
    pub(crate) fn start(
        arguments: &[&str],
        environment: &[(String, String)],
        dir: &Path,
    ) -> anyhow::Result<Self> {
        let outputs = ["stdout.log", "stderr.log"].map(|file| dir.join(file));
        // Without what the one before has said.
        outputs.iter().try_for_each(|file| File::create(file).map(drop))?;
        let mut command = Command::new(beside()?);
        command.args(arguments).envs(environment.iter().cloned());
        let process = Process::start_with_us("course-sharing", &mut command, &outputs[0], &outputs[1]);
        Ok(Self(process.context("ops/bench builds it")?))
    }

    /// When the log says that events are consumed.
    pub(crate) async fn attached(&mut self, limit: Duration) -> anyhow::Result<Instant> {
        let process = &mut self.0;
        until_every(LOOK, "the worker consumes", limit, async || match process.ended()? {
            Some(status) => bail!("the worker ended at once ({status}): {}", process.last_words()),
            None => Ok(lines_with(process.log(), "consumer.attached") > 0),
        })
        .await?;
        Ok(Instant::now())
    }

    /// What it has used so far; the last known figures once it has ended.
    pub(crate) fn usage(&mut self) -> Usage {
        self.0.usage()
    }

    /// Stops it as an operator would, and says what it had used.
    pub(crate) async fn stop(mut self) -> anyhow::Result<Usage> {
        self.usage();
        self.0.signal(Signal::Term)?;
        let status = self.ended(STOP_LIMIT).await?;
        ensure!(status.success(), "the worker ended badly ({status}): {}", self.log_end());
        Ok(self.usage())
    }

    /// Waits for its end, looking at its use meanwhile.
    pub(crate) async fn ended(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        self.0.wait(limit).await
    }

    /// How many lines of the log tell of this event.
    pub(crate) fn told(&self, event: &str) -> usize {
        lines_with(self.0.log(), event)
    }

    /// The last lines of the log.
    pub(crate) fn log_end(&self) -> String {
        self.0.last_words()
    }
}
