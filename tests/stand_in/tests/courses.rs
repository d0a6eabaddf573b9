//! That `/api/v1/courses/` and the page cache answer as the running ones were seen to.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::super::{Draft, Run, Runs, Setup, StandIn};
use super::get;

const COURSES: &str = "/api/v1/courses/";
const FIELDS: &str = "exclude_utm=1&fields=key,course_runs,marketing_url,data_modified_timestamp";
const RUN: &str = "course-v1:O+A+1";

async fn of(keys: &[&str]) -> StandIn {
    let mut runs = Runs::default();
    for key in keys {
        runs.put(Run::new(key, Some("https://www.campus.example/course/old")));
    }
    StandIn::start(Setup { runs, ..Setup::default() }).await
}

/// The courses that changed since `timestamp`, as it stands in the URL.
async fn changed(stand_in: &StandIn, timestamp: &str) -> Vec<String> {
    let (status, _, json) = get(stand_in, &format!("{COURSES}?limit=1000&timestamp={timestamp}")).await;
    assert_eq!(status, 200, "{timestamp}");
    json["results"].as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect()
}

fn text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

async fn url(stand_in: &StandIn, key: &str) -> Value {
    let key = key.replace('+', "%2B");
    get(stand_in, &format!("/api/v1/course_runs/?keys={key}&exclude_utm=1")).await.2["results"][0]["marketing_url"]
        .clone()
}

/// The runs of each course are listed in another order there: sorted by key.
fn sorted(mut page: Value) -> Value {
    for course in page["results"].as_array_mut().unwrap() {
        course["course_runs"].as_array_mut().unwrap().sort_by_key(|run| run["key"].to_string());
    }
    page
}

