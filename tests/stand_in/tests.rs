//! That the stand-in answers as the running one was recorded to.

mod courses;

use serde_json::Value;

use super::{Auth, Fault, LineLimit, Run, Runs, Setup, StandIn, Throttle};

const LIST: &str = "/api/v1/course_runs/";

async fn get(stand_in: &StandIn, target: &str) -> (u16, String, Value) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let response = client.get(format!("{}{target}", stand_in.url())).send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let json = serde_json::from_str(&text).unwrap_or_default();
    (status, text, json)
}

fn results(json: &Value) -> usize {
    json["results"].as_array().map_or(0, Vec::len)
}

#[test]
fn the_order_is_that_of_the_recorded_list() {
    let recorded: Value =
        serde_json::from_str(include_str!("../fixtures/catalog/list-limit1000-fields.json")).unwrap();
    let keys: Vec<_> =
        recorded["results"].as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap()).collect();
    assert_eq!(Runs::recorded().keys(), keys);
}

#[tokio::test]
async fn the_recorded_list_comes_back_as_it_was() {
    let stand_in = StandIn::start(Setup::default()).await;
    let (_, _, json) =
        get(&stand_in, &format!("{LIST}?limit=1000&exclude_utm=1&fields=key,marketing_url")).await;
    let recorded: Value =
        serde_json::from_str(include_str!("../fixtures/catalog/list-limit1000-fields.json")).unwrap();
    assert_eq!(json, recorded);
}

#[tokio::test]
async fn a_recorded_page_comes_back_with_its_financial_aid_and_languages() {
    let stand_in = StandIn::start(Setup::default()).await;
    let fields = ["key", "eligible_for_financial_aid", "content_language"];
    let target = format!("{LIST}?page=1&page_size=100&fields={}", fields.join(","));
    let (_, _, json) = get(&stand_in, &target).await;
    let recorded: Value =
        serde_json::from_str(include_str!("../fixtures/catalog/list-page1-size100.json")).unwrap();
    let rows = |list: &Value| {
        let rows = list["results"].as_array().unwrap().iter();
        rows.map(|row| fields.map(|field| row[field].clone())).collect::<Vec<_>>()
    };
    assert_eq!(rows(&json), rows(&recorded));
}

#[tokio::test]
async fn paging_has_its_recorded_oddities() {
    let stand_in = StandIn::start(Setup::default()).await;
    let host = stand_in.url();
    for (query, came, next) in [
        ("", 20, Some("limit=20&offset=20")),
        ("?page=1", 20, Some("page=2")),
        ("?page=", 20, Some("limit=20&offset=20&page=")),
        ("?page_size=2", 20, Some("limit=20&offset=20&page_size=2")),
        ("?page=1&page_size=100", 100, Some("page=2&page_size=100")),
        ("?page=last&page_size=100", 41, None),
        ("?page=2&page_size=3&limit=5&offset=1", 3, Some("limit=5&offset=1&page=3&page_size=3")),
        ("?limit=0", 20, Some("limit=20&offset=20")),
        ("?limit=-1", 20, Some("limit=20&offset=20")),
        ("?limit=abc", 20, Some("limit=20&offset=20")),
        ("?limit=10000", 241, None),
        ("?limit=100&offset=5000", 0, None),
        ("?keys=", 20, Some("keys=&limit=20&offset=20")),
    ] {
        let (status, _, json) = get(&stand_in, &format!("{LIST}{query}")).await;
        assert_eq!((status, results(&json), json["count"].as_u64()), (200, came, Some(241)), "{query}");
        let next = next.map(|next| format!("{host}{LIST}?{next}"));
        assert_eq!(json["next"].as_str(), next.as_deref(), "{query}");
    }
    for query in ["?page=99", "?page=0", "?page=x", "?page=2&keys=o/absent/r"] {
        let (status, _, json) = get(&stand_in, &format!("{LIST}{query}")).await;
        assert_eq!((status, json["detail"].as_str()), (404, Some("Invalid page.")), "{query}");
    }
    let (_, _, json) = get(&stand_in, &format!("{LIST}?page=2&page_size=100")).await;
    assert_eq!(json["previous"], format!("{host}{LIST}?page_size=100"), "without page");
    let (_, _, json) = get(&stand_in, &format!("{LIST}?limit=100&offset=5000")).await;
    assert_eq!(json["previous"], format!("{host}{LIST}?limit=100&offset=4900"));
}

