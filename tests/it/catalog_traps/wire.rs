//! What happens below HTTP: cuts, closes, drips, lengths; and that none of it is taken for an answer.

use super::*;

#[tokio::test]
async fn what_passes_is_asked_again() {
    let passing = [Fault::Status(500), Fault::Status(503), Fault::Html200, Fault::Cut, Fault::Close];
    let checks = passing.map(async |fault: Fault| {
        let (stand_in, client) = recorded().await;
        stand_in.script([fault.clone(), fault.clone()]);
        assert!(matches!(look(&client, "AcmeX/CS100/2013_Spring").await, Observation::Url(..)), "{fault:?}");
        assert_eq!(client.requests(), 3, "{fault:?}");
    });
    join_all(checks).await;
}

#[tokio::test]
async fn no_fault_ever_says_no_url_or_not_listed() {
    let odd = [
        Fault::Html200,
        Fault::Cut,
        Fault::Close,
        Fault::Status(500),
        Fault::Status(404),
        Fault::Status(403),
        Fault::Status(400),
        Fault::Body("null".into()),
        Fault::Body("{\"count\": 0}".into()),
        Fault::Body("{\"count\": 1, \"next\": null, \"results\": []}".into()),
        Fault::Body("{\"count\": 1, \"results\": [{\"key\": \"AcmeX/CS100/2013_Spring\"}]}".into()),
        Fault::Body("{\"count\": 0, \"results\": []} trailing".into()),
    ];
    let checks = odd.map(async |fault: Fault| {
        let (stand_in, client) = recorded().await;
        // All ways but this one are shut, so that the retries meet the same.
        stand_in.script(std::iter::repeat_n(fault.clone(), 3));
        stand_in.script(std::iter::repeat_n(Fault::Status(403), 4));
        let observation = look(&client, "AcmeX/CS100/2013_Spring").await;
        assert!(matches!(observation, Observation::Unknown(_)), "{fault:?}: {observation:?}");
    });
    join_all(checks).await;
}

#[tokio::test]
async fn a_url_too_long_is_halved_however_the_server_says_so() {
    for limit in [LineLimit::Gunicorn(800), LineLimit::Uwsgi(800)] {
        let (stand_in, client) = started(Setup { line_limit: limit, ..Setup::default() }).await;
        let all = keys(&stand_in.state().setup.runs);
        let found = client.look_up(&all, Purpose::Event).await;
        assert_eq!(
            count(&found, |o| matches!(o, Observation::Url(..) | Observation::NoUrl(_))),
            240,
            "{limit:?}"
        );
        assert_eq!(client.circuit(), Circuit::Closed);
        assert!(client.requests() <= 30, "{limit:?}: {}", client.requests());
    }
}

#[tokio::test]
async fn a_slow_drip_ends_at_the_time_limit() {
    let stand_in = StandIn::start(Setup::default()).await;
    let client = client_with(&config::Catalog { timeout: Duration::from_millis(300), ..settings(&stand_in) });
    stand_in.script([Fault::Drip(1, 50)]);
    assert!(matches!(client.probe().await, Err(CatalogError::Timeout(_))));
    stand_in.script([Fault::Hang]);
    assert!(matches!(client.probe().await, Err(CatalogError::Timeout(_))));
    stand_in.script([Fault::Drip(5000, 1)]);
    assert_eq!(client.probe().await.unwrap().count, 241);
}

#[tokio::test]
async fn a_body_over_the_cap_is_not_read_to_its_end() {
    let stand_in = StandIn::start(Setup::default()).await;
    let client = client_with(&config::Catalog { max_body_bytes: 64 * 1024, ..settings(&stand_in) });
    stand_in.script([Fault::Big(64 * 1024 + 1)]);
    let error = client.page(0, 5, Purpose::Event).await.unwrap_err();
    assert!(matches!(error, CatalogError::Unreadable(Defect::TooLarge(_))), "{error}");
    assert_eq!(client.page(0, 241, Purpose::Event).await.unwrap().rows.len(), 241, "36 kB fit");
}

#[tokio::test]
async fn a_million_runs_are_served_and_read_page_by_page() {
    let (_stand_in, client) = started(Setup { runs: Runs::generated(1_000_000), ..Setup::default() }).await;
    let page = client.page(999_900, 1000, Purpose::Pass).await.unwrap();
    assert_eq!((page.count, page.rows.len()), (1_000_000, 100));
    assert!(matches!(look(&client, "course-v1:OrgX+C0765432+2026_T1").await, Observation::Url(..)));
}

#[tokio::test]
async fn chaos_never_invents_a_null_or_an_absence() {
    let (stand_in, client) = recorded().await;
    let all: Vec<_> = keys(&stand_in.state().setup.runs).into_iter().take(60).collect();
    {
        let mut state = stand_in.state();
        let ratios = &mut state.faults.ratios;
        (ratios.server_error, ratios.html200, ratios.cut, ratios.close) = (0.05, 0.05, 0.05, 0.05);
        (ratios.foreign, ratios.relative) = (0.0, 0.2);
    }
    let found = client.look_up(&all, Purpose::Command).await;
    assert_eq!(found.len(), 60);
    assert_eq!(count(&found, |o| matches!(o, Observation::NotListed)), 0);
    let nulls = all.iter().filter(|key| {
        let runs = &stand_in.state().setup.runs;
        runs.at(runs.matching(key.as_str()).start).is_some_and(|run| run.url.is_none())
    });
    assert!(count(&found, |o| matches!(o, Observation::NoUrl(_))) <= nulls.count());
}

#[tokio::test]
async fn connections_closed_behind_our_back_cost_at_most_one_more_request() {
    let (_stand_in, client) = started(Setup { hangs_up: true, ..Setup::default() }).await;
    for page in 0..40 {
        assert_eq!(client.page(page, 5, Purpose::Event).await.unwrap().rows.len(), 5);
    }
    assert_eq!(client.circuit(), Circuit::Closed);
}
