//! Paging and `keys=`: what is ignored, cut at twenty, matched too widely, or moves while it is read.

use super::*;

#[tokio::test]
async fn a_crawl_sees_every_run_whatever_the_page_size() {
    let (stand_in, client) = recorded().await;
    let all: HashSet<String> = stand_in.state().setup.runs.keys().into_iter().collect();
    for limit in [20, 100, 241, 1000] {
        let seen = crawl(&client, limit).await;
        assert_eq!((seen.len(), seen.into_iter().collect::<HashSet<_>>()), (241, all.clone()));
    }
    assert!(stand_in.stats().targets.iter().all(|target| !target.contains("page_size")));
}

#[tokio::test]
async fn page_size_without_page_would_have_been_ignored() {
    let (stand_in, client) = recorded().await;
    let list = format!("{}/api/v1/course_runs/", stand_in.url());
    let (_, answer) = get(&format!("{list}?page_size=100")).await;
    assert_eq!(answer["results"].as_array().unwrap().len(), 20);
    assert_eq!(client.page(0, 100, Purpose::Pass).await.unwrap().rows.len(), 100);
}

#[tokio::test]
async fn a_limit_of_nothing_is_not_twenty_runs() {
    let (_stand_in, client) = recorded().await;
    assert_eq!(client.page(0, 0, Purpose::Pass).await.unwrap().rows.len(), 1);
}

#[tokio::test]
async fn past_the_end_there_is_nothing_and_the_count_is_right() {
    let (_stand_in, client) = recorded().await;
    let page = client.page(5000, 100, Purpose::Pass).await.unwrap();
    assert_eq!((page.count, page.rows.len()), (241, 0));
}

#[tokio::test]
async fn keys_are_paged_at_twenty_and_all_fifty_are_found() {
    let (stand_in, client) = recorded().await;
    let fifty: Vec<_> = keys(&stand_in.state().setup.runs).into_iter().take(50).collect();
    let found = client.look_up(&fifty, Purpose::Event).await;
    assert_eq!(found.len(), 50);
    assert_eq!(count(&found, |o| matches!(o, Observation::Url(..) | Observation::NoUrl(_))), 50);
    let encoded: Vec<_> = fifty.iter().map(|key| key.as_str().replace('+', "%2B")).collect();
    let url = format!("{}/api/v1/course_runs/?keys={}", stand_in.url(), encoded.join(","));
    let (_, answer) = get(&url).await;
    assert_eq!((answer["count"].as_u64(), answer["results"].as_array().unwrap().len()), (Some(50), 20));
}

#[tokio::test]
async fn all_recorded_runs_are_found_by_key_in_few_requests() {
    let (stand_in, client) = recorded().await;
    let all = keys(&stand_in.state().setup.runs);
    let found = client.look_up(&all, Purpose::Command).await;
    assert_eq!(found.len(), 240);
    assert_eq!(count(&found, |o| matches!(o, Observation::NoUrl(_))), 40);
    assert_eq!(count(&found, |o| matches!(o, Observation::Url(..))), 200);
    let stats = stand_in.stats();
    assert!(stats.requests <= 12 && stats.requests == client.requests(), "{}", stats.requests);
    assert!(stats.targets.iter().all(|target| target.len() <= 1300));
}

#[tokio::test]
async fn no_keys_ask_nothing() {
    let (stand_in, client) = recorded().await;
    assert!(client.look_up(&[], Purpose::Event).await.is_empty());
    assert_eq!(stand_in.stats().requests, 0, "an empty keys= means every run there is");
}

#[tokio::test]
async fn a_plus_in_a_query_stays_a_plus() {
    let (stand_in, client) = recorded().await;
    assert!(matches!(look(&client, "course-v1:deltaX+BIO102+2025_T2").await, Observation::Url(..)));
    let raw = format!("{}/api/v1/course_runs/?keys=course-v1:deltaX+BIO102+2025_T2", stand_in.url());
    let (status, answer) = get(&raw).await;
    assert_eq!((status, answer["count"].as_u64()), (200, Some(0)), "as a raw one would not");
}

#[tokio::test]
async fn keys_match_without_case_and_accents_but_only_the_exact_one_counts() {
    let (_stand_in, client) =
        started(few(&[("course-v1:AcmeX+a+1", Some(GOOD)), ("course-v1:ÉcoleX+Français+1", Some(GOOD))]))
            .await;
    assert!(matches!(look(&client, "course-v1:acmex+A+1").await, Observation::NotListed));
    assert!(matches!(look(&client, "course-v1:EcoleX+Francais+1").await, Observation::NotListed));
    assert!(matches!(look(&client, "course-v1:ÉcoleX+Français+1").await, Observation::Url(..)));
}

#[tokio::test]
async fn next_on_another_host_is_never_followed() {
    let elsewhere = StandIn::start(Setup::default()).await;
    let host = elsewhere.url().replace("http://", "");
    let (stand_in, client) = started(Setup { foreign_host: Some(host), ..Setup::default() }).await;
    assert_eq!(crawl(&client, 50).await.len(), 241);
    let all = keys(&stand_in.state().setup.runs);
    client.look_up(&all, Purpose::Event).await;
    assert_eq!(elsewhere.stats().requests, 0);
}

#[tokio::test]
async fn a_run_deleted_while_paging_makes_one_be_skipped_and_by_key_it_is_found() {
    let (stand_in, client) = recorded().await;
    let all = keys(&stand_in.state().setup.runs);
    stand_in.state().churn = Some(Churn::DeleteFirst);
    let mut seen = HashSet::new();
    for page in 0..5 {
        let page = client.page(page * 50, 50, Purpose::Pass).await.unwrap();
        seen.extend(page.rows.into_iter().filter_map(|run| run.key.ok()).map(|key| key.run_key()));
    }
    stand_in.state().churn = None;
    let unseen: Vec<_> = all.into_iter().filter(|key| !seen.contains(key)).collect();
    let found = client.look_up(&unseen, Purpose::Pass).await;
    assert!(count(&found, |o| !matches!(o, Observation::NotListed)) >= 3, "{found:?}");
}