#[tokio::test]
async fn the_recorded_courses_come_back_as_they_were() {
    let mut recorded: Value =
        serde_json::from_str(include_str!("../../fixtures/catalog/courses-timestamp-five-fields.json"))
            .unwrap();
    // It has runs that were moved to it, with the keys of other courses. The stand-in goes by the keys.
    recorded["results"].as_array_mut().unwrap().pop();
    recorded["count"] = 4.into();
    let stand_in = of(&["course-v1:Other+X+1"]).await;
    for course in recorded["results"].as_array().unwrap() {
        let stamp = course["data_modified_timestamp"].as_str().unwrap().parse().ok();
        for run in course["course_runs"].as_array().unwrap() {
            let draft = Draft::new(run["key"].as_str().unwrap(), run["marketing_url"].as_str());
            stand_in.save_draft(Draft { stamp, ..draft });
        }
    }
    stand_in.publish_drafts();
    let since = "timestamp=2026-11-24T16:45:54.301630Z";
    let (_, _, json) = get(&stand_in, &format!("{COURSES}?limit=1000&{FIELDS}&{since}")).await;
    assert_eq!(sorted(json), sorted(recorded));
    let (_, _, json) = get(&stand_in, &format!("{COURSES}?limit=2&{FIELDS}&{since}")).await;
    let page: Value =
        serde_json::from_str(include_str!("../../fixtures/catalog/courses-timestamp-page1-limit2.json"))
            .unwrap();
    assert_eq!(sorted(json)["results"], sorted(page)["results"]);
    let (_, text, _) = get(&stand_in, &format!("{COURSES}?timestamp=2026-12-01")).await;
    let none: Value =
        serde_json::from_str(include_str!("../../fixtures/catalog/courses-timestamp-none.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), none);
}

#[tokio::test]
async fn the_filter_takes_the_recorded_forms_of_a_time() {
    let stand_in = of(&[RUN, "course-v1:O+B+1"]).await;
    let stamp = Some("2026-11-24T16:45:54.303022Z".parse().unwrap());
    stand_in.save_draft(Draft { stamp, ..Draft::new(RUN, None) });
    for equal in
        ["2026-11-24T16:45:54.303022Z", "2026-11-24T17:45:54.303022%2B01:00", "2026-11-24%2016:45:54.303022"]
    {
        assert_eq!(changed(&stand_in, equal).await, ["O+A"], "{equal}");
    }
    for (timestamp, count) in
        [("2026-11-24", 1), ("2026-11-24T16:45:54", 1), ("2026-11-24T16:45:54.303023Z", 0), ("", 2)]
    {
        assert_eq!(changed(&stand_in, timestamp).await.len(), count, "{timestamp}");
    }
    for bad in ["2026-11-24T16:45:54+00:00", "1795363200", "yesterday"] {
        let (status, text, _) = get(&stand_in, &format!("{COURSES}?timestamp={bad}")).await;
        assert_eq!(
            (status, text.as_str()),
            (400, include_str!("../../fixtures/catalog/courses-timestamp-bad-400.json").trim_end())
        );
    }
}

#[tokio::test]
async fn a_draft_moves_the_stamp_at_once_and_its_official_run_changes_later() {
    let stand_in = of(&[RUN]).await;
    let before = text(Utc::now());
    assert_eq!(changed(&stand_in, &before).await.len(), 0);
    stand_in.save_draft(Draft::new(RUN, Some("https://www.campus.example/course/new")));
    assert_eq!(changed(&stand_in, &before).await, ["O+A"]);
    assert_eq!(url(&stand_in, RUN).await, "https://www.campus.example/course/old");
    stand_in.publish_drafts();
    assert_eq!(url(&stand_in, RUN).await, "https://www.campus.example/course/new");
    let soon = Draft { official_after: Duration::ZERO, ..Draft::new(RUN, None) };
    stand_in.save_draft(soon);
    assert_eq!(url(&stand_in, RUN).await, Value::Null);
}

#[tokio::test]
async fn what_happens_behind_the_drafts_back_moves_no_stamp() {
    let stand_in = of(&[RUN]).await;
    let before = text(Utc::now());
    stand_in.put(RUN, Some("https://www.campus.example/course/new"));
    stand_in.put("course-v1:O+A+2", None);
    stand_in.remove("course-v1:O+A+2");
    assert_eq!(changed(&stand_in, &before).await.len(), 0);
    assert_eq!(url(&stand_in, RUN).await, "https://www.campus.example/course/new");
}

#[tokio::test]
async fn a_stamp_is_set_before_it_can_be_read_by_a_clock_that_may_be_off() {
    let stand_in = of(&[RUN]).await;
    stand_in.state().setup.clock_ahead = 120;
    let ahead = text(Utc::now() + TimeDelta::seconds(119));
    stand_in.save_draft(Draft { committed_after: Duration::MAX, ..Draft::new(RUN, None) });
    assert_eq!(changed(&stand_in, &ahead).await.len(), 0);
    // The signal of the save came before: what was answered meanwhile stays in the cache.
    stand_in.publish_drafts();
    stand_in.put("course-v1:O+B+1", None);
    assert_eq!(changed(&stand_in, &ahead).await, ["O+A"]);
}

#[tokio::test]
async fn a_hidden_run_is_listed_and_nested_only_where_it_is_asked_for() {
    let stand_in = of(&[RUN]).await;
    stand_in.state().setup.runs.put(Run { hidden: true, ..Run::new("course-v1:O+A+2", None) });
    let (_, _, json) = get(&stand_in, &format!("{COURSES}?fields=key,course_runs")).await;
    assert_eq!(
        json["results"].to_string(),
        format!(r#"[{{"course_runs":[{{"key":"{RUN}"}}],"key":"O+A"}}]"#)
    );
    let with_hidden = format!("{COURSES}?fields=key,course_runs&include_hidden_course_runs=1");
    let (_, _, json) = get(&stand_in, &with_hidden).await;
    assert_eq!(json["results"][0]["course_runs"].as_array().map(Vec::len), Some(2));
    assert_eq!(get(&stand_in, "/api/v1/course_runs/").await.2["count"], 2);
}

#[tokio::test]
async fn a_page_comes_from_the_cache_until_anything_is_saved() {
    let stand_in = of(&[RUN]).await;
    let page = "/api/v1/course_runs/?limit=100&offset=0";
    let cached = |stand_in: &StandIn| stand_in.stats().cached;
    get(&stand_in, page).await;
    get(&stand_in, "/api/v1/course_runs/?limit=200&offset=0").await;
    assert_eq!(cached(&stand_in), 0, "another URL");
    get(&stand_in, page).await;
    assert_eq!(cached(&stand_in), 1);
    stand_in.save_draft(Draft::new("course-v1:O+B+1", None));
    get(&stand_in, page).await;
    assert_eq!(cached(&stand_in), 1, "any save empties it");
    stand_in.state().setup.runs.update(Run::new("course-v1:O+B+1", None));
    assert_eq!(get(&stand_in, page).await.2["count"], 1, "an update without a signal leaves what is old");
    stand_in.empty_cache();
    assert_eq!(get(&stand_in, page).await.2["count"], 2);
}
