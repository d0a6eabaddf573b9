//! A pass over a sound Catalog: every overview right, nothing written twice, every number true.

use course_sharing::config::PageSize;
use course_sharing::pass::{PassError, Silent};
use course_sharing::store::Verdict;
use serde_json::json;

use super::rig::{PAGE, Rig};
use crate::support::databases::{KINDS, Kind};
use stand_in::{Fault, Run, Runs};

#[tokio::test]
async fn every_overview_equals_the_catalog_and_a_second_pass_changes_nothing() {
    for kind in KINDS {
        let rig = Rig::new(kind, Runs::recorded()).await;
        let unlisted = "course-v1:Gone+G1+1";
        rig.database.insert_overview(unlisted, Some("https://kept.example/g")).await;
        let report = rig.run().await;
        assert_eq!(report.verdict, Verdict::Complete, "{:?}", report.reasons);
        rig.assert_links_are_as_listed().await;
        // One of the 241 is a custom course, whose parent is not listed: it has the link of its own listing.
        let linked = rig.listed().values().filter(|url| url.is_some()).count() as u64;
        assert_eq!((report.count_before, report.count_after, report.listed), (241, 241, 241), "{kind:?}");
        assert_eq!((report.updated, report.cleared, report.held_back), (linked, 0, 0), "{kind:?}");
        assert_eq!((report.overviews, report.settled_by_crawl, report.not_listed), (242, 240, 1));
        assert_eq!(report.ccx_by_parent, 1, "{kind:?}");
        assert_eq!((report.ccx_listed, report.without_overview), (1, 0), "{kind:?}");
        assert_eq!(rig.database.link(unlisted).await, Some(Some("https://kept.example/g".to_owned())));
        let stats = rig.catalog.stats();
        assert_eq!(report.requests, stats.requests);
        assert_eq!(report.pages, 241_u64.div_ceil(u64::from(PAGE)));
        assert!(stats.most_at_once <= 2);

        let again = rig.run().await;
        assert_eq!((again.verdict, again.updated, again.cleared), (Verdict::Complete, 0, 0), "{kind:?}");
        assert_eq!(again.pass.unwrap(), report.pass.unwrap() + 1);
        let row = rig.database.store.last_passes(None, 1).await.unwrap().remove(0);
        assert_eq!((row.verdict.as_str(), row.listed, row.updated), ("complete", 241, 0), "{kind:?}");
        assert!(row.finished_at.is_some());
        rig.drop().await;
    }
}

#[tokio::test]
async fn keys_that_differ_only_in_case_have_links_of_their_own() {
    for kind in KINDS {
        let keys = ["course-v1:ecole+a+1", "course-v1:ECOLE+A+1", "course-v1:école+a+1"];
        let mut runs = Runs::default();
        for (number, key) in keys.iter().enumerate() {
            runs.put(Run::new(key, Some(&format!("https://e.example/{number}"))));
        }
        let rig = Rig::new(kind, Runs::default()).await;
        rig.catalog.state().setup.runs = runs;
        let change = "ALTER TABLE course_overviews_courseoverview DROP PRIMARY KEY, MODIFY id varchar(255) CHARACTER SET utf8mb4";
        if kind == Kind::Mysql {
            rig.database.execute(&format!("{change} COLLATE utf8mb4_bin NOT NULL")).await;
        }
        rig.insert_overviews(&keys.map(str::to_owned)).await;
        if kind == Kind::Mysql {
            let change = change.replace("DROP PRIMARY KEY, ", "");
            rig.database.execute(&format!("{change} COLLATE utf8mb4_unicode_ci NOT NULL")).await;
        }
        let report = rig.run().await;
        assert_eq!((report.verdict, report.updated), (Verdict::Complete, 3), "{kind:?}");
        rig.assert_links_are_as_listed().await;
        assert_eq!(rig.run().await.updated, 0, "{kind:?}");
        rig.drop().await;
    }
}

