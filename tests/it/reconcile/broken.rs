//! A run that the Catalog cannot show harms itself alone.

use course_sharing::config::PageSize;
use course_sharing::store::Verdict;

use super::rig::Rig;
use crate::support::databases::{KINDS, Kind};
use stand_in::{Fault, Health};

/// Breaks the runs at these places, whose overviews stay as they are, or go.
async fn with_broken(kind: Kind, places: &[usize], with_overviews: bool) -> (Rig, Vec<String>) {
    let rig = Rig::generated(kind, 60).await;
    let keys = rig.catalog.state().setup.runs.keys();
    let broken: Vec<String> = places.iter().map(|place| keys[*place].clone()).collect();
    for key in &broken {
        rig.catalog.put_broken(key, Health::NoType);
        if !with_overviews {
            let delete = format!("DELETE FROM course_overviews_courseoverview WHERE id = '{key}'");
            rig.database.execute(&delete).await;
        }
    }
    (rig, keys)
}

#[tokio::test]
async fn first_middle_last_and_two_side_by_side_stand_alone() {
    for kind in KINDS {
        let cases = [&[0][..], &[30], &[59], &[30, 31]];
        futures_util::future::join_all(cases.map(|places| stand_alone(kind, places))).await;
    }
}

async fn stand_alone(kind: Kind, places: &[usize]) {
    let (rig, keys) = with_broken(kind, places, false).await;
    let broken: Vec<&String> = places.iter().map(|place| &keys[*place]).collect();
    let (first, last) = (places[0], places[places.len() - 1]);
    for updated in [60 - places.len() as u64, 0] {
        let requests = rig.catalog.stats().requests;
        let report = rig.run().await;
        assert_eq!(report.verdict, Verdict::Complete, "{kind:?} {places:?} {:?}", report.reasons);
        assert_eq!((report.broken_runs as usize, report.updated), (places.len(), updated), "{kind:?}");
        let positions: Vec<usize> =
            report.broken.iter().map(|b| usize::try_from(b.position).unwrap()).collect();
        assert_eq!(positions, places);
        assert_eq!(report.broken[0].after.as_ref(), first.checked_sub(1).map(|place| &keys[place]));
        assert_eq!(report.broken[places.len() - 1].before.as_ref(), keys.get(last + 1));
        assert_eq!(report.settled_by_crawl as usize, 60 - places.len());
        assert_eq!(report.requests, rig.catalog.stats().requests - requests);
        let links = rig.links().await;
        assert!(links.iter().all(|(key, link)| link.is_some() != broken.contains(&key)));
    }
    rig.drop().await;
}

#[tokio::test]
async fn an_overview_that_hangs_on_a_broken_run_makes_the_pass_incomplete_and_is_named() {
    for kind in KINDS {
        let (rig, keys) = with_broken(kind, &[30], true).await;
        let report = rig.run().await;
        assert_eq!(report.verdict, Verdict::Incomplete, "{:?}", report.reasons);
        assert_eq!((report.settled_by_crawl, report.unsettled), (59, 1), "{kind:?}");
        assert!(report.unsettled_keys[0].starts_with(&keys[30]), "{:?}", report.unsettled_keys);
        rig.drop().await;
    }
}

#[tokio::test]
async fn a_page_size_of_one_gets_over_a_broken_run_in_first_place() {
    let (mut rig, _) = with_broken(Kind::Sqlite, &[0], false).await;
    rig.reconcile.page_size = PageSize::Fixed(1);
    rig.at_once = 1;
    let report = rig.run().await;
    assert_eq!((report.verdict, report.settled_by_crawl), (Verdict::Complete, 59), "{:?}", report.reasons);
    rig.drop().await;
}

#[tokio::test]
async fn a_body_over_the_cap_and_odd_rows_cost_no_overview() {
    let rig = Rig::generated(Kind::Sqlite, 60).await;
    rig.catalog.put("not a key", Some("https://www.campus.example/x"));
    rig.catalog.put("course-v1:OrgX+C0000003+2026_T1", Some("course/relative"));
    rig.catalog.script([Fault::Ok, Fault::Big(2 * 1024 * 1024)]);
    let report = rig.run().await;
    assert_eq!((report.failed_pages, report.broken_runs), (1, 0));
    assert_eq!((report.odd_rows, report.unsettled, report.refused), (1, 0, 1), "{:?}", report.odd);
    assert_eq!((report.verdict, report.settled_by_crawl), (Verdict::Complete, 60), "{:?}", report.reasons);
    assert_eq!(rig.catalog.stats().keys_asked, 0, "asked by key it would be the same URL");
    rig.drop().await;
}
