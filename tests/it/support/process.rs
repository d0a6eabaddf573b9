//! The program as the outside meets it: started as a process, told by signals, asked over HTTP, read from its output.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::wait_until;

/// Longer than any command takes, also on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(60);

/// A process of the program; killed by its id if the test ends before it does.
pub(crate) struct Program {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
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
        let mut command = Command::new(env!("CARGO_BIN_EXE_course-sharing"));
        for (name, _) in std::env::vars() {
            if name.starts_with("COURSE_SHARING_") || name.starts_with("OTEL_") {
                command.env_remove(name);
            }
        }
        let child = command
            .args(arguments)
            .envs(environment.iter().cloned())
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        Self { child, stdout, stderr, dir }
    }

    /// Its end, which must come by itself.
    pub(crate) async fn ended(&mut self) -> Ended {
        self.ended_within(LIMIT).await
    }

    /// The same, within a time of the contract.
    pub(crate) async fn ended_within(&mut self, limit: Duration) -> Ended {
        let waiting = async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let Ok(status) = tokio::time::timeout(limit, waiting).await else {
            panic!("the process has not ended within {limit:?}; it said:\n{}", self.stderr());
        };
        let files = std::fs::read_dir(self.dir.path()).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let left = names.filter(|name| !["stdout", "stderr"].contains(&name.as_str())).collect();
        Ended { code: status.code(), stdout: read(&self.stdout), stderr: self.stderr(), left }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it has taken so far, in bytes, as the kernel counts it.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Sends a signal, as in `TERM`, to this process alone.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and the end, which must come within the 20 s that are promised.
    pub(crate) async fn stop(mut self) -> Ended {
        self.signal("TERM");
        self.ended_within(Duration::from_secs(20)).await
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it has printed on stdout so far.
    pub(crate) fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it has said on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// The log lines of an event of this name so far.
    pub(crate) fn logged(&self, event: &str) -> Vec<Value> {
        lines(&self.stderr()).into_iter().filter(|line| line["event"] == event).collect()
    }

    /// Waits until it has logged this event, and returns the first such line.
    pub(crate) async fn until_logged(&self, event: &str) -> Value {
        let mut looked = 0;
        let seen = async {
            loop {
                if let Some(line) = self.logged(event).into_iter().next() {
                    return line;
                }
                looked += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(LIMIT, seen).await {
            Ok(line) => line,
            Err(_) => panic!("no {event:?} in {looked} looks; it said:\n{}", self.stderr()),
        }
    }

    /// Where its HTTP port is.
    pub(crate) async fn http(&self) -> SocketAddr {
        self.until_logged("http.listening").await["address"].as_str().unwrap().parse().unwrap()
    }

    /// Status and body of a `GET`; `None` if nobody answers.
    pub(crate) async fn get(&self, path: &str) -> Option<(u16, String)> {
        get(self.http().await, path).await.ok()
    }

    /// Waits for this status, and returns the body.
    pub(crate) async fn until_status(&self, path: &str, status: u16, limit: Duration) -> String {
        let mut body = String::new();
        let waited = tokio::time::timeout(limit, async {
            loop {
                match self.get(path).await {
                    Some((found, text)) if found == status => return text,
                    Some((found, text)) => body = format!("{found} {text}"),
                    None => body = "nobody answers".to_owned(),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        match waited.await {
            Ok(text) => text,
            Err(_) => panic!("{path} is {body}, and not {status} within {limit:?}:\n{}", self.stderr()),
        }
    }

    /// Waits until the page at `/` says all of this; each look at it must come to an end within `limit`.
    pub(crate) async fn until_page(&self, limit: Duration, words: &[&str]) -> String {
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            let (status, page) = tokio::time::timeout(limit, self.get("/")).await.unwrap().unwrap();
            assert_eq!(status, 200);
            if words.iter().all(|words| page.contains(words)) {
                return page;
            }
            assert!(tokio::time::Instant::now() < deadline, "not all of {words:?} in {page}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The value of a series on `/metrics`, written as it stands there.
    pub(crate) async fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics").await?;
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
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
    let line = format!("'{}'{}", env!("CARGO_BIN_EXE_course-sharing"), quoted.collect::<String>());
    let dir = tempfile::tempdir().unwrap();
    // With an end of its own: a question that waits for an answer would outlive the test.
    let mut script = Command::new("timeout");
    script.args(["60", "script", "--quiet", "--return", "--echo", "never", "--command", &line, "/dev/null"]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("COURSE_SHARING_")) {
        script.env_remove(name);
    }
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

impl Drop for Program {
    fn drop(&mut self) {
        // Errors say that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

async fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    status.zip(body).ok_or_else(|| std::io::Error::other(answer))
}
