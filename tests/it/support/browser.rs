//! A headless Chromium, driven through chromedriver by the WebDriver protocol: a handful of JSON requests.

use std::panic::AssertUnwindSafe;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use futures_util::FutureExt;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::Process;
use test_support::process::read;
use url::form_urlencoded;

use super::project::root;
use super::wait_until;

/// For the browser to start, and for anything that it is asked.
const LIMIT: Duration = Duration::from_secs(60);
/// As the protocol names a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// axe-core, which `ops/services` gets.
static AXE: LazyLock<String> = LazyLock::new(|| {
    let file = root().join("target/axe-core/axe.min.js");
    std::fs::read_to_string(&file).unwrap_or_else(|error| {
        panic!("{}: {error}; it is what checks the page: ops/services browser gets it", file.display())
    })
});

/// One browser with one empty profile.
pub(crate) struct Browser {
    driver: Process,
    session: String,
    client: reqwest::Client,
    _profile: tempfile::TempDir,
}

/// Runs a test with a browser, and ends the browser whatever becomes of the test.
pub(crate) async fn with_browser(test: impl AsyncFnOnce(&Browser)) {
    let browser = Browser::start().await;
    let outcome = AssertUnwindSafe(test(&browser)).catch_unwind().await;
    browser.quit().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

impl Browser {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let profile = tempfile::tempdir().unwrap();
        let said = profile.path().join("chromedriver");
        let mut command = Command::new("chromedriver");
        let driver = Process::start_with_us("chromedriver", command.arg("--port=0"), &said, &said)
            .unwrap_or_else(|error| {
                panic!(
                    "chromedriver cannot be started ({error}): the page is tested in a real browser. ops/test installs \
                     it where it may; else install chromium and chromedriver (Debian: chromium chromium-driver)"
                )
            });
        let port = || {
            let said = read(&said);
            said.split("successfully on port ")
                .nth(1)?
                .split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse::<u16>()
                .ok()
        };
        wait_until(LIMIT, "chromedriver listens", || async { port().is_some() }).await;
        let client = reqwest::Client::builder().timeout(LIMIT).no_proxy().build().unwrap();
        let session = format!("http://127.0.0.1:{}/session", port().unwrap());
        let mut browser = Self { driver, session, client, _profile: profile };
        let created = browser.send(Method::POST, "", browser.capabilities()).await;
        let id = created["sessionId"].as_str().unwrap();
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    fn capabilities(&self) -> Value {
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &format!("--user-data-dir={}", self._profile.path().display()),
        ];
        json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } })
    }

    /// Sends one request of the protocol, which must succeed; its value.
    async fn send(&self, method: Method, path: &str, body: Value) -> Value {
        self.try_send(method, path, body)
            .await
            .unwrap_or_else(|error| panic!("chromedriver: {path}: {error}"))
    }

    /// Sends one request of the protocol; its value, or what the driver says against it.
    async fn try_send(&self, method: Method, path: &str, body: Value) -> Result<Value, Value> {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.session));
        if method == Method::POST {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("chromedriver: {path}: {error}"));
        let status = answer.status();
        let mut answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        if status.is_success() { Ok(answer["value"].take()) } else { Err(answer["value"]["message"].take()) }
    }

    /// Loads a page, to its end.
    pub(crate) async fn open(&self, url: &str) {
        self.send(Method::POST, "/url", json!({ "url": url })).await;
    }

    /// What a piece of JavaScript returns, run from outside of the page.
    pub(crate) async fn eval(&self, script: &str) -> Value {
        self.send(Method::POST, "/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// What axe-core finds wrong with the page for people with disabilities: each rule, with the elements that break it.
    pub(crate) async fn inaccessible(&self) -> Value {
        let run = "return axe.run().then(found => found.violations.map( \
                   broken => [broken.id, ...broken.nodes.map(node => node.html.slice(0, 200))]))";
        self.eval(&format!("{}; {run}", *AXE)).await
    }

    /// The text of the page as it is seen.
    pub(crate) async fn text(&self) -> String {
        self.eval("return document.body.innerText").await.as_str().unwrap().to_owned()
    }

    /// The page's source as the browser has it.
    pub(crate) async fn source(&self) -> String {
        self.send(Method::GET, "/source", Value::Null).await.as_str().unwrap().to_owned()
    }

    /// Types `text` into the field `name` and presses the form's button, until the browser is on the page that this
    /// leads to. The page may load itself again between two steps: then the field is empty, or the element is stale.
    pub(crate) async fn submit(&self, name: &str, text: &str) {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair(name, text).finish();
        let is_there = || async {
            if let Err(error) = self.try_submit(name, text).await {
                eprintln!("the form is submitted again: {error}");
            }
            let url = self.send(Method::GET, "/url", Value::Null).await;
            url.as_str().is_some_and(|url| url.ends_with(&query))
        };
        wait_until(LIMIT, "the form is submitted", is_there).await;
    }

    async fn try_submit(&self, name: &str, text: &str) -> Result<(), Value> {
        let field = self.element(&format!("[name={name}]")).await?;
        self.try_send(Method::POST, &format!("{field}/clear"), json!({})).await?;
        self.try_send(Method::POST, &format!("{field}/value"), json!({ "text": text })).await?;
        let button = self.element("form button").await?;
        self.try_send(Method::POST, &format!("{button}/click"), json!({})).await?;
        Ok(())
    }

    async fn element(&self, selector: &str) -> Result<String, Value> {
        let by = json!({ "using": "css selector", "value": selector });
        let found = self.try_send(Method::POST, "/element", by).await?;
        Ok(format!("/element/{}", found[ELEMENT].as_str().unwrap()))
    }

    /// A command of Chromium's own protocol.
    pub(crate) async fn cdp(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.send(Method::POST, "/goog/cdp/execute", body).await
    }

    /// A window of this size in CSS pixels, in the light or the dark scheme.
    pub(crate) async fn look(&self, width: u32, height: u32, scheme: &str) {
        let screen =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.cdp("Emulation.setDeviceMetricsOverride", screen).await;
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.cdp("Emulation.setEmulatedMedia", scheme).await;
    }

    /// Errors on the console since the last look, violations of the page's policy among them.
    pub(crate) async fn errors(&self) -> Vec<Value> {
        let entries = self.send(Method::POST, "/se/log", json!({ "type": "browser" })).await;
        let entries = entries.as_array().unwrap().iter();
        entries.filter(|entry| entry["level"] == "SEVERE").cloned().collect()
    }

    /// Writes the whole page as `name`.png into the folder that `SCREENSHOTS` names, if it is set.
    pub(crate) async fn screenshot(&self, name: &str) {
        let Some(folder) = std::env::var_os("SCREENSHOTS") else { return };
        let shot = self.cdp("Page.captureScreenshot", json!({ "captureBeyondViewport": true })).await;
        let file = std::path::Path::new(&folder).join(format!("{name}.png"));
        std::fs::write(file, decoded(shot["data"].as_str().unwrap())).unwrap();
    }

    async fn quit(mut self) {
        // A browser that hangs goes down with its driver's session, if not at once.
        let ended = tokio::time::timeout(LIMIT, self.client.delete(&self.session).send()).await;
        let _ = self.driver.kill().await;
        assert!(matches!(ended, Ok(Ok(_))), "the browser did not end: {ended:?}");
    }
}

/// Base64, as the protocol sends pictures.
fn decoded(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.bytes().filter_map(|c| DIGITS.iter().position(|digit| *digit == c));
    let (mut bytes, mut bits, mut held) = (Vec::with_capacity(text.len() / 4 * 3), 0_usize, 0);
    for digit in digits {
        (bits, held) = ((bits << 6 | digit) & 0xFFFF, held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xFF) as u8);
        }
    }
    bytes
}
