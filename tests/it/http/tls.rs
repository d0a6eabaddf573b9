//! The port behind TLS, with a certificate of a private authority.

use std::time::Duration;

use reqwest::tls::Version;
use reqwest::{Certificate, Client, StatusCode};
use test_support::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::port::with_port_of;
use crate::support::certificates::Certificates;
use crate::support::databases::Kind;
use crate::support::stage::{SOON, with_stage};
use crate::support::wait_until;

/// A client that knows this authority alone, and makes a connection for each request.
fn client(certificates: &Certificates, newest: Version) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = std::fs::read(certificates.path("ca.pem")).unwrap();
    let authority = Certificate::from_pem(&authority).unwrap();
    let client = Client::builder().tls_certs_only([authority]).max_tls_version(newest).no_proxy();
    client.timeout(Duration::from_secs(30)).pool_max_idle_per_host(0).build().unwrap()
}

/// The settings of these files.
fn files<'f>(certificate: &'f str, key: &'f str) -> [(&'static str, &'f str); 2] {
    [("http.tls_certificate_file", certificate), ("http.tls_key_file", key)]
}

#[tokio::test]
async fn the_port_speaks_tls_and_nothing_else_beside_1200_clients_that_say_nothing() {
    let certificates = Certificates::new("nobody");
    let (certificate, key) = (certificates.path("server.pem"), certificates.path("server.key"));
    with_port_of(&files(&certificate, &key), async |port| {
        let url = format!("https://{}/api/v1/status", port.address);
        for newest in [Version::TLS_1_2, Version::TLS_1_3] {
            let answer = client(&certificates, newest).get(&url).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
        }
        let stranger = client(&Certificates::new("nobody"), Version::TLS_1_3);
        assert!(stranger.get(&url).send().await.is_err(), "another authority");
        let plain = port.client.get(format!("http://{}/healthz", port.address)).send().await;
        assert!(plain.is_err(), "without TLS");

        let mut silent = Vec::new();
        for _ in 0..1_200 {
            let mut stream = TcpStream::connect(port.address).await.unwrap();
            // The beginning of a handshake.
            stream.write_all(&[22, 3, 1]).await.unwrap();
            silent.push(stream);
        }
        let answer = client(&certificates, Version::TLS_1_3).get(&url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        // Every one of them ends, as its place is needed or its time is over.
        for stream in &mut silent {
            let ended = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut [0; 64])).await;
            assert!(matches!(ended.unwrap(), Ok(0) | Err(_)));
        }
    })
    .await;
}

#[tokio::test]
async fn a_worker_takes_over_a_renewed_certificate_at_a_reload() {
    with_stage(Kind::Sqlite, async |stage| {
        let (old, new) = (Certificates::new("nobody"), Certificates::new("nobody"));
        let (certificate, key) = (old.path("server.pem"), old.path("server.key"));
        let worker = stage.start_worker(&files(&certificate, &key));
        assert_eq!(worker.until_logged("http.listening").await["tls"], true);
        let url = format!("https://{}/healthz", worker.http().await);
        let knows =
            async |whose: &Certificates| client(whose, Version::TLS_1_3).get(&url).send().await.is_ok();
        assert!(knows(&old).await && !knows(&new).await);

        // A key of another certificate: everything stays.
        std::fs::copy(new.path("server.key"), &key).unwrap();
        worker.signal(Signal::Hup);
        let refused = worker.until_logged("worker.reload_refused").await;
        let error = refused["error"].as_str().unwrap();
        assert!(error.contains("http.tls_certificate_file") && error.contains(&certificate), "{error}");
        assert!(knows(&old).await);

        std::fs::copy(new.path("server.pem"), &certificate).unwrap();
        worker.signal(Signal::Hup);
        wait_until(SOON, "the new certificate is used", || async { knows(&new).await }).await;
        assert!(!knows(&old).await);
        worker.stop().await.expect(0);
    })
    .await;
}

#[tokio::test]
async fn a_certificate_or_key_that_cannot_be_used_ends_the_worker_with_2() {
    with_stage(Kind::Sqlite, async |stage| {
        let certificates = Certificates::new("nobody");
        let (certificate, key) = (certificates.path("server.pem"), certificates.path("server.key"));
        for (certificate, key, words) in [
            (&*certificate, "/nowhere.key", ["http.tls_key_file", "/nowhere.key"]),
            ("/nowhere.pem", &*key, ["http.tls_certificate_file", "/nowhere.pem"]),
            (&key, &key, ["http.tls_certificate_file", "no certificate"]),
            (&certificate, &certificate, ["http.tls_key_file", &certificate]),
            (&certificate, &certificates.path("client.key"), ["http.tls_certificate_file", "cannot be used"]),
        ] {
            stage.run_with(&files(certificate, key), &["worker"]).await.expect(2).says(&words);
        }
    })
    .await;
}
