//! What is refused before anything begins, with 2 and the name of what is wrong; and never with a secret.

use crate::support::process::{Ended, Program};

const SECRET: &str = "hunter2-of-the-catalog";

async fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
    let environment: Vec<_> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Program::start(arguments, &environment).ended().await
}

fn file(dir: &tempfile::TempDir, name: &str, content: &str) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn wrong_usage_is_2_and_leaves_stdout_alone() {
    for arguments in [
        vec![],
        vec!["fly"],
        vec!["sync"],
        vec!["sync", "not a key"],
        vec!["sync", "library-v1:edX+Lib"],
        vec!["share-link"],
        vec!["share-link", "course-v1:a+b+c", "--output", "xml"],
        vec!["publish", "course-published", "course-v1:a+b+c"],
        vec!["publish", "course-publish"],
        vec!["reconcile", "--page-size", "0"],
        vec!["reconcile", "--page-size", "many"],
        vec!["migrate", "sideways"],
        vec!["dead-letters"],
        vec!["dead-letters", "replay"],
        vec!["dead-letters", "discard"],
        vec!["dead-letters", "replay", "--all", "--reason", "x"],
        vec!["check", "--config"],
    ] {
        let ended = run(&arguments, &[]).await.expect(2);
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{arguments:?}: {ended:?}");
    }
}

#[tokio::test]
async fn help_is_no_failure_and_shows_no_secret() {
    let environment =
        [("COURSE_SHARING_CATALOG__CLIENT_SECRET", SECRET), ("COURSE_SHARING_AMQP__URL", SECRET)];
    for arguments in [vec!["--help"], vec!["help", "worker"], vec!["reconcile", "--help"], vec!["--version"]]
    {
        let ended = run(&arguments, &environment).await.expect(0);
        assert!(!ended.stdout.is_empty());
        ended.keeps_quiet_about(SECRET);
    }
    run(&["--help"], &[]).await.says(&["Exit codes: 0 done, 1 failed, 2 wrong usage", "_FILE"]);
}

#[tokio::test]
async fn an_unknown_key_is_2_and_named_wherever_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let config = file(&dir, "a.toml", "[sync]\nmax_bacth = 5\n");
    run(&["--config", &config, "heal"], &[]).await.expect(2).says(&["max_bacth"]);
    run(&["heal"], &[("COURSE_SHARING_CONFIG", &config)]).await.expect(2).says(&["max_bacth"]);
    run(&["heal"], &[("COURSE_SHARING_SYNC__MAX_BACTH", "5")]).await.expect(2).says(&["max_bacth"]);
    run(&["heal", "--set", "sync.max_bacth=5"], &[]).await.expect(2).says(&["max_bacth"]);
    run(&["heal", "--set", "snyc.max_batch=5"], &[]).await.expect(2).says(&["snyc"]);
}

#[tokio::test]
async fn without_any_configuration_a_command_says_how_to_begin_and_makes_no_database() {
    // As the image sets it.
    let image = ("COURSE_SHARING_HTTP__LISTEN", "127.0.0.1:0");
    for (command, variables) in [
        (&["heal"][..], &[][..]),
        (&["check"], &[]),
        (&["worker"], &[]),
        (&["migrate"], &[]),
        (&["worker"], &[image]),
        (&["heal"], &[("COURSE_SHARING_CONFIG", "")]),
    ] {
        let ended = run(command, variables).await.expect(2);
        assert!(ended.stderr.starts_with("course-sharing: nothing is configured: "), "{}", ended.stderr);
        ended.says(&["course-sharing init", "ops/demo", "/etc/course-sharing/course-sharing.toml"]);
        assert!(ended.left.is_empty(), "{:?}", ended.left);
    }
    // A service of our name, in Kubernetes, is no configuration.
    run(&["heal"], &[("COURSE_SHARING_SERVICE_HOST", "10.0.0.1")]).await.expect(2);
}