#[tokio::test]
async fn keys_are_taken_as_recorded() {
    let stand_in = StandIn::start(Setup::default()).await;
    let one = "AcmeX/CS100/2013_Spring";
    for (query, count) in [
        (format!("keys={one}"), 1),
        (format!("keys={one},{one}"), 1),
        (format!("keys=BetaU/Old.Course/2012-Fall, {one}"), 1),
        (format!("keys= {one} "), 1),
        (format!("keys=BetaU/Old.Course/2012-Fall&keys={one}"), 1),
        (format!("keys={}", one.to_uppercase()), 1),
        ("keys=course-v1:EcoleX%2BFrancais%2Bete_2026".to_owned(), 1),
        ("keys=course-v1:deltaX+BIO102+2025_T2".to_owned(), 0),
        ("keys=nonsense".to_owned(), 0),
    ] {
        let (status, _, json) = get(&stand_in, &format!("{LIST}?{}", query.replace(' ', "%20"))).await;
        assert_eq!((status, json["count"].as_u64()), (200, Some(count)), "{query}");
    }
}

#[tokio::test]
async fn one_run_is_found_as_recorded() {
    let stand_in = StandIn::start(Setup::default()).await;
    for (path, status) in [
        ("course-v1:deltaX+BIO102+2025_T2/", 200),
        ("course-v1:deltaX%2BBIO102%2B2025_T2/", 200),
        ("COURSE-v1:deltax%2BBIO102%2B2025_T2/", 200),
        ("AcmeX/CS100/2013_Spring/", 200),
        ("AcmeX%2FCS100%2F2013_Spring/", 200),
        ("course-v1:deltaX+BIO102+2025_T2", 301),
        ("course-v1:no+such+run/", 404),
        ("course-v1:deltaX%252BBIO102%252B2025_T2/", 404),
        ("nonsense/", 404),
    ] {
        let (seen, text, json) = get(&stand_in, &format!("{LIST}{path}")).await;
        assert_eq!(seen, status, "{path}");
        if path.starts_with("course-v1:no") {
            assert_eq!(json["detail"], "No CourseRun matches the given query.");
        } else if status == 404 {
            assert!(text.starts_with("<!doctype html>"), "{path}");
        }
    }
}

#[tokio::test]
async fn the_door_answers_as_recorded() {
    let mut runs = Runs::default();
    runs.put(Run::new("o/a/r", None));
    let throttle = Some(Throttle { requests: 1, window: std::time::Duration::from_secs(3597) });
    let open = StandIn::start(Setup { runs, throttle, ..Setup::default() }).await;
    assert_eq!(get(&open, LIST).await.0, 200);
    let (status, _, json) = get(&open, LIST).await;
    let recorded: Value = serde_json::from_str(include_str!("../fixtures/catalog/429-hourly.json")).unwrap();
    assert_eq!((status, &json), (429, &recorded));
    let guarded = StandIn::start(Setup { auth: Some(Auth::default()), ..Setup::default() }).await;
    let (status, _, json) = get(&guarded, LIST).await;
    assert_eq!(
        (status, json["detail"].as_str()),
        (401, Some("Authentication credentials were not provided."))
    );
}

#[tokio::test]
async fn a_long_line_is_refused_as_recorded() {
    let gunicorn = StandIn::start(Setup { line_limit: LineLimit::Gunicorn(4094), ..Setup::default() }).await;
    let (status, text, _) = get(&gunicorn, &format!("{LIST}?keys={}", "x".repeat(8153))).await;
    assert_eq!(status, 400);
    assert_eq!(text, include_str!("../fixtures/catalog/400-url-too-long.html"));
}

#[test]
fn faults_are_read_as_written() {
    for (text, fault) in [
        ("500", Fault::Status(500)),
        ("429:5", Fault::Throttled(super::RetryAfter::Seconds(5))),
        ("429date:5", Fault::Throttled(super::RetryAfter::Date(5))),
        ("drip:10:20", Fault::Drip(10, 20)),
        ("redirect:https://x.example/", Fault::Redirect("https://x.example/".into())),
    ] {
        assert_eq!(Fault::parse(text), Some(fault));
    }
    assert_eq!(Fault::parse("nonsense"), None);
}
