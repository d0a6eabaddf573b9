//! The program as the outside meets it: started as a process, told by signals, asked over HTTP, read from its output.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use test_support::process::{Usage, read};
use test_support::program::command;
use test_support::{Process, Signal, http, until};

use super::wait_until;

const BINARY: &str = env!("CARGO_BIN_EXE_course-sharing");

/// Longer than any command takes, also on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(60);

/// A process of the program; killed if the test ends before it does.
pub(crate) struct Program {
    process: Process,
    stdout: PathBuf,
    dir: tempfile::TempDir,
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Names of the files that it left in the folder it was started in.
    pub(crate) left: Vec<String>,
}

impl Program {
    /// Starts the program with these arguments and, of our own and OpenTelemetry's variables, only these.
    pub(crate) fn start(arguments: &[&str], environment: &[(String, String)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (stdout, stderr) = (dir.path().join("stdout"), dir.path().join("stderr"));
        let mut command = command(BINARY);
        command.args(arguments).envs(environment.iter().cloned()).current_dir(dir.path());
        let process = Process::start_with_us("course-sharing", &mut command, &stdout, &stderr).unwrap();
        Self { process, stdout, dir }
    }

    /// Its end, which must come by itself.
    pub(crate) async fn ended(&mut self) -> Ended {
        self.ended_within(LIMIT).await
    }

    /// The same, within a time of the contract.
    pub(crate) async fn ended_within(&mut self, limit: Duration) -> Ended {
        let Ok(status) = self.process.wait(limit).await else {
            panic!("the process has not ended within {limit:?}; it said:\n{}", self.stderr());
        };
        let files = std::fs::read_dir(self.dir.path()).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let left = names.filter(|name| !["stdout", "stderr"].contains(&name.as_str())).collect();
        Ended { code: status.code(), stdout: read(&self.stdout), stderr: self.stderr(), left }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The most memory that it has taken so far, in bytes, as the kernel counts it.
    pub(crate) fn peak_memory(&self) -> u64 {
        Usage::of(self.id()).unwrap().peak
    }

    /// Sends a signal to this process alone.
    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal).unwrap();
    }

    /// Ends it as a power cut would.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await.unwrap();
    }

    /// SIGTERM, and the end, which must come within the 20 s that are promised.
    pub(crate) async fn stop(mut self) -> Ended {
        self.signal(Signal::Term);
        self.ended_within(Duration::from_secs(20)).await
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.ended().unwrap().is_none()
    }

    /// What it has printed on stdout so far.
    pub(crate) fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it has said on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        read(self.process.log())
    }

    /// The log lines of an event of this name so far.
    pub(crate) fn logged(&self, event: &str) -> Vec<Value> {
        lines(&self.stderr()).into_iter().filter(|line| line["event"] == event).collect()
    }

    /// Waits until it has logged this event, and returns the first such line.
    pub(crate) async fn until_logged(&self, event: &str) -> Value {
        let mut line = None;
        let is_logged = async || {
            line = self.logged(event).into_iter().next();
            Ok(line.is_some())
        };
        let logged = until(&format!("{event} is logged"), LIMIT, is_logged).await;
        logged.unwrap_or_else(|error| panic!("{error}; it said:\n{}", self.stderr()));
        line.unwrap()
    }

    /// Where its HTTP port is.
    pub(crate) async fn http(&self) -> SocketAddr {
        self.until_logged("http.listening").await["address"].as_str().unwrap().parse().unwrap()
    }

    /// Status and body of a `GET`; `None` if nobody answers.
    pub(crate) async fn get(&self, path: &str) -> Option<(u16, String)> {
        let answer = http::get(self.http().await, path).await.ok()?;
        Some((answer.status, answer.body))
    }

    /// Waits for this status, and returns the body.
    pub(crate) async fn until_status(&self, path: &str, status: u16, limit: Duration) -> String {
        let mut found = None;
        let has_status = async || {
            found = self.get(path).await;
            Ok(found.as_ref().is_some_and(|(found, _)| *found == status))
        };
        if let Err(error) = until(&format!("{path} is {status}"), limit, has_status).await {
            panic!("{error}, but {found:?}:\n{}", self.stderr());
        }
        found.unwrap().1
    }

    /// Waits until the page at `/` says all of this; each look at it must come to an end within `limit`.
    pub(crate) async fn until_page(&self, limit: Duration, words: &[&str]) -> String {
        let mut page = String::new();
        let says_all = async || {
            let (status, text) = tokio::time::timeout(limit, self.get("/")).await.unwrap().unwrap();
            assert_eq!(status, 200);
            page = text;
            Ok(words.iter().all(|words| page.contains(words)))
        };
        let said = until(&format!("the page says all of {words:?}"), LIMIT, says_all).await;
        said.unwrap_or_else(|error| panic!("{error}: {page}"));
        page
    }

    /// The value of a series on `/metrics`, written as it stands there.
    pub(crate) async fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics").await?;
        http::metric(&text, series)
    }

    /// Waits until a series has this value.
    pub(crate) async fn until_metric(&self, series: &str, value: f64) {
        let what = format!("{series} {value}");
        wait_until(LIMIT, &what, || async { self.metric(series).await == Some(value) }).await;
    }
}

/// Runs the program on a terminal of its own, with this typed in; what it shows there is its stdout.
pub(crate) async fn on_terminal(arguments: &[&str], environment: &[(String, String)], typed: &str) -> Ended {
    let quoted = arguments.iter().map(|argument| format!(" '{argument}'"));
    let line = format!("'{BINARY}'{}", quoted.collect::<String>());
    let dir = tempfile::tempdir().unwrap();
    // With an end of its own: a question that waits for an answer would outlive the test.
    let mut script = command("timeout");
    script.args(["60", "script", "--quiet", "--return", "--echo", "never", "--command", &line, "/dev/null"]);
    script.envs(environment.iter().cloned()).env("TERM", "xterm").env_remove("NO_COLOR");
    let mut child =
        script.current_dir(dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let typed = typed.to_owned();
    let output = tokio::task::spawn_blocking(move || {
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), typed.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    let output = tokio::time::timeout(LIMIT, output).await.unwrap().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    Ended { code: output.status.code(), stdout, stderr: String::new(), left: Vec::new() }
}

impl Ended {
    /// Fails unless it ended with this code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// stdout as the one JSON document that it has to be.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}:\n{}", self.stdout))
    }

    /// Everything that it said.
    pub(crate) fn said(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }

    /// Fails unless each of these words was said.
    #[track_caller]
    pub(crate) fn says(&self, words: &[&str]) {
        let said = self.said();
        for word in words {
            assert!(said.contains(word), "no {word:?} in:\n{said}");
        }
    }

    /// Fails if this was said anywhere.
    #[track_caller]
    pub(crate) fn keeps_quiet_about(&self, secret: &str) {
        assert!(!self.said().contains(secret), "{secret:?} in:\n{}", self.said());
    }

    /// The log lines of an event of this name.
    pub(crate) fn logged(&self, event: &str) -> Vec<Value> {
        lines(&self.stderr).into_iter().filter(|line| line["event"] == event).collect()
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
