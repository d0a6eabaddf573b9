//! The mass-change brake, and what becomes of runs that are no longer listed.

use course_sharing::config::Absent;
use course_sharing::model::course_key::CourseKey;
use course_sharing::status::Explanation;
use course_sharing::store::Verdict;

use super::rig::Rig;
use crate::support::databases::KINDS;

#[tokio::test]
async fn many_links_to_another_host_wait_until_they_are_let_through() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 60).await;
        rig.run().await;
        let before = rig.links().await;
        rig.rehost("new.example");
        rig.catalog.put("course-v1:New+N+1", Some("https://new.example/n"));
        rig.insert_overviews(&["course-v1:New+N+1".to_owned()]).await;
        let report = rig.run().await;
        assert_eq!(report.verdict, Verdict::Refused, "{kind:?}");
        assert_eq!((report.held_back, report.allowance, report.held.len()), (60, 10, 60), "{kind:?}");
        assert_eq!(report.changed, 1, "{kind:?}: what is held back has not changed");
        assert_eq!(
            (report.settled_by_crawl, report.settled_by_key, report.unsettled),
            (61, 0, 0),
            "{kind:?}"
        );
        assert_eq!(rig.catalog.stats().keys_asked, 0, "{kind:?}: what waits is not asked for again");
        assert_eq!(report.held[0].from, before[&report.held[0].key]);
        assert!(report.held[0].to.as_ref().unwrap().starts_with("https://new.example/"));
        let course = CourseKey::parse(&report.held[7].key).unwrap();
        let why = Explanation::read(&rig.database.store, &course).await.unwrap().why();
        assert!(why.contains("holds back changing it to https://new.example/"), "{kind:?}: {why}");
        let mut links = rig.links().await;
        let new = links.remove("course-v1:New+N+1");
        assert_eq!(new, Some(Some("https://new.example/n".to_owned())), "{kind:?}: the rest is applied");
        assert_eq!(links, before, "{kind:?}");

        let report = rig.run_letting_through().await;
        assert_eq!(
            (report.verdict, report.updated, report.held_back),
            (Verdict::Complete, 60, 0),
            "{kind:?}"
        );
        rig.assert_links_are_as_listed().await;
        rig.drop().await;
    }
}

#[tokio::test]
async fn a_few_changes_pass_the_brake_and_reach_custom_courses() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 60).await;
        let key = "course-v1:OrgX+C0000005+2026_T1";
        rig.insert_overviews(&["ccx-v1:OrgX+C0000005+2026_T1+ccx@1".to_owned()]).await;
        rig.run().await;
        rig.catalog.put(key, Some("https://new.example/5"));
        let report = rig.run().await;
        assert_eq!((report.verdict, report.updated, report.held_back), (Verdict::Complete, 2, 0), "{kind:?}");
        assert_eq!(report.changed, 2, "{kind:?}: what waited is counted once");
        let ccx = rig.database.link("ccx-v1:OrgX+C0000005+2026_T1+ccx@1").await;
        assert_eq!(ccx, Some(Some("https://new.example/5".to_owned())), "{kind:?}");
        rig.drop().await;
    }
}

#[tokio::test]
async fn a_link_that_came_back_after_a_clear_goes_again_with_those_of_its_custom_courses() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 60).await;
        let (key, ccx) = ("course-v1:OrgX+C0000005+2026_T1", "ccx-v1:OrgX+C0000005+2026_T1+ccx@1");
        rig.insert_overviews(&[ccx.to_owned()]).await;
        rig.run().await;
        let stale = rig.database.link(key).await.unwrap().unwrap();
        rig.catalog.put(key, None);
        rig.run().await;
        rig.long_ago().await;
        for _ in 0..2 {
            let report = rig.run().await;
            assert_eq!(
                (report.verdict, report.cleared, report.updated),
                (Verdict::Complete, 2, 0),
                "{kind:?}"
            );
            for id in [key, ccx] {
                assert_eq!(rig.database.link(id).await, Some(None), "{kind:?} {id}");
            }
            let back = format!("UPDATE course_overviews_courseoverview SET marketing_url = '{stale}'");
            rig.database.execute(&format!("{back} WHERE id IN ('{key}', '{ccx}')")).await;
        }
        rig.drop().await;
    }
}

#[tokio::test]
async fn a_null_clears_at_the_second_pass_and_many_nulls_are_held() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 60).await;
        rig.run().await;
        let keys = rig.catalog.state().setup.runs.keys();
        for key in &keys[..3] {
            rig.catalog.put(key, None);
        }
        let first = rig.run().await;
        assert_eq!((first.pending, first.cleared), (3, 0), "{kind:?}");
        rig.long_ago().await;
        let second = rig.run().await;
        assert_eq!((second.verdict, second.cleared), (Verdict::Complete, 3), "{kind:?}");
        assert_eq!(rig.links().await.values().flatten().count(), 57, "{kind:?}");
        for key in &keys {
            rig.catalog.put(key, None);
        }
        rig.run().await;
        rig.long_ago().await;
        let refused = rig.run().await;
        assert_eq!((refused.verdict, refused.held_back), (Verdict::Refused, 57), "{kind:?}");
        assert_eq!(rig.links().await.values().flatten().count(), 57, "{kind:?}");
        assert_eq!(rig.run_letting_through().await.cleared, 57, "{kind:?}");
        assert_eq!(rig.links().await.values().flatten().count(), 0, "{kind:?}");
        rig.drop().await;
    }
}

#[tokio::test]
async fn runs_that_are_gone_lose_their_link_only_where_that_is_wanted_and_the_pass_is_complete() {
    for kind in KINDS {
        let mut rig = Rig::generated(kind, 60).await;
        rig.run().await;
        rig.insert_overviews(&["ccx-v1:OrgX+C0000001+2026_T1+ccx@1".to_owned()]).await;
        rig.database.store.heal().await.unwrap();
        let gone = "course-v1:OrgX+C0000001+2026_T1";
        rig.catalog.remove(gone);
        let kept = rig.run().await;
        assert_eq!((kept.verdict, kept.not_listed, kept.cleared), (Verdict::Complete, 2, 0), "{kind:?}");
        assert!(rig.database.link(gone).await.unwrap().is_some(), "{kind:?}");

        rig.reconcile.absent = Absent::Clear;
        let cleared = rig.run().await;
        assert_eq!((cleared.verdict, cleared.cleared), (Verdict::Complete, 2), "{kind:?}");
        assert_eq!(rig.database.link(gone).await, Some(None), "{kind:?}");

        for number in 2..22 {
            rig.catalog.remove(&format!("course-v1:OrgX+C{number:07}+2026_T1"));
        }
        let refused = rig.run().await;
        assert_eq!((refused.verdict, refused.held_back), (Verdict::Refused, 20), "{kind:?}");
        assert_eq!(rig.links().await.values().flatten().count(), 59, "{kind:?}");
        rig.drop().await;
    }
}
