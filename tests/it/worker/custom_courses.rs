//! Custom courses: a parent's event reaches them at once; one without a parent in the Catalog has its own link.

use super::PAGE;
use crate::support::databases::{KINDS, Kind};
use crate::support::stage::{SOON, with_stage};
use crate::support::wait_until;

const PARENT: &str = "course-v1:Acme+Coach_1+2026";

fn child(number: u32) -> String {
    format!("ccx-v1:Acme+Coach_1+2026+ccx@{number}")
}

#[tokio::test]
async fn a_parents_event_writes_and_restores_its_custom_courses_without_a_heal() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            stage.course(PARENT, None, Some(PAGE)).await;
            for number in 0..3 {
                stage.database.insert_overview(&child(number), None).await;
            }
            let worker = stage.worker(&[]).await;
            stage.publish_course(PARENT).await;
            // One transaction: whoever sees the parent's link sees the others.
            stage.until_link(PARENT, Some(PAGE)).await;
            for number in 0..3 {
                assert_eq!(
                    stage.database.link(&child(number)).await.flatten().as_deref(),
                    Some(PAGE),
                    "{kind:?}"
                );
            }
            assert_eq!(stage.catalog.stats().keys_asked, 1, "{kind:?}: {:?}", stage.catalog.stats().targets);
            // Wiped, with the Catalog away: the ledger's URL is back, on all of them.
            stage.catalog.off(true);
            stage.database.execute("UPDATE course_overviews_courseoverview SET marketing_url = NULL").await;
            stage.publish_course(PARENT).await;
            stage.until_link(PARENT, Some(PAGE)).await;
            for number in 0..3 {
                stage.until_link(&child(number), Some(PAGE)).await;
            }
            worker.stop().await.expect(0);
        })
        .await;
    }
}

#[tokio::test]
async fn a_custom_course_has_its_own_link_while_its_parent_has_none() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            let own = format!("{PAGE}/of-the-coach");
            stage.database.insert_overview(PARENT, None).await;
            stage.course(&child(1), None, Some(&own)).await;
            stage.database.insert_overview(&child(2), None).await;
            let sync = async |course: &str, outcome: &str| {
                let done = stage.run_with(&[("sync.clear_after", "1s")], &["sync", course]).await.expect(0);
                assert!(done.stdout.contains(outcome), "{kind:?} {course}: {}", done.stdout);
            };
            let link = async |course: &str| stage.database.link(course).await.flatten();
            sync(&child(1), "updated").await;
            assert_eq!(link(&child(1)).await.as_deref(), Some(&*own), "{kind:?}: its own listing's");
            sync(&child(2), "not_listed").await;
            let explained = stage.run(&["explain", &child(1)]).await.expect(0).stdout;
            assert!(explained.contains("a listing of its own serves"), "{kind:?}: {explained}");
            // The parent comes up: all of them follow it, by its own event.
            stage.catalog.put(PARENT, Some(PAGE));
            sync(PARENT, "updated").await;
            for course in [PARENT, &child(1), &child(2)] {
                assert_eq!(link(course).await.as_deref(), Some(PAGE), "{kind:?} {course}");
            }
            // Its page goes: seen twice, it clears; who has a listing of its own falls back to that.
            stage.catalog.put(PARENT, None);
            sync(PARENT, "no_page").await;
            assert_eq!(link(&child(1)).await.as_deref(), Some(PAGE), "{kind:?}: not yet");
            wait_until(SOON, "a second null clears", || async {
                stage.run_with(&[("sync.clear_after", "1s")], &["sync", PARENT]).await.expect(0);
                link(PARENT).await.is_none()
            })
            .await;
            assert_eq!(link(&child(1)).await.as_deref(), Some(&*own), "{kind:?}: its own again");
            assert_eq!(link(&child(2)).await, None, "{kind:?}: it has none");
            // Healing holds to it.
            stage.database.execute("UPDATE course_overviews_courseoverview SET marketing_url = NULL").await;
            stage.run(&["heal"]).await.expect(0);
            assert_eq!(
                (link(&child(1)).await.as_deref(), link(&child(2)).await),
                (Some(&*own), None),
                "{kind:?}"
            );
        })
        .await;
    }
}

#[tokio::test]
async fn own_listings_are_asked_for_only_where_the_parent_gives_no_url() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.rig.declare().await;
        for number in 0..40 {
            stage.database.insert_overview(&child(number), None).await;
            stage.publish_course(&child(number)).await;
        }
        stage.catalog.put(&child(3), Some(PAGE));
        let worker = stage.worker(&[("sync.min_interval", "1h")]).await;
        stage.until_link(&child(3), Some(PAGE)).await;
        wait_until(SOON, "the others wait", || async { stage.rig.ready().await.1 >= 1 }).await;
        let stats = stage.catalog.stats();
        assert!(stats.keys_asked <= 41 && stats.requests <= 6, "{:?}", stats.targets);
        worker.stop().await.expect(0);
    })
    .await;
}
