//! Values of `marketing_url`: null, relative, with `utm_source`.

use super::*;

#[tokio::test]
async fn null_and_nothing_are_no_url_and_relative_is_refused() {
    let (_stand_in, client) = started(few(&[
        ("o/null/r", None),
        ("o/empty/r", Some("")),
        ("o/relative/r", Some("course/x")),
        ("o/good/r", Some(GOOD)),
    ]))
    .await;
    assert!(matches!(look(&client, "o/null/r").await, Observation::NoUrl(_)));
    assert!(matches!(look(&client, "o/empty/r").await, Observation::NoUrl(_)));
    let relative = look(&client, "o/relative/r").await;
    assert!(matches!(relative, Observation::Refused(refused) if refused.why.contains("relative")));
    assert!(matches!(look(&client, "o/good/r").await, Observation::Url(url, _) if url.as_str() == GOOD));
    assert!(matches!(look(&client, "o/absent/r").await, Observation::NotListed));
    let page = client.page(0, 10, Purpose::Pass).await.unwrap();
    let refused = page.rows.iter().filter(|run| matches!(run.observation, Observation::Refused(_)));
    assert_eq!((refused.count(), page.rows.len()), (1, 4));
}

#[tokio::test]
async fn no_utm_source_is_kept() {
    let (stand_in, client) = started(few(&[("o/good/r", Some(GOOD))])).await;
    assert!(matches!(look(&client, "o/good/r").await, Observation::Url(url, _) if url.as_str() == GOOD));
    let list = format!("{}/api/v1/course_runs/", stand_in.url());
    let (_, answer) = get(&list).await;
    assert!(answer["results"][0]["marketing_url"].as_str().unwrap().contains("utm_source="));
    assert_eq!(get(&format!("{list}?exclude_utm=true")).await.0, 500);
}
