//! `sync`: the engine of events, by hand.

use crate::stand_in::Fault;
use crate::support::databases::Kind;
use crate::support::stage::with_stage;

const KEY: &str = "course-v1:Acme+Sync+2026";
const URL: &str = "https://www.campus.example/course/sync";

#[tokio::test]
async fn each_course_has_a_line_with_its_outcome() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(KEY, None, Some(URL)).await;
        stage.database.insert_overview("course-v1:Acme+NotListed+1", None).await;
        stage.catalog.put("course-v1:Acme+NoOverview+1", Some(URL));
        stage.course("course-v1:Acme+NoPage+1", None, None).await;
        let courses = [
            KEY,
            "course-v1:Acme+NotListed+1",
            "course-v1:Acme+NoOverview+1",
            "course-v1:Acme+NoPage+1",
            "course-v1:Acme+Nowhere+1",
        ];
        let ended = stage.run(&[&["sync"], &courses[..]].concat()).await.expect(0);
        let words: Vec<_> = ended.stdout.lines().map(|line| line.split_whitespace().nth(1)).collect();
        // Nobody knows the last one; that it has no overview weighs more than that it is not listed.
        let expected = ["updated", "not_listed", "no_overview", "no_page", "no_overview"];
        assert_eq!(words, expected.map(Some), "{}", ended.stdout);
        assert_eq!(stage.database.link(KEY).await.flatten().as_deref(), Some(URL));
        stage.run(&["sync", KEY]).await.expect(0).says(&["unchanged"]);
    })
    .await;
}

#[tokio::test]
async fn what_the_catalog_cannot_say_is_3_and_changes_nothing() {
    with_stage(Kind::Sqlite, async |stage| {
        stage.course(KEY, Some(URL), Some("course/sync")).await;
        stage.run(&["sync", KEY]).await.expect(0).says(&["refused", "relative"]);
        stage.catalog.script([Fault::Html200, Fault::Html200, Fault::Html200, Fault::Html200]);
        stage.catalog.off(true);
        stage.run(&["sync", KEY]).await.expect(3).says(&["unknown", "catalog.url"]);
        assert_eq!(stage.database.link(KEY).await.flatten().as_deref(), Some(URL));
    })
    .await;
}
