//! `share-link` and `heal`.

use serde_json::json;

use crate::support::databases::{KINDS, Kind};
use crate::support::stage::with_stage;

const CASES: &str = include_str!("../../fixtures/lms/share-link-cases.csv");
const KEY: &str = "course-v1:Acme+Links+2026";
const URL: &str = "https://www.campus.example/course/links";

#[tokio::test]
async fn the_link_is_the_one_that_the_lms_itself_would_share() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            stage.database.insert_overview(KEY, None).await;
            for case in CASES.lines().skip(1) {
                let [urls, site, social, marketing, expected] = case.split(',').collect::<Vec<_>>()[..] else {
                    panic!("{case}");
                };
                for (empty_is, quote) in [("NULL", false), ("''", true)] {
                    let value = |url: &str| if url.is_empty() { empty_is.to_owned() } else { format!("'{url}'") };
                    let sql = format!(
                        "UPDATE course_overviews_courseoverview SET social_sharing_url = {}, marketing_url = {}",
                        value(social),
                        value(marketing)
                    );
                    stage.database.execute(&sql).await;
                    let settings = [
                        ("lms.custom_course_urls", urls),
                        ("lms.marketing_site", site),
                        ("lms.root_url", "https://lms.example/"),
                    ];
                    let arguments = ["share-link", KEY, "--output", "json"];
                    let ended = stage.run_with(&settings, &arguments).await.expect(0);
                    let about = format!("https://lms.example/courses/{KEY}/about");
                    let expected = if expected == "ABOUT" { &about } else { expected };
                    assert_eq!(ended.json()["links"][KEY]["url"], *expected, "{kind:?} {case} {quote}");
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn one_document_says_known_and_unknown_and_the_code_says_whether_all_were_known() {
    with_stage(Kind::Mysql, async |stage| {
        stage.database.insert_overview(KEY, Some(URL)).await;
        let shouted = KEY.replace("Acme", "ACME");
        let ended = stage.run(&["share-link", KEY, &shouted, "--output", "json"]).await.expect(1);
        let links = json!({ KEY: { "url": URL, "source": "marketing" } });
        assert_eq!(ended.json(), json!({ "links": links, "unknown": [shouted] }));
        let ended = stage.run(&["share-link", KEY]).await.expect(0);
        ended.says(&[KEY, "marketing", URL]);
    })
    .await;
}

#[tokio::test]
async fn heal_puts_back_what_was_wiped_without_a_catalog() {
    for kind in KINDS {
        with_stage(kind, async |stage| {
            stage.course(KEY, None, Some(URL)).await;
            stage.run(&["reconcile"]).await.expect(0);
            stage.catalog.off(true);
            stage.database.execute("UPDATE course_overviews_courseoverview SET marketing_url = NULL").await;
            stage.run(&["heal"]).await.expect(0).says(&["healed 1 "]);
            assert_eq!(stage.database.link(KEY).await.flatten().as_deref(), Some(URL), "{kind:?}");
            stage.run(&["heal"]).await.expect(0).says(&["healed 0 "]);
        })
        .await;
    }
}

#[tokio::test]
async fn neither_pass_nor_command_nor_heal_gives_a_link_to_a_key_in_other_letters() {
    // As the LMS has the table, and as older ones had it: all of these find the one by the other's key.
    for (characters, collation) in [
        ("utf8mb4", "utf8mb4_unicode_ci"),
        ("utf8mb4", "utf8mb4_general_ci"),
        ("utf8mb3", "utf8mb3_general_ci"),
    ] {
        with_stage(Kind::Mysql, async |stage| {
            let convert = format!("CONVERT TO CHARACTER SET {characters} COLLATE {collation}");
            stage.database.execute(&format!("ALTER TABLE course_overviews_courseoverview {convert}")).await;
            let there = ["course-v1:acme+case+1", "course-v1:EcoleX+a+1"];
            let listed = ["course-v1:ACME+Case+1", "course-v1:ÉcoleX+a+1"];
            for (there, listed) in there.iter().zip(listed) {
                stage.database.insert_overview(there, None).await;
                stage.catalog.put(listed, Some(URL));
            }
            stage.course(KEY, None, Some(URL)).await;
            stage.run(&[&["sync"], &listed[..]].concat()).await.expect(0).says(&["no_overview"]);
            stage.run(&["reconcile"]).await.expect(0);
            stage.run(&["heal"]).await.expect(0).says(&["healed 0 "]);
            for there in there {
                assert_eq!(stage.database.link(there).await, Some(None), "{collation} {there}");
            }
            assert_eq!(stage.database.link(KEY).await.flatten().as_deref(), Some(URL), "{collation}");
        })
        .await;
    }
}
