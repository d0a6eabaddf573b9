//! The program under test: the real binary, configured by its environment alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use test_support::process::lines_with;
use test_support::program::{command, variable};
use test_support::{Process, Signal};

/// In which a worker that is told to stop must have ended.
pub(crate) const STOPPING: Duration = Duration::from_secs(20);

/// How to start the program: where it is, and its environment.
#[derive(Clone)]
pub(crate) struct Program {
    binary: PathBuf,
    environment: BTreeMap<String, String>,
    directory: PathBuf,
}

impl Program {
    /// The program with the settings that every scenario has.
    pub(crate) fn new(binary: &Path, directory: &Path) -> Self {
        Self { binary: binary.to_owned(), environment: BTreeMap::new(), directory: directory.to_owned() }
    }

    /// Sets `section.key`.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<String>) {
        self.environment.insert(variable(key), value.into());
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// If it does not end with 0.
    pub(crate) async fn run(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut process = self.start("command", arguments)?;
        let status = process.wait(Duration::from_secs(120)).await?;
        if !status.success() {
            bail!("course-sharing {} ended with {status}:\n{}", arguments.join(" "), process.last_words());
        }
        Ok(())
    }

    fn start(&self, name: &str, arguments: &[&str]) -> anyhow::Result<Process> {
        let mut command = command(&self.binary);
        command.args(arguments).envs(&self.environment).current_dir(&self.directory);
        Process::start("course-sharing", &mut command, &self.log(name))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.log"))
    }
}

/// A worker that is killed and started again, and keeps one log throughout.
pub(crate) struct Worker {
    program: Program,
    name: String,
    process: Option<Process>,
    /// The id of the newest process.
    id: Arc<AtomicU32>,
}

impl Worker {
    /// Starts one.
    pub(crate) fn start(program: Program, name: &str) -> anyhow::Result<Self> {
        let mut worker = Self { program, name: name.to_owned(), process: None, id: Arc::default() };
        worker.start_again()?;
        Ok(worker)
    }

    /// Starts it again.
    pub(crate) fn start_again(&mut self) -> anyhow::Result<()> {
        let process = self.program.start(&self.name, &["worker"])?;
        self.id.store(process.id(), Ordering::Relaxed);
        self.process = Some(process);
        Ok(())
    }

    /// The id of its newest process, for somebody who watches while another restarts it.
    pub(crate) fn id(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.id)
    }

    /// Freezes it for so long.
    pub(crate) async fn freeze(&mut self, how_long: Duration) -> anyhow::Result<()> {
        self.must_run()?.signal(Signal::Stop)?;
        tokio::time::sleep(how_long).await;
        self.must_run()?.signal(Signal::Cont)
    }

    /// SIGKILL.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.must_run()?.kill().await
    }

    /// SIGTERM; how long it took to end.
    ///
    /// # Errors
    /// If it ended with anything but 0, or not within [`STOPPING`].
    pub(crate) async fn terminate(&mut self) -> anyhow::Result<Duration> {
        let process = self.must_run()?;
        let since = Instant::now();
        process.signal(Signal::Term)?;
        let status = process.wait(STOPPING).await?;
        if status.code() != Some(0) {
            bail!("the worker ended with {status} after SIGTERM:\n{}", process.last_words());
        }
        self.process = None;
        Ok(since.elapsed())
    }

    /// Whether it was started and has not been stopped.
    pub(crate) fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// How many lines of its log have this in them.
    pub(crate) fn log_lines(&self, what: &str) -> usize {
        lines_with(&self.program.log(&self.name), what)
    }

    /// The process; a worker that ended by itself is an error, whatever the fault was.
    pub(crate) fn must_run(&mut self) -> anyhow::Result<&mut Process> {
        let Some(process) = self.process.as_mut() else { bail!("the worker was not started") };
        if let Some(status) = process.ended()? {
            bail!("the worker ended by itself with {status}:\n{}", process.last_words());
        }
        Ok(process)
    }
}
