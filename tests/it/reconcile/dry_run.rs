//! A dry run writes nothing, and tells exactly what a pass then does.

use course_sharing::config::Absent;
use course_sharing::store::Verdict;

use super::rig::Rig;
use crate::support::databases::{KINDS, Kind};
use stand_in::Health;

/// Every row of every table that the program can write.
async fn dump(rig: &Rig) -> Vec<String> {
    let mut dump = Vec::new();
    for (table, columns) in [
        ("course_overviews_courseoverview", "id, marketing_url"),
        ("course_sharing_ledger", "run_key, marketing_url, observed_by"),
        ("course_sharing_reconcile", "verdict, report, position"),
        ("course_sharing_lease", "job, holder"),
    ] {
        let expression = columns
            .split(", ")
            .map(|column| match rig.database.kind {
                Kind::Mysql => format!("COALESCE(CAST({column} AS CHAR), 'NULL')"),
                _ => format!("COALESCE(CAST({column} AS TEXT), 'NULL')"),
            })
            .collect::<Vec<_>>();
        let one = match rig.database.kind {
            Kind::Mysql => format!("CONCAT({})", expression.join(", '|', ")),
            _ => expression.join(" || '|' || "),
        };
        for row in rig.rows(&format!("SELECT {one} AS line FROM {table}")).await {
            dump.push(format!("{table}|{}", row.try_get::<String>("", "line").unwrap()));
        }
    }
    dump.sort();
    dump
}

#[tokio::test]
async fn it_writes_nothing_and_tells_what_a_pass_then_does() {
    for kind in KINDS {
        let rig = Rig::generated(kind, 100).await;
        let ccx = "ccx-v1:OrgX+C0000007+2026_T1+ccx@1".to_owned();
        rig.insert_overviews(&[ccx.clone(), "course-v1:Not+Listed+1".to_owned()]).await;
        rig.run().await;
        rig.catalog.put("course-v1:OrgX+C0000007+2026_T1", Some("https://www.campus.example/course/seven"));
        rig.catalog.put("course-v1:OrgX+C0000008+2026_T1", Some("https://new.example/course/eight"));
        rig.catalog.put("course-v1:OrgX+C0000009+2026_T1", None);
        rig.insert_overviews(&["course-v1:OrgX+New+1".to_owned()]).await;
        rig.catalog.put("course-v1:OrgX+New+1", Some("https://www.campus.example/course/new"));
        for lost in ["course-v1:OrgX+C0000010+2026_T1", "course-v1:OrgX+C0000007+2026_T1"] {
            let wipe = "UPDATE course_overviews_courseoverview SET marketing_url = NULL";
            rig.database.execute(&format!("{wipe} WHERE id = '{lost}'")).await;
        }

        let (before, links) = (dump(&rig).await, rig.links().await);
        let (report, changes) = rig.dry_run().await;
        assert_eq!(dump(&rig).await, before, "{kind:?}: nothing is written");
        assert_eq!(report.verdict, Verdict::Complete, "{kind:?} {:?}", report.reasons);
        assert!(report.dry_run && report.pass.is_none());
        for change in &changes {
            assert_eq!(links[&change.key], change.from, "{kind:?} {change:?}");
        }

        let real = rig.run().await;
        let after = rig.links().await;
        let made: Vec<_> = after.iter().filter(|(key, link)| links[*key] != **link).collect();
        let told: Vec<_> = changes.iter().map(|change| (&change.key, &change.to)).collect();
        assert_eq!(made, told, "{kind:?}");
        assert_eq!(made.len(), 5, "{kind:?}");
        assert_eq!((real.updated, real.pending), (report.updated, report.pending), "{kind:?}");
        assert_eq!(
            (real.listed, real.settled_by_crawl, real.not_listed, real.ccx_by_parent),
            (report.listed, report.settled_by_crawl, report.not_listed, report.ccx_by_parent),
            "{kind:?}"
        );
        rig.drop().await;
    }
}

#[tokio::test]
async fn it_says_when_the_brake_would_hold() {
    let rig = Rig::generated(Kind::Sqlite, 60).await;
    rig.run().await;
    rig.rehost("new.example");
    let (report, changes) = rig.dry_run().await;
    assert_eq!((report.verdict, report.held_back, changes.len()), (Verdict::Refused, 60, 60));
    assert_eq!(rig.run().await.held_back, 60);
    rig.drop().await;
}

#[tokio::test]
async fn what_is_no_longer_listed_counts_for_the_brake_only_where_the_pass_would_be_complete() {
    for kind in KINDS {
        let mut rig = Rig::generated(kind, 60).await;
        rig.run().await;
        rig.reconcile.absent = Absent::Clear;
        for number in 20..40 {
            rig.catalog.remove(&format!("course-v1:OrgX+C{number:07}+2026_T1"));
        }
        let (report, changes) = rig.dry_run().await;
        let told = (report.verdict, report.held_back, changes.len());
        assert_eq!(told, (Verdict::Refused, 20, 20), "{kind:?}");
        rig.catalog.put_broken("course-v1:OrgX+C0000050+2026_T1", Health::NoType);
        for report in [rig.dry_run().await.0, rig.run().await] {
            let found = (report.verdict, report.held_back, report.not_listed, report.unsettled);
            assert_eq!(found, (Verdict::Incomplete, 0, 20, 1), "{kind:?} {:?}", report.reasons);
        }
        assert_eq!(rig.links().await.values().flatten().count(), 60, "{kind:?}");
        rig.drop().await;
    }
}
