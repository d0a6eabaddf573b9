//! Tokens: fetched, renewed, refused, and never shown. And what `probe` says.

use super::*;

fn guarded() -> Setup {
    Setup { auth: Some(Auth::default()), ..Setup::default() }
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used() {
    let (stand_in, client) = started(guarded()).await;
    assert_eq!(crawl(&client, 100).await.len(), 241);
    assert_eq!(client.probe().await.unwrap().count, 241);
    assert_eq!(stand_in.stats().tokens, 1);
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_by_one() {
    let (stand_in, client) = started(guarded()).await;
    client.probe().await.unwrap();
    stand_in.revoke_tokens();
    let (one, two) = tokio::join!(client.page(0, 5, Purpose::Event), client.page(5, 5, Purpose::Event));
    assert_eq!((one.unwrap().rows.len(), two.unwrap().rows.len()), (5, 5));
    assert_eq!(stand_in.stats().tokens, 2, "one renewal for both");
}

#[tokio::test]
async fn a_short_lived_token_is_renewed_before_its_end() {
    let auth = Auth { expires_in: 0, ..Auth::default() };
    let (stand_in, client) = started(Setup { auth: Some(auth), ..Setup::default() }).await;
    // Over as soon as issued: refused, renewed once, refused again.
    assert!(matches!(client.probe().await, Err(CatalogError::Unauthorised { token: true })));
    assert_eq!(stand_in.stats().tokens, 2);
}

#[tokio::test]
async fn a_fresh_token_refused_fails_loudly_and_at_once() {
    let (stand_in, client) = started(guarded()).await;
    stand_in.refuse_all_tokens();
    let error = client.probe().await.unwrap_err();
    assert!(matches!(error, CatalogError::Unauthorised { token: true }), "{error}");
    assert_eq!((stand_in.stats().tokens, client.requests()), (2, 2));
    assert!(matches!(look(&client, "o/absent/r").await, Observation::Unknown(_)));
}

#[tokio::test]
async fn without_a_token_configured_a_401_says_so() {
    let stand_in = StandIn::start(guarded()).await;
    let mut settings = settings(&stand_in);
    settings.token_url = None;
    let error = client_with(&settings).probe().await.unwrap_err();
    assert!(error.to_string().contains("no token is configured"), "{error}");
}

#[tokio::test]
async fn a_wrong_secret_is_named_and_never_shown() {
    let stand_in = StandIn::start(guarded()).await;
    let mut settings = settings(&stand_in);
    settings.client_secret = Some("not-the-secret".to_owned().into());
    let client = client_with(&settings);
    let error = client.probe().await.unwrap_err();
    assert!(matches!(&error, CatalogError::Token { transient: false, .. }), "{error}");
    assert!(error.to_string().contains("invalid_client"), "{error}");
    assert!(!format!("{error} {error:?}").contains("not-the-secret"));
    assert!(failure(&client, "o/absent/r").await.contains("invalid_client"));
    assert_eq!(client.requests(), 0, "nothing is asked without a token");
}

#[tokio::test]
async fn a_token_endpoint_that_fails_is_left_alone_after_a_while() {
    let (stand_in, client) = started(guarded()).await;
    stand_in.token_script(std::iter::repeat_n(Fault::Status(503), 100));
    for _ in 0..20 {
        assert!(matches!(client.probe().await, Err(CatalogError::Token { .. })));
    }
    assert!(stand_in.stats().tokens <= 6, "{}", stand_in.stats().tokens);
    let Observation::Unknown(why) = look(&client, "o/absent/r").await else { panic!() };
    assert!(why.reopens_at().is_some(), "{why}");
}

#[tokio::test]
async fn a_pass_waits_out_a_token_endpoint_that_is_down_or_throttles_and_events_do_not() {
    let (stand_in, client) = started(guarded()).await;
    stand_in.token_script(std::iter::repeat_n(Fault::Status(503), 5));
    for _ in 0..5 {
        assert!(matches!(client.probe().await, Err(CatalogError::Token { until: None, .. })));
    }
    let event = client.page(0, 5, Purpose::Event).await;
    assert!(matches!(event, Err(CatalogError::Token { until: Some(_), .. })), "{event:?}");
    assert_eq!(client.page(0, 5, Purpose::Pass).await.unwrap().rows.len(), 5);
    assert_eq!(stand_in.stats().tokens, 6, "it is left alone meanwhile");

    let (stand_in, client) = started(guarded()).await;
    stand_in.token_script([Fault::Throttled(RetryAfter::Seconds(3))]);
    assert_eq!(client.page(0, 5, Purpose::Pass).await.unwrap().rows.len(), 5);
    assert_eq!(stand_in.stats().tokens, 2);
}

#[tokio::test]
async fn no_error_shows_a_token_that_the_catalog_echoes() {
    let (stand_in, client) = started(guarded()).await;
    stand_in.echo();
    for (fault, shown_as) in [
        (Fault::Html200, "Sign in"),
        (Fault::Body("{\"count\": ".into()), "***"),
        (Fault::Status(502), "an HTML page"),
        (Fault::Status(403), "***"),
    ] {
        stand_in.script([fault]);
        let error = client.probe().await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(shown_as) && !shown.contains("eyJ"), "the stand-in echoed it: {shown}");
    }
}

#[tokio::test]
async fn the_probe_names_each_failure() {
    let (mut stand_in, client) = recorded().await;
    for (fault, words) in [
        (Fault::Status(403), "does not let it read"),
        (Fault::Status(404), "catalog.url is probably wrong"),
        (Fault::Html200, "login or maintenance page"),
        (Fault::Redirect("https://login.example/x?secret=1".into()), "a redirect to https://login.example)"),
        (Fault::Body("[]".into()), "no list of runs"),
        (Fault::Status(503), "answered 503"),
    ] {
        stand_in.script([fault.clone()]);
        let client = client_with(&settings(&stand_in));
        let error = client.probe().await.unwrap_err().to_string();
        assert!(error.contains(words), "{fault:?}: {error}");
        assert_eq!(client.requests(), 1, "{fault:?}");
    }
    stand_in.script([Fault::Throttled(RetryAfter::Seconds(3597))]);
    assert!(matches!(client.probe().await, Err(CatalogError::Throttled { .. })));
    let client = client_with(&settings(&stand_in));
    stand_in.unplug().await;
    assert!(matches!(client.probe().await, Err(CatalogError::Unreachable { closed: false, .. })));
    stand_in.plug().await;
    assert_eq!(client.probe().await.unwrap().count, 241);
}

#[tokio::test]
async fn a_path_in_the_root_is_kept_and_a_wrong_one_is_a_404() {
    let (stand_in, client) = started(Setup { root: "/discovery".into(), ..Setup::default() }).await;
    assert_eq!(client.probe().await.unwrap().count, 241);
    let mut settings = settings(&stand_in);
    let mut url = (*settings.url).clone();
    url.set_path("/nowhere");
    settings.url = url.as_str().parse().unwrap();
    let client = client_with(&settings);
    assert!(matches!(client.probe().await, Err(CatalogError::Status { code: 404, .. })));
    assert!(failure(&client, "AcmeX/CS100/2013_Spring").await.contains("404"), "never NotListed");
}

#[tokio::test]
async fn a_redirect_is_never_followed_and_no_token_goes_there() {
    let elsewhere = StandIn::start(Setup::default()).await;
    let (stand_in, client) = started(guarded()).await;
    stand_in.script([Fault::Redirect(format!("{}/api/v1/course_runs/", elsewhere.url()))]);
    assert!(failure(&client, "AcmeX/CS100/2013_Spring").await.contains("redirect"));
    stand_in.token_script([Fault::Redirect(elsewhere.token_url())]);
    stand_in.revoke_tokens();
    assert!(failure(&client, "AcmeX/CS100/2013_Spring").await.contains("redirect"));
    assert_eq!((elsewhere.stats().requests, elsewhere.stats().tokens), (0, 0));
}

#[tokio::test]
async fn no_log_line_shows_token_or_secret() {
    #[derive(Clone, Default)]
    struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(move || writer.clone())
        .finish();
    // With a single subscriber alive, `tracing` asks only the thread that first meets a log line whether anyone
    // listens, and other tests' threads would answer no for this one.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    // A test's runtime has one thread, so that this holds for everything in it.
    let _guard = tracing::subscriber::set_default(subscriber);
    let (stand_in, client) = started(guarded()).await;
    stand_in.echo();
    stand_in.script([Fault::Html200, Fault::Status(502), Fault::Cut]);
    client.page(0, 5, Purpose::Event).await.unwrap();
    stand_in.refuse_all_tokens();
    for _ in 0..6 {
        let _ = client.probe().await;
    }
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("catalog.circuit_opened"), "something was logged: {text}");
    assert!(!text.contains("eyJ") && !text.contains("stand-in-secret"), "{text}");
}