#[tokio::test]
async fn custom_courses_follow_their_parent_and_what_is_no_run_is_left_alone() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 3).await;
        let parent = rig.listed().into_iter().next().unwrap();
        let ccx = format!("ccx-v1:{}+ccx@7", parent.0.strip_prefix("course-v1:").unwrap());
        rig.database.insert_overview(&ccx, None).await;
        rig.database.insert_overview("ccx-v1:Not+Listed+1+ccx@1", Some("https://kept.example/c")).await;
        rig.database.insert_overview("library-v1:Org+Lib", None).await;
        rig.catalog.put(&ccx, Some("https://www.campus.example/course/of-its-own"));
        let report = rig.run().await;
        assert_eq!(report.verdict, Verdict::Complete, "{kind:?} {:?}", report.reasons);
        assert_eq!(rig.database.link(&ccx).await.unwrap(), parent.1, "{kind:?}");
        assert_eq!((report.ccx_listed, report.ccx_by_parent, report.no_runs), (1, 1, 1), "{kind:?}");
        assert_eq!((report.settled_by_crawl, report.not_listed, report.updated), (3, 1, 4), "{kind:?}");
        rig.database.execute("UPDATE course_overviews_courseoverview SET marketing_url = NULL").await;
        assert_eq!(rig.run().await.updated, 4, "{kind:?}");
        assert_eq!(rig.database.link(&ccx).await.unwrap(), parent.1, "{kind:?}");
        rig.drop().await;
    }
}

/// A parent that is listed, and one that is not, neither of which the crawl shows.
#[tokio::test]
async fn parents_of_more_custom_courses_than_a_batch_has_are_counted_once_each() {
    for kind in KINDS {
        let mut rig = Rig::generated(kind, 40).await;
        let parents = ["OrgX+C0000007+2026_T1", "OrgX+Gone+1"];
        rig.insert_overviews(&[format!("course-v1:{}", parents[1])]).await;
        for parent in parents {
            let ccx: Vec<String> = (0..600).map(|n| format!("ccx-v1:{parent}+ccx@{n}")).collect();
            rig.insert_overviews(&ccx).await;
        }
        let listed = rig.listed().into_iter().filter(|(key, _)| !key.contains(parents[0]));
        let shown: Vec<_> = listed.map(|(key, url)| json!({"key": key, "marketing_url": url})).collect();
        let body = json!({"count": shown.len(), "next": null, "results": shown});
        rig.catalog.script([Fault::Body(body.to_string())]);
        rig.reconcile.page_size = PageSize::Fixed(100);
        let report = rig.run().await;
        assert_eq!((report.verdict, report.listed), (Verdict::Complete, 39), "{kind:?} {:?}", report.reasons);
        assert_eq!((report.settled_by_crawl, report.settled_by_key), (39, 1), "{kind:?}");
        assert_eq!((report.ccx_by_parent, report.not_listed), (600, 601), "{kind:?}");
        assert_eq!(report.overviews, 1241, "{kind:?}");
        rig.drop().await;
    }
}

#[tokio::test]
async fn the_lms_own_page_size_is_read_and_its_absence_named() {
    for kind in KINDS {
        let mut rig = Rig::generated(kind, 30).await;
        rig.reconcile.page_size = PageSize::Lms;
        let error = rig.try_run(rig.options(), &Silent).await.unwrap_err();
        assert!(matches!(error, PassError::LmsPageSize(_)), "{kind:?}: {error}");
        rig.database
            .execute("CREATE TABLE catalog_catalogintegration (id integer PRIMARY KEY, page_size integer)")
            .await;
        rig.database.grant_on("catalog_catalogintegration").await;
        rig.database.execute("INSERT INTO catalog_catalogintegration VALUES (1, 100), (2, 7)").await;
        let report = rig.run().await;
        assert_eq!((report.page_size, report.pages), (7, 5), "{kind:?}");
        rig.drop().await;
    }
}

#[tokio::test]
async fn the_page_size_grows_with_a_quick_catalog_and_the_next_pass_begins_there() {
    let mut rig = Rig::generated(Kind::Sqlite, 1500).await;
    rig.reconcile.page_size = PageSize::Auto;
    let first = rig.run().await;
    assert!(first.page_size > 100, "{}", first.page_size);
    let second = rig.run().await;
    assert!(second.pages < first.pages, "{} then {}", first.pages, second.pages);
    assert!(rig.catalog.stats().targets.iter().any(|target| target.contains("limit=100&")));
    rig.drop().await;
}

#[tokio::test]
async fn a_report_is_one_json_document_and_a_table() {
    let rig = Rig::generated(Kind::Sqlite, 20).await;
    let report = rig.run().await;
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["verdict"], &json["updated"]), (&"complete".into(), &20.into()));
    let human = report.human();
    assert!(human.starts_with("pass complete\n") && human.contains("found in Catalog"), "{human}");
    rig.drop().await;
}
