//! `sync.also`: two more columns of the overview, written where they differ, kept with the URL, and never touched
//! where nobody asks for them.

use course_sharing::engine::Why;
use course_sharing::model::extra_columns::{Also, AlsoColumn};
use course_sharing::store::Verdict;
use serde_json::{Value, json};

use crate::reconcile::rig::Rig;
use crate::support::databases::{KINDS, Kind, TestDatabase};
use crate::support::stage::{SOON, Stage, with_stage};
use crate::support::wait_until;
use stand_in::Runs;

const KEY: &str = "course-v1:Acme+Also+1";
const URL: &str = "https://www.campus.example/course/also";
const TABLE: &str = "course_overviews_courseoverview";
const BOTH: (&str, &str) = ("sync.also", "eligible_for_financial_aid,language");

/// What tells the statements of ops/ROLLOUT.md that grant them from the others.
const RIGHTS: &str = "eligible_for_financial_aid";

/// An overview's link, and its two columns.
type Row = (Option<String>, bool, Option<String>);

async fn read(database: &TestDatabase, key: &str) -> Row {
    let store = database.owner.clone().with_also(&AlsoColumn::ALL);
    let row = store.links(&[key.parse().unwrap()]).await.unwrap().remove(0);
    (row.marketing_url, row.also.eligible_for_financial_aid.unwrap(), row.also.language)
}

async fn until(stage: &Stage, wanted: &Row) {
    wait_until(SOON, &format!("{wanted:?}"), || async { read(&stage.database, KEY).await == *wanted }).await;
}

fn row(url: Option<&str>, financial_aid: bool, language: Option<&str>) -> Row {
    (url.map(str::to_owned), financial_aid, language.map(str::to_owned))
}

#[tokio::test]
async fn an_event_brings_them_and_restore_and_heal_bring_them_back() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            stage.database.grant_on(RIGHTS).await;
            stage.database.insert_overview(KEY, None).await;
            stage.catalog.put_also(KEY, Some(URL), json!(false), json!("en-us"));
            let worker = stage.worker(&[BOTH]).await;
            stage.publish_course(KEY).await;
            let wanted = row(Some(URL), false, Some("en-us"));
            until(stage, &wanted).await;

            // From now on only the ledger can tell.
            stage.catalog.off(true);
            stage.database.execute(&format!("DELETE FROM {TABLE}")).await;
            stage.database.insert_overview(KEY, None).await;
            stage.publish_course(KEY).await;
            until(stage, &wanted).await;
            worker.stop().await.expect(0);

            // Differences that the collation does not see; and one column alone.
            for lost in ["language = 'EN-US'", "language = NULL", "eligible_for_financial_aid = TRUE"] {
                stage.database.execute(&format!("UPDATE {TABLE} SET {lost}")).await;
                stage.run(&["heal"]).await.expect(0).says(&["healed 0 overviews"]);
                stage.run_with(&[BOTH], &["heal"]).await.expect(0).says(&["healed 1 overview"]);
                assert_eq!(read(&stage.database, KEY).await, wanted, "{kind:?} {lost}");
            }
            stage.run_with(&[BOTH], &["heal"]).await.expect(0).says(&["healed 0 overviews"]);
            let explained = stage.run_with(&[BOTH], &["explain", KEY]).await.expect(0);
            explained.says(&["language", "en-us; last known en-us", "false; last known false"]);
        })
        .await;
    }
}

#[tokio::test]
async fn neither_a_null_nor_an_odd_value_takes_anything_away() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            stage.database.grant_on(RIGHTS).await;
            stage.database.insert_overview(KEY, None).await;
            let sync = async |url, financial_aid: Value, language: Value| {
                stage.catalog.put_also(KEY, url, financial_aid, language);
                stage.run_with(&[BOTH], &["sync", KEY]).await.expect(0)
            };
            sync(Some(URL), json!(true), json!("fr")).await.says(&["updated"]);
            for (financial_aid, language) in
                [(json!(null), json!(null)), (json!("no"), json!(["fr"])), (json!(0), json!("Français"))]
            {
                sync(Some(URL), financial_aid, language).await.says(&["unchanged"]);
                assert_eq!(read(&stage.database, KEY).await, row(Some(URL), true, Some("fr")), "{kind:?}");
            }
            // One column changes, of a run whose page is gone for the first time: the URL stays.
            sync(None, json!(null), json!("de")).await.says(&["no_page"]);
            assert_eq!(read(&stage.database, KEY).await, row(Some(URL), true, Some("de")), "{kind:?}");
            sync(Some(URL), json!(false), json!("de")).await.says(&["updated"]);
        })
        .await;
    }
}