#[tokio::test]
async fn a_value_that_cannot_be_is_2_and_its_key_is_named() {
    for (setting, words) in [
        ("catalog.timeout=soon", "soon"),
        ("amqp.queue=events", "amqp.queue"),
        ("amqp.prefetch=0", "amqp.prefetch"),
        ("amqp.url=http://h", "amqp.url"),
        ("database.url=oracle://h", "database.url"),
        ("catalog.url=ftp://h", "catalog.url"),
        ("catalog.token_url=http://h/t", "catalog.client_id"),
        ("reconcile.max_change_ratio=1.5", "reconcile.max_change_ratio"),
        ("reconcile.schedule=at night", "at night"),
        ("http.listen=everywhere", "everywhere"),
        ("sync.max_batch=many", "max_batch"),
    ] {
        run(&["check", "--set", setting], &[]).await.expect(2).says(&[words]);
    }
    run(&["check", "--set", "nonsense"], &[]).await.expect(2).says(&["section.key=value"]);
}

#[tokio::test]
async fn files_that_cannot_be_read_are_2_and_named() {
    let missing = "/nowhere/at/all";
    run(&["check", "--config", missing], &[]).await.expect(2).says(&[missing]);
    let variable = "COURSE_SHARING_CATALOG__CLIENT_SECRET_FILE";
    run(&["check"], &[(variable, missing)]).await.expect(2).says(&[variable, missing]);
    let both = [(variable, missing), ("COURSE_SHARING_CATALOG__CLIENT_SECRET", SECRET)];
    let ended = run(&["check"], &both).await.expect(2);
    ended.says(&["COURSE_SHARING_CATALOG__CLIENT_SECRET and"]);
    ended.keeps_quiet_about(SECRET);
    run(&["check", "--config", "/"], &[]).await.expect(2);
}

#[tokio::test]
async fn no_mistake_in_the_configuration_shows_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("unclosed.toml", format!("[catalog]\nclient_secret = \"{SECRET}\n")),
        ("unquoted.toml", format!("[catalog]\nclient_secret = {SECRET}\n")),
        ("twice.toml", format!("[catalog]\nclient_secret = \"{SECRET}\"\nclient_secret = \"{SECRET}\"\n")),
        ("list.toml", format!("[catalog]\nclient_secret = [\"{SECRET}\"]\n")),
        ("elsewhere.toml", format!("[catalog]\nclient_sceret = \"{SECRET}\"\n")),
        ("url.toml", format!("[amqp]\nprefetch = \"x\"\nurl = \"amqp://u:{SECRET}@h\"\n")),
    ] {
        let config = file(&dir, name, &content);
        run(&["check", "--config", &config], &[]).await.expect(2).keeps_quiet_about(SECRET);
    }
    for setting in [
        format!("amqp.url=amqp//u:{SECRET}@h"),
        format!("amqp.url=http://u:{SECRET}@h"),
        format!("amqp.url=amqp:u:{SECRET}@h:5672/%2f"),
        format!("amqp.url=amqp:/u:{SECRET}@h"),
        format!("amqp.url=amqp:///u:{SECRET}@h"),
        format!("amqp.url=amqp://u:{SECRET}@h/%2f?heartbeat=soon"),
        format!("amqp.url=amqp://u:{SECRET}/x@h/%2f"),
        format!("database.url=postgresq://u:{SECRET}@h/db"),
        format!("database.url=mariadb://u:{SECRET}@h/db"),
        format!("database.url=mysql://u:{SECRET}/x@h/db"),
        format!("catalog.url=https://u:{SECRET}/x@h"),
        format!("catalog.url=ftp://u:{SECRET}@h"),
        format!("catalog.token_url=https://u:{SECRET}/x@h"),
        format!("database.ulr=postgres://u:{SECRET}@h/db"),
        format!("catalog.client_secrets={SECRET}"),
        format!("catalog.client_secret.x={SECRET}"),
        format!("catalog.client secret={SECRET}"),
        format!("catalog.client_secret:{SECRET}"),
        format!("client_secret={SECRET}"),
    ] {
        run(&["check", "--set", &setting], &[]).await.expect(2).keeps_quiet_about(SECRET);
    }
}
