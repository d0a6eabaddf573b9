//! The worker's port as its callers see it: the real router on a real port, with stand-ins for what it asks.
#![expect(clippy::unwrap_used, reason = "a failed step of a test fails the test")]

mod port;

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use course_sharing::telemetry::metrics;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::port::{KNOWN, Port, World};

#[tokio::test]
async fn health_follows_the_worker() {
    let port = Port::open(World::default()).await;
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
    port.close().await;
}

#[tokio::test]
async fn readiness_names_what_fails() {
    let port =
        Port::open(World { database: Mutex::new(Some("no such table".into())), ..World::default() }).await;
    let (status, body) = port.get("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body, json!({ "ready": false, "database": "no such table", "broker": "ok" }));

    *port.world.database.lock().unwrap() = None;
    // Answers are shared for a second, so the recovery may take as long to show.
    let deadline = Instant::now() + Duration::from_secs(20);
    while port.get("/readyz").await.0 != StatusCode::OK {
        assert!(Instant::now() < deadline, "readiness does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    port.close().await;
}

#[tokio::test]
async fn a_broker_that_hangs_is_not_waited_for() {
    let port = Port::open(World { broker_hangs: true, ..World::default() }).await;
    let (status, body) = port.get("/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((&body["database"], &body["broker"]), (&json!("ok"), &json!("no answer within 900ms")));
    port.close().await;
}

#[tokio::test]
async fn links_are_given_as_the_contract_says() {
    let port = Port::open(World::default()).await;
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
    assert_eq!(port.world.lookups.load(Ordering::SeqCst), 3, "one look-up a request");
    let none = port.post(r#"{"course_ids": []}"#).await;
    assert_eq!(none, (StatusCode::OK, json!({ "links": {}, "unknown": [] })));
    port.close().await;
}

#[tokio::test]
async fn a_thousand_ids_fit_a_url_and_more_are_refused() {
    let port = Port::open(World::default()).await;
    let path = |n: usize| {
        let ids = (0..n).map(|n| format!("course_id=course-v1%3AedX%2BDemoX%2B{n:06}&"));
        format!("/api/v1/share-links?{}", ids.collect::<String>())
    };
    let (status, body) = port.get(&path(1_000)).await;
    assert_eq!((status, body["unknown"].as_array().unwrap().len()), (StatusCode::OK, 1_000));
    let (status, body) = port.get(&path(1_001)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["error"].as_str().unwrap().contains("at most 1000"), "{body}");
    port.close().await;
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_with_its_reason() {
    let port = Port::open(World::default()).await;
    let error =
        |(status, body): (StatusCode, Value)| (status.as_u16(), body["error"].as_str().unwrap().to_owned());
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
    assert_eq!(port.world.lookups.load(Ordering::SeqCst), 0, "nothing of this reaches the database");
    port.close().await;
}

#[tokio::test]
async fn a_failed_look_up_tells_no_secret() {
    let port = Port::open(World { lookups_fail: true, ..World::default() }).await;
    let (status, body) = port.get("/api/v1/share-links?course_id=a/b/c").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!body.to_string().contains("hunter2"), "{body}");
    port.close().await;
}

#[tokio::test]
async fn the_status_is_shown_to_programs_and_people() {
    let port = Port::open(World::default()).await;
    let (status, body) = port.get("/api/v1/status").await;
    assert_eq!((status, &body["overviews"]["linked"]), (StatusCode::OK, &json!(3)));
    let (status, body) = port.get("/").await;
    let page = body.as_str().unwrap();
    assert!(
        status == StatusCode::OK && page.starts_with("<!doctype html>") && page.contains("&lt;b&gt;"),
        "{page}"
    );
    metrics::consumer_up(false);
    let (status, body) = port.get("/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.as_str().unwrap().contains("course_sharing_consumer_up 0\n"), "{body}");
    port.close().await;
}

#[tokio::test]
async fn who_says_nothing_does_not_keep_the_port_open() {
    let port = Port::open(World::default()).await;
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
    let port = Port::open(World::default()).await;
    let mut bodies = Vec::new();
    for _ in 0..16 {
        bodies.push(slow(&port, SLOW_BODY).await);
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
    port.close().await;
}

#[tokio::test]
async fn probes_are_answered_beside_1200_slow_connections() {
    let port = Port::open(World::default()).await;
    let mut connections = Vec::new();
    for said in ["", "GET /healthz HTTP/1.1\r\nHo", SLOW_BODY].iter().cycle().take(1_200) {
        connections.push(slow(&port, said).await);
    }
    for path in ["/healthz", "/readyz"] {
        // A second is promised; this machine may have more to do. Slow clients alone would go on for ten.
        let answer = tokio::time::timeout(Duration::from_secs(4), port.get(path)).await;
        assert_eq!(answer.unwrap().0, StatusCode::OK, "{path}");
    }
    drop(connections);
    port.close().await;
}

#[tokio::test]
async fn a_probe_has_the_last_answer_of_a_database_that_is_late() {
    let port = Port::open(World { database_is_late: true, ..World::default() }).await;
    let (_, first) = port.get("/readyz").await;
    assert_eq!((&first["database"], &first["broker"]), (&json!("no answer within 900ms"), &json!("ok")));
    let deadline = Instant::now() + Duration::from_secs(20);
    while port.get("/readyz").await.0 != StatusCode::OK {
        assert!(Instant::now() < deadline, "the answer that was late never shows");
    }
    port.close().await;
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let port = Port::open(World::default()).await;
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
    port.close().await;
}
