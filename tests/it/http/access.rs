//! Who is answered: tokens, ports that nobody may use, and a running worker that takes over other tokens.

use reqwest::{Method, StatusCode};
use serde_json::json;
use test_support::Signal;

use super::port::{KNOWN, Port, with_port_of};
use crate::support::databases::Kind;
use crate::support::process::Program;
use crate::support::stage::{SOON, with_stage};
use crate::support::wait_until;

const TOKEN: &str = "0123456789abcdef-a-token";
const OTHER: &str = "fedcba9876543210-another";
/// No token.
const SHORT: &str = "too-short-1";
/// `anybody` and [`TOKEN`].
const BASIC: &str = "Basic YW55Ym9keTowMTIzNDU2Nzg5YWJjZGVmLWEtdG9rZW4=";
/// What needs a token: what is there, and what is not.
const GUARDED: [&str; 8] = [
    "/",
    "/blank.csv",
    "/runbook",
    "/style.css",
    "/api/v1/status",
    "/api/v1/openapi.json",
    "/nothing",
    "/healthz/",
];
const OPEN: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// A file with this text.
fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn path(file: &tempfile::NamedTempFile) -> String {
    file.path().to_str().unwrap().to_owned()
}

async fn get(port: &Port, path: &str, authorization: Option<&str>) -> reqwest::Response {
    let mut request = port.client.get(format!("http://{}{path}", port.address));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn with_tokens_all_but_probes_and_metrics_needs_one() {
    let tokens = file(&format!("# the LMS\n{TOKEN}\n"));
    with_port_of(&[("http.tokens_file", &path(&tokens))], async |port| {
        for path in OPEN {
            assert_ne!(get(port, path, None).await.status(), StatusCode::UNAUTHORIZED, "{path}");
        }
        let (bearer, wrong) = (format!("Bearer {TOKEN}"), format!("Bearer {OTHER}"));
        for path in GUARDED {
            for authorization in [None, Some(&*wrong), Some(TOKEN), Some("Basic !")] {
                let refused = get(port, path, authorization).await;
                assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{path} {authorization:?}");
                let challenges = refused.headers().get_all("www-authenticate").iter();
                let challenges: Vec<_> = challenges.map(|value| value.to_str().unwrap().to_owned()).collect();
                assert!(challenges[0].starts_with("Bearer "), "{challenges:?}");
                assert_eq!(
                    challenges[0].contains("invalid_token"),
                    authorization.is_some(),
                    "{challenges:?}"
                );
                // A browser asks for a login on a page, and not for what a script sends.
                let basic = challenges.iter().any(|challenge| challenge.starts_with("Basic "));
                assert_eq!(basic, !path.starts_with("/api/"), "{path}");
                let body = refused.text().await.unwrap();
                let body: serde_json::Value = serde_json::from_str(&body).unwrap();
                assert!(body["error"].as_str().unwrap().contains("token"), "{body}");
            }
            for authorization in [&*bearer, BASIC] {
                let status = get(port, path, Some(authorization)).await.status();
                let expected = if ["/nothing", "/healthz/"].contains(&path) { 404 } else { 200 };
                assert_eq!(status, expected, "{path} {authorization}");
            }
        }
        let asked = json!({ "course_ids": [KNOWN] }).to_string();
        assert_eq!(port.post(asked.clone()).await.0, StatusCode::UNAUTHORIZED);
        let url = format!("http://{}/api/v1/share-links", port.address);
        let request = port.client.request(Method::POST, url).header("content-type", "application/json");
        let answer = request.bearer_auth(TOKEN).body(asked).send().await.unwrap();
        assert!(answer.text().await.unwrap().contains("campus.example"));
    })
    .await;
}

#[tokio::test]
async fn beyond_loopback_without_tokens_nothing_but_probes_and_metrics_is_answered() {
    for listen in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080"] {
        with_port_of(&[("http.listen", listen)], async |port| {
            for path in GUARDED {
                let refused = get(port, path, Some(BASIC)).await;
                assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{listen} {path}");
                assert!(refused.headers().get("www-authenticate").is_none(), "no login would help");
                let body = refused.text().await.unwrap();
                assert!(body.contains("http.tokens_file") && body.contains("http.anonymous"), "{body}");
            }
            assert_eq!(get(port, "/metrics", None).await.status(), StatusCode::OK);
            assert_ne!(get(port, "/healthz", None).await.status(), StatusCode::FORBIDDEN);
        })
        .await;
    }
    for settings in [
        &[("http.listen", "0.0.0.0:8080"), ("http.anonymous", "true")][..],
        &[("http.listen", "[::1]:8080")],
        &[("http.listen", "[::ffff:127.0.0.1]:8080")],
        &[("http.listen", "off")],
    ] {
        with_port_of(settings, async |port| {
            assert_eq!(get(port, "/api/v1/status", None).await.status(), StatusCode::OK, "{settings:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_worker_takes_over_other_tokens_at_a_reload_and_logs_none() {
    with_stage(Kind::Sqlite, async |stage| {
        let tokens = file(TOKEN);
        let settings = [("http.tokens_file", &*path(&tokens)), ("log.level", "debug")];
        let worker = stage.start_worker(&settings);
        assert_eq!(worker.until_logged("http.listening").await["access"], "tokens");
        let url = format!("http://{}/api/v1/status", worker.http().await);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::new();
        let status = async |token: &str| client.get(&url).bearer_auth(token).send().await.unwrap().status();
        assert_eq!((status(TOKEN).await, status(OTHER).await), (StatusCode::OK, StatusCode::UNAUTHORIZED));

        std::fs::write(tokens.path(), format!("{OTHER}\n{SHORT}")).unwrap();
        worker.signal(Signal::Hup);
        let refused = worker.until_logged("worker.reload_refused").await;
        assert!(refused["error"].as_str().unwrap().contains(&format!("{}:2:", path(&tokens))), "{refused}");
        assert_eq!(status(TOKEN).await, StatusCode::OK);

        std::fs::write(tokens.path(), OTHER).unwrap();
        worker.signal(Signal::Hup);
        worker.until_logged("worker.reloaded").await;
        wait_until(SOON, "the other token is known", || async { status(OTHER).await == 200 }).await;
        assert_eq!(status(TOKEN).await, StatusCode::UNAUTHORIZED);

        let ended = worker.stop().await.expect(0);
        for token in [TOKEN, OTHER, SHORT] {
            ended.keeps_quiet_about(token);
        }
    })
    .await;
}

#[tokio::test]
async fn a_worker_starts_without_tokens_and_says_that_its_port_is_locked() {
    with_stage(Kind::Sqlite, async |stage| {
        let worker = stage.start_worker(&[("http.listen", "0.0.0.0:0")]);
        assert_eq!(worker.until_logged("http.listening").await["access"], "locked");
        let why = worker.until_logged("http.locked").await;
        assert!(why["why"].as_str().unwrap().contains("http.tokens_file"), "{why}");
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn a_file_that_cannot_be_used_ends_the_worker_with_2_and_check_says_why() {
    with_stage(Kind::Sqlite, async |stage| {
        let tokens = file(&format!("{TOKEN}\n{OTHER} {OTHER}\n"));
        let wrong = [("http.tokens_file", &*path(&tokens))];
        let place = format!("http.tokens_file: {}:2: expected 16 to 256", path(&tokens));
        let ended = stage.run_with(&wrong, &["worker"]).await.expect(2);
        ended.says(&[&place]);
        ended.keeps_quiet_about(OTHER);
        let checked = stage.run_with(&wrong, &["check"]).await;
        assert!(checked.stdout.starts_with("FAIL  configuration"), "{checked:?}");
        assert!(checked.stdout.contains(&place), "{checked:?}");

        let none = [("http.tokens_file", "/nowhere/tokens")];
        stage.run_with(&none, &["worker"]).await.expect(2).says(&["http.tokens_file", "/nowhere/tokens"]);

        // What needs no port works beside it.
        stage.run_with(&none, &["heal"]).await.expect(0);
        let locked =
            Program::start(&["check"], &stage.environment(&[("http.listen", "0.0.0.0:1")])).ended().await;
        assert!(locked.stdout.starts_with("warn  configuration"), "{locked:?}");
    })
    .await;
}
