//! The worker's port as its callers see it: the real router on a real port, with a real database and broker.
#![expect(clippy::unwrap_used, reason = "a failed step of a test fails the test")]

mod access;
mod openapi;
mod port;
mod tls;

use std::time::{Duration, Instant};

use course_sharing::telemetry::metrics;
use reqwest::{Method, StatusCode};
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement, TransactionTrait};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::port::{KNOWN, Port, with_port};
use crate::support::databases::Kind;
use crate::support::proxy::in_front_of;
use crate::support::stage::with_stage;
use crate::support::wait_until;

/// A database that is out.
const OUT: &str = "mysql://someone:hunter2@127.0.0.1:1/lms";

#[tokio::test]
async fn health_follows_the_worker() {
    with_port(async |port| {
        let (status, body) = port.get("/healthz").await;
        assert_eq!((status, &body["consumer"]), (StatusCode::OK, &json!("detached")));

        port.health.consumer_attached();
        let long_ago = Instant::now().checked_sub(Duration::from_secs(61)).unwrap();
        port.health.consumer_detached(long_ago);
        let (status, body) = port.get("/healthz").await;
        assert_eq!((status, &body["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("failing")));
        assert!(body["reasons"][0].as_str().unwrap().contains("consumer"), "{body}");

        port.health.consumer_attached();
        let job = port.health.jobs().add("heal", Duration::from_secs(60));
        job.begin_at(Instant::now().checked_sub(Duration::from_secs(181)).unwrap());
        let (status, body) = port.get("/healthz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body["reasons"][0].as_str().unwrap().contains("the job heal"), "{body}");
        // A run that fails has ended too.
        job.end();
        let (status, body) = port.get("/healthz").await;
        assert_eq!((status, &body["jobs"]["heal"]["running"]), (StatusCode::OK, &json!(false)), "{body}");
    })
    .await;
}

#[tokio::test]
async fn readiness_names_what_fails() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.rig.declare().await;
        stage.database.execute("ALTER TABLE course_sharing_ledger RENAME TO elsewhere").await;
        let port = Port::open(stage, &[]).await;
        let (status, body) = port.get("/readyz").await;
        assert_eq!((status, &body["ready"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(false)));
        assert!(body["database"].as_str().unwrap().contains("course_sharing_ledger"), "{body}");

        stage.database.execute("ALTER TABLE elsewhere RENAME TO course_sharing_ledger").await;
        let limit = Duration::from_secs(20);
        wait_until(limit, "it is ready", || async { port.get("/readyz").await.0 == StatusCode::OK }).await;
        assert_eq!(port.get("/readyz").await.1, json!({ "ready": true, "database": "ok", "broker": "ok" }));
        port.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_hangs_is_not_waited_for() {
    with_stage(Kind::Sqlite, async |stage| {
        let (broker, url) = in_front_of(stage.rig.config.url.expose_secret(), 5672).await;
        broker.freeze();
        let port = Port::open(stage, &[("amqp.url", &url)]).await;
        let (status, body) = port.get("/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body["broker"], json!("no answer within 900ms"));
        port.close().await;
    })
    .await;
}

#[tokio::test]
async fn links_are_given_as_the_contract_says() {
    with_port(async |port| {
        let expected = json!({
            "links": { KNOWN: { "url": "https://www.campus.example/c", "source": "marketing" } },
            "unknown": ["a/b/c"],
        });
        for query in [
            "course_id=course-v1%3AedX%2BDemoX%2B2026&course_id=a%2Fb%2Fc",
            "course_id=course-v1:edX+DemoX+2026&course_id=a/b/c&course_id=a/b/c",
        ] {
            let answer = port.get(&format!("/api/v1/share-links?{query}")).await;
            assert_eq!(answer, (StatusCode::OK, expected.clone()), "{query}");
        }
        let answer = port.post(json!({ "course_ids": [KNOWN, "a/b/c", KNOWN] }).to_string()).await;
        assert_eq!(answer, (StatusCode::OK, expected));
        let none = port.post(r#"{"course_ids": []}"#).await;
        assert_eq!(none, (StatusCode::OK, json!({ "links": {}, "unknown": [] })));
    })
    .await;
}

#[tokio::test]
async fn a_thousand_ids_fit_a_url_and_more_are_refused() {
    with_port(async |port| {
        let path = |n: usize| {
            let ids = (0..n).map(|n| format!("course_id=course-v1%3AedX%2BDemoX%2B{n:06}&"));
            format!("/api/v1/share-links?{}", ids.collect::<String>())
        };
        let (status, body) = port.get(&path(1_000)).await;
        assert_eq!((status, body["unknown"].as_array().unwrap().len()), (StatusCode::OK, 1_000));
        let (status, body) = port.get(&path(1_001)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(body["error"].as_str().unwrap().contains("at most 1000"), "{body}");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_with_its_reason() {
    with_stage(Kind::Sqlite, async |stage| {
        // With the database out, any look-up would be a 503.
        let port = Port::open(stage, &[("database.url", OUT)]).await;
        let error = |(status, body): (StatusCode, Value)| {
            (status.as_u16(), body["error"].as_str().unwrap().to_owned())
        };
        let (status, why) = error(port.get("/api/v1/share-links").await);
        assert!(status == 400 && why.contains("course_id"), "{status} {why}");
        let (status, why) = error(port.get("/api/v1/share-links?course_id=a%20b&course_id=a/b/c").await);
        assert!(status == 400 && why.contains("a b"), "{status} {why}");
        for (status, body) in [
            (400, "{"),
            (400, r#"{"course_ids": "a/b/c"}"#),
            (400, r#"{"ids": []}"#),
            (400, r#"{"course_ids": ["library-v1:a+b"]}"#),
            (413, &format!(r#"{{"course_ids": ["{}"]}}"#, "x".repeat(1024 * 1024))),
        ] {
            let (got, why) = error(port.post(body).await);
            assert_eq!(got, status, "{why}");
        }
        let text = Some(("text/plain", r#"{"course_ids": []}"#.to_owned()));
        assert_eq!(error(port.send(Method::POST, "/api/v1/share-links", text).await).0, 415);
        for (method, path, status) in [
            (Method::GET, "/nothing", 404),
            (Method::GET, "/api/v1/", 404),
            (Method::DELETE, "/api/v1/share-links", 405),
            (Method::POST, "/metrics", 405),
        ] {
            assert_eq!(error(port.send(method, path, None).await).0, status, "{path}");
        }
        port.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_failed_look_up_tells_no_secret() {
    with_stage(Kind::Sqlite, async |stage| {
        let port = Port::open(stage, &[("database.url", OUT)]).await;
        let (status, body) = port.get("/api/v1/share-links?course_id=a/b/c").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(!body.to_string().contains("hunter2"), "{body}");
        port.close().await;
    })
    .await;
}

#[tokio::test]
async fn statements_that_nobody_waits_for_keep_their_turns() {
    with_stage(Kind::Mysql, async |stage| {
        let port = Port::open(stage, &[("database.max_connections", "20")]).await;
        let lock = Database::connect(&stage.database.owner_url).await.unwrap();
        let session = lock.begin().await.unwrap();
        let tables = "course_overviews_courseoverview WRITE, course_sharing_blank WRITE";
        session.execute_unprepared(&format!("LOCK TABLES {tables}")).await.unwrap();
        let (link, search) = ("/api/v1/share-links?course_id=a/b/c", "/blank.csv");
        let requests = [link; 12].into_iter().chain([search; 5]).map(|path| port.get(path));
        for (status, body) in futures_util::future::join_all(requests).await {
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
        }
        let user = stage.database.user.as_deref().unwrap();
        let waiting = format!(
            "SELECT INFO AS sent FROM information_schema.PROCESSLIST \
             WHERE USER = '{user}' AND STATE LIKE 'Waiting for table%'"
        );
        let waiting = Statement::from_string(DbBackend::MySql, waiting);
        let waiting = stage.database.owner.connection().query_all_raw(waiting).await.unwrap();
        let waiting: Vec<String> = waiting.iter().map(|row| row.try_get("", "sent").unwrap()).collect();
        let searches = waiting.iter().filter(|sql| sql.contains("course_sharing_blank")).count();
        assert_eq!((waiting.len() - searches, searches), (8, 2), "{waiting:#?}");
        session.execute_unprepared("UNLOCK TABLES").await.unwrap();
        session.rollback().await.unwrap();
        lock.close().await.unwrap();
        assert_eq!(port.get(link).await.0, StatusCode::OK);
        port.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_status_is_shown_to_programs_and_people() {
    with_port(async |port| {
        let (status, body) = port.get("/api/v1/status").await;
        assert_eq!((status, &body["overviews"]["linked"]), (StatusCode::OK, &json!(1)));
        let (status, body) = port.get("/").await;
        let page = body.as_str().unwrap();
        assert!(
            status == StatusCode::OK && page.starts_with("<!doctype html>") && page.contains("&#60;b&#62;"),
            "{page}"
        );
        metrics::get().consumer_up.set(0);
        let (status, body) = port.get("/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.as_str().unwrap().contains("course_sharing_consumer_up 0\n"), "{body}");
        let mut stream = TcpStream::connect(port.address).await.unwrap();
        let accept = "application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1";
        let request =
            format!("GET /metrics HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0;"), "{answer}");
        assert!(answer.ends_with("# EOF\n"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn who_says_nothing_does_not_keep_the_port_open() {
    with_stage(Kind::Sqlite, async |stage| {
    let port = Port::open(stage, &[]).await;
    let mut silent = Vec::new();
    for said in [
        "",
        "GET /healthz HTTP/1.1\r\nHo",
        "POST /api/v1/share-links HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\ncontent-type: application/json\r\n\r\n{",
    ] {
        let mut stream = TcpStream::connect(port.address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        silent.push(stream);
    }
    assert_eq!(port.get("/healthz").await.0, StatusCode::OK);
    let address = port.address;
    port.close().await;
    assert!(TcpStream::connect(address).await.is_err(), "the port is closed");
    }).await;
}

/// A connection that says this and then nothing more.
async fn slow(port: &Port, said: &str) -> TcpStream {
    let mut stream = TcpStream::connect(port.address).await.unwrap();
    stream.write_all(said.as_bytes()).await.unwrap();
    stream
}

const SLOW_BODY: &str = "POST /api/v1/share-links HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\
                         content-type: application/json\r\n\r\n{";

#[tokio::test]
async fn slow_bodies_take_no_turn_and_end() {
    with_port(async |port| {
    let mut bodies = Vec::new();
    for _ in 0..16 {
        bodies.push(slow(port, SLOW_BODY).await);
    }
    let ended = futures_util::future::join_all(bodies.iter_mut().map(async |stream| {
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }));
    let mut ended = std::pin::pin!(ended);
    tokio::select! {
        biased;
        answers = &mut ended => panic!("the slow bodies were answered first: {answers:?}"),
        answer = port.post(json!({ "course_ids": [KNOWN] }).to_string()) => assert_eq!(answer.0, StatusCode::OK),
    }
    let answers = tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
    assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 408")), "{answers:?}");
    }).await;
}

#[tokio::test]
async fn probes_are_answered_beside_1200_slow_connections() {
    with_port(async |port| {
        let mut connections = Vec::new();
        for said in ["", "GET /healthz HTTP/1.1\r\nHo", SLOW_BODY].iter().cycle().take(1_200) {
            connections.push(slow(port, said).await);
        }
        for path in ["/healthz", "/readyz"] {
            // A second is promised; this machine may have more to do. Slow clients alone would go on for ten.
            let answer = tokio::time::timeout(Duration::from_secs(4), port.get(path)).await;
            let (status, body) = answer.unwrap();
            // The broker of a busy machine may be late for the first probe.
            assert!(status == StatusCode::OK || body.to_string().contains("900ms"), "{path}: {body}");
        }
        drop(connections);
    })
    .await;
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    with_port(async |port| {
        let mut stream = TcpStream::connect(port.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let line = format!("x: {}\r\n", "y".repeat(4_000));
        // Until the other side has had enough; the kernel's buffers take some of it unread.
        let mut sent = 0;
        while sent < 64 << 20 && stream.write_all(line.as_bytes()).await.is_ok() {
            sent += line.len();
        }
        assert!(sent < 64 << 20, "{sent} bytes of headers were taken");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert_eq!(port.get("/healthz").await.0, StatusCode::OK);
    })
    .await;
}