#[tokio::test]
async fn a_run_that_never_had_a_page_gets_them_and_keeps_a_link_that_nobody_knows() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            stage.database.grant_on(RIGHTS).await;
            if kind == Kind::Mysql {
                // As old installations have it.
                let old = "CONVERT TO CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci";
                stage.database.execute(&format!("ALTER TABLE {TABLE} {old}")).await;
            }
            let own = "https://www.campus.example/made-by-hand";
            stage.database.insert_overview(KEY, Some(own)).await;
            stage.catalog.put_also(KEY, None, json!(true), json!("es-419"));
            stage.run_with(&[BOTH], &["sync", KEY]).await.expect(0);
            assert_eq!(read(&stage.database, KEY).await, row(Some(own), true, Some("es-419")), "{kind:?}");
            stage.database.execute(&format!("UPDATE {TABLE} SET language = NULL")).await;
            stage.run_with(&[BOTH], &["heal"]).await.expect(0).says(&["healed 1 overview"]);
            assert_eq!(read(&stage.database, KEY).await, row(Some(own), true, Some("es-419")), "{kind:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_pass_writes_what_differs_counts_it_and_tells_it_beforehand() {
    for kind in KINDS {
        let mut rig = Rig::new(kind, Runs::generated(20)).await;
        rig.database.grant_on(RIGHTS).await;
        let ccx = "ccx-v1:OrgX+C0000001+2026_T1+ccx@1".to_owned();
        rig.insert_overviews(std::slice::from_ref(&ccx)).await;
        rig.run().await;
        rig.database.execute(&format!("UPDATE {TABLE} SET eligible_for_financial_aid = TRUE")).await;
        let (key, odd) = ("course-v1:OrgX+C0000002+2026_T1", "course-v1:OrgX+C0000003+2026_T1");
        let listed = rig.listed();
        let url = |key| listed[key].clone();
        rig.catalog.put_also(key, url(key).as_deref(), json!(false), json!("ja"));
        rig.catalog.put_also(odd, url(odd).as_deref(), json!("?"), json!(null));
        assert_eq!(rig.run().await.updated, 0, "{kind:?}: nobody has asked for more");
        assert_eq!(read(&rig.database, key).await.2, None, "{kind:?}");

        rig.also = AlsoColumn::ALL.to_vec();
        let (told, changes) = rig.dry_run().await;
        assert_eq!((told.updated, told.cleared, told.odd_rows), (19, 0, 1), "{kind:?} {changes:?}");
        assert!(changes.iter().all(|c| c.why == Why::Also && c.from == c.to), "{kind:?} {changes:?}");
        let change = changes.iter().find(|change| change.key == key).unwrap();
        let words = change.also.iter().map(|c| (c.column.name(), c.from.as_deref(), c.to.as_str()));
        let expected = [("eligible_for_financial_aid", Some("true"), "false"), ("language", None, "ja")];
        assert!(words.eq(expected), "{kind:?} {change:?}");

        let report = rig.run().await;
        assert_eq!((report.verdict, report.updated, report.odd_rows), (Verdict::Complete, 19, 1), "{kind:?}");
        assert!(report.odd[0].contains(odd) && report.odd[0].contains("eligible_for_financial_aid"));
        assert_eq!(read(&rig.database, key).await, (url(key), false, Some("ja".to_owned())), "{kind:?}");
        assert_eq!(read(&rig.database, odd).await, (url(odd), true, None), "{kind:?}");
        assert_eq!(read(&rig.database, &ccx).await.2, None, "{kind:?}: a custom course has its own");
        assert_eq!(rig.run().await.updated, 0, "{kind:?}: doing it twice changes nothing");
        rig.database.drop().await;
    }
}

#[tokio::test]
async fn what_the_ledger_holds_outlives_a_time_without() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            stage.database.grant_on(RIGHTS).await;
            stage.database.insert_overview(KEY, None).await;
            stage.catalog.put_also(KEY, Some(URL), json!(true), json!("fr"));
            stage.run_with(&[BOTH], &["sync", KEY]).await.expect(0);
            stage.catalog.put_also(KEY, Some("https://www.campus.example/b"), json!(false), json!("de"));
            stage.run(&["sync", KEY]).await.expect(0).says(&["updated"]);
            let store = &stage.database.store;
            let run = KEY.parse::<course_sharing::model::course_key::CourseKey>().unwrap().run_key();
            let runs = [run.clone()];
            let entry = async |store: &course_sharing::store::Store| {
                store.entries(&runs).await.unwrap().remove(&run).unwrap().also
            };
            assert_eq!(entry(store).await, Also::NOTHING, "{kind:?}: not looked at");
            let kept = entry(&store.clone().with_also(&[AlsoColumn::Language])).await;
            assert_eq!(kept, Also { language: Some("fr".to_owned()), ..Also::NOTHING }, "{kind:?}");
        })
        .await;
    }
}

#[tokio::test]
async fn without_it_a_right_to_one_column_is_enough_and_with_it_the_missing_one_is_named() {
    for kind in [Kind::Postgres, Kind::Mysql] {
        with_stage(kind, async |stage| {
            stage.course(KEY, None, Some(URL)).await;
            let before = read(&stage.database, KEY).await;
            for command in [&["sync", KEY][..], &["heal"], &["reconcile"], &["explain", KEY]] {
                stage.run(command).await.expect(0);
            }
            stage.database.execute(&format!("UPDATE {TABLE} SET marketing_url = NULL")).await;
            stage.run(&["heal"]).await.expect(0).says(&["healed 1 overview"]);
            let after = (Some(URL.to_owned()), before.1, before.2);
            assert_eq!(read(&stage.database, KEY).await, after, "{kind:?}");
            stage.run_with(&[BOTH], &["check"]).await.expect(1).says(&["eligible_for_financial_aid"]);
        })
        .await;
    }
}

#[tokio::test]
async fn a_table_without_the_column_is_told_of_and_what_to_do() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.database.execute(&format!("ALTER TABLE {TABLE} DROP COLUMN language")).await;
        stage.run(&["heal"]).await.expect(0);
        for command in [&["check"][..], &["heal"]] {
            let ended = stage.run_with(&[BOTH], command).await.expect(1);
            ended.says(&["no column language", "sync.also"]);
        }
        let worker = stage.start_worker(&[BOTH]);
        let line = worker.until_logged("worker.schema_wrong").await;
        assert!(line["error"].as_str().unwrap().contains("no column language"), "{line}");
        worker.stop().await.expect(0);
    })
    .await;
}
