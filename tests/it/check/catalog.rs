//! What can be wrong with the Catalog and the token for it.

use super::{SECRET, checked, one_is_wrong, with_all_well};
use crate::support::databases::Kind;
use stand_in::{Fault, RetryAfter};

#[tokio::test]
async fn nobody_there() {
    with_all_well(Kind::Sqlite, async |stage| {
        one_is_wrong(stage, &[("catalog.url", "http://127.0.0.1:1")], "catalog", &["catalog.url"]).await;
    })
    .await;
}

#[tokio::test]
async fn no_token() {
    with_all_well(Kind::Sqlite, async |stage| {
        let settings = [("catalog.token_url", "http://127.0.0.1:1/oauth2/access_token")];
        one_is_wrong(stage, &settings, "token", &["catalog.token_url"]).await;
        let settings = [("catalog.client_secret", "hunter2-of-somebody-else")];
        one_is_wrong(stage, &settings, "token", &["catalog.token_url", "invalid_client"]).await;
        stage.catalog.token_script([Fault::Html200]);
        one_is_wrong(stage, &[], "token", &["catalog.token_url"]).await;
        stage.catalog.token_script([Fault::Status(404)]);
        one_is_wrong(stage, &[], "token", &["catalog.token_url", "404"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_token_that_is_not_taken() {
    with_all_well(Kind::Sqlite, async |stage| {
        stage.catalog.refuse_all_tokens();
        stage.catalog.echo();
        one_is_wrong(stage, &[], "catalog", &["401", "signing key", "clocks"]).await;
    })
    .await;
}

#[tokio::test]
async fn answers_that_are_no_list() {
    with_all_well(Kind::Sqlite, async |stage| {
        let cases = [
            (Fault::Status(403), &["403", "permission"][..]),
            (Fault::Status(404), &["404", "catalog.url"]),
            (Fault::Status(500), &["500"]),
            (Fault::Throttled(RetryAfter::Seconds(3597)), &["allows no request until"]),
            (Fault::Html200, &["HTML", "login"]),
            (Fault::Body("{}".to_owned()), &["no list of runs"]),
            (Fault::Cut, &["cut off"]),
            (Fault::Redirect("https://elsewhere.example/login".to_owned()), &["302", "never followed"]),
        ];
        for (fault, words) in cases {
            stage.catalog.script([fault.clone(), fault]);
            one_is_wrong(stage, &[], "catalog", words).await;
            stage.catalog.state().faults.script.clear();
        }
    })
    .await;
}

#[tokio::test]
async fn the_whole_api_under_another_path() {
    with_all_well(Kind::Sqlite, async |stage| {
        let url = format!("{}/discovery", stage.catalog.url());
        let settings = [("catalog.url", url.as_str())];
        one_is_wrong(stage, &settings, "catalog", &["404", "catalog.url"]).await;
    })
    .await;
}

#[tokio::test]
async fn no_credentials_where_some_are_needed() {
    with_all_well(Kind::Sqlite, async |stage| {
        let mut environment = stage.environment(&[]);
        environment.retain(|(name, _)| !name.contains("TOKEN_URL") && !name.contains("CLIENT"));
        let ended = crate::support::process::Program::start(&["check"], &environment).ended().await.expect(1);
        ended.says(&["401", "catalog.token_url"]);
        ended.keeps_quiet_about(SECRET);
    })
    .await;
}

#[tokio::test]
async fn the_secret_may_come_from_a_file() {
    with_all_well(Kind::Sqlite, async |stage| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, format!("{SECRET}\n")).unwrap();
        let mut environment = stage.environment(&[]);
        environment.retain(|(name, _)| !name.contains("CLIENT_SECRET"));
        let name = "COURSE_SHARING_CATALOG__CLIENT_SECRET_FILE".to_owned();
        environment.push((name, path.to_str().unwrap().to_owned()));
        let ended = crate::support::process::Program::start(&["check"], &environment).ended().await.expect(0);
        ended.keeps_quiet_about(SECRET);
    })
    .await;
}

#[tokio::test]
async fn a_clock_of_the_catalogs_that_is_wrong_is_named() {
    with_all_well(Kind::Sqlite, async |stage| {
        stage.catalog.state().setup.clock_ahead = -3_600;
        let ended = checked(stage, &[]).await.expect(0);
        let line = ended.stdout.lines().find(|line| line.contains("catalog  ")).unwrap();
        assert!(
            line.starts_with("warn") && line.contains("its clock is ") && line.contains(" behind "),
            "{line}"
        );
    })
    .await;
}

#[tokio::test]
async fn a_list_of_which_the_lms_has_hardly_any_course_may_be_another_partners() {
    for kind in [Kind::Sqlite, Kind::Postgres, Kind::Mysql] {
        with_all_well(kind, async |stage| {
            for number in 0..10 {
                let key = format!("course-v1:Own+N{number}+1");
                stage.database.insert_overview(&key, Some("https://www.campus.example/own")).await;
            }
            let ended = checked(stage, &[]).await.expect(0);
            let line = ended.stdout.lines().find(|line| line.contains("catalog  ")).unwrap();
            let words = ["0 of the first", "another partner's list", "public host name"];
            assert!(line.starts_with("warn") && words.iter().all(|word| line.contains(word)), "{line}");
        })
        .await;
    }
}
