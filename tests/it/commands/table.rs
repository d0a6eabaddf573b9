//! Every command with good and with bad input: its exit code, and the first line of what it says.

use crate::support::databases::Kind;
use crate::support::process::Program;
use crate::support::stage::{Stage, with_stage};

const KEY: &str = "course-v1:Acme+T+1";
const OTHER: &str = "course-v1:Acme+Unknown+1";
const URL: &str = "https://www.campus.example/course/t";

/// Arguments with single blanks between; exit code; how the first line begins: of stdout, or of stderr where that is
/// empty.
const TABLE: &[(&str, i32, &str)] = &[
    ("--version", 0, "course-sharing "),
    ("--help", 0, "Keeps the share links"),
    ("fly", 2, "error: unrecognized subcommand 'fly'"),
    ("check", 0, "ok    configuration  valid"),
    ("check --set amqp.url=amqp://127.0.0.1:1", 1, "ok    configuration  valid"),
    (
        "check --set amqp.prefech=1",
        2,
        "course-sharing: configuration: --set: there is no key amqp.prefech; did you mean",
    ),
    ("config show", 0, "database.url "),
    ("config", 2, "Show the configuration"),
    ("init --config /dev/null", 2, "course-sharing: /dev/null is there already"),
    ("migrate", 0, "nothing to do"),
    ("migrate --dry-run", 0, "nothing to do"),
    ("migrate status", 0, "m2026"),
    ("migrate down", 2, "course-sharing: this drops this program's tables"),
    ("migrate sideways", 2, "error: invalid value 'sideways'"),
    ("sync KEY", 0, "KEY  updated"),
    ("sync KEY --output json", 0, "{"),
    ("sync OTHER", 0, "OTHER  no_overview"),
    ("sync", 2, "error: the following required arguments were not provided"),
    ("sync library-v1:edX+Lib", 2, "error: invalid value 'library-v1:edX+Lib'"),
    ("sync KEY --set catalog.url=http://127.0.0.1:1", 3, "KEY  unknown"),
    ("heal", 0, "healed 0 overviews"),
    ("heal --output json", 0, "{"),
    ("heal --set database.url=postgres://u@127.0.0.1:1/lms", 1, "course-sharing: "),
    ("share-link KEY", 0, "KEY  marketing  https://www.campus.example/course/t"),
    ("share-link OTHER", 1, "OTHER  unknown"),
    ("share-link", 2, "error: the following required arguments were not provided"),
    ("explain KEY", 0, "course  "),
    ("explain KEY --output json", 0, "{"),
    ("explain nonsense", 2, "error: invalid value 'nonsense'"),
    ("publish course-publish KEY", 0, "published course-publish KEY"),
    ("publish course-published KEY", 2, "error: invalid value 'course-published'"),
    (
        "publish course-publish KEY --set amqp.url=amqp://127.0.0.1:1",
        1,
        "course-sharing: KEY was not published",
    ),
    ("dead-letters list", 0, "0 of 0 dead letters"),
    ("dead-letters list --output json", 0, "{"),
    ("dead-letters show --id 7", 0, "0 of 0 dead letters"),
    ("dead-letters replay --all", 0, "replayed 0 of 0 dead letters"),
    ("dead-letters replay", 2, "course-sharing: dead-letters replay: choose with --all"),
    ("dead-letters discard --all", 0, "discarded 0 of 0 dead letters"),
    ("dead-letters discard", 2, "course-sharing: dead-letters discard: choose with --all"),
    (
        "dead-letters discard --reason=",
        2,
        "error: a value is required for '--reason <TEXT>' but none was supplied",
    ),
    ("reconcile --output json", 0, "{"),
    ("reconcile", 0, "pass complete"),
    ("reconcile --page-size 0", 2, "error: invalid value '0'"),
    ("worker --set http.listen=nowhere", 2, "course-sharing: configuration: --set: http.listen: "),
    ("worker --set http.listen=192.0.2.1:80", 1, "course-sharing: "),
    ("completions bash", 0, "_course__sharing() {"),
    ("completions zsh", 0, "#compdef course-sharing"),
    ("completions fish", 0, "# Print an optspec for argparse"),
    ("completions tcsh", 2, "error: invalid value 'tcsh'"),
];

#[tokio::test]
async fn each_command_ends_with_the_code_and_the_line_of_the_table() {
    with_stage(Kind::Sqlite, async |stage: &Stage| {
        stage.course(KEY, None, Some(URL)).await;
        stage.rig.declare().await;
        let mut wrong = Vec::new();
        for (line, code, first) in TABLE {
            let named = |text: &str| text.replace("KEY", KEY).replace("OTHER", OTHER);
            let (line, first) = (named(line), named(first));
            let arguments: Vec<&str> = line.split(' ').collect();
            // Logs would stand before an error.
            let environment = stage.environment(&[("log.level", "off")]);
            let ended = Program::start(&arguments, &environment).ended().await;
            let said = if ended.stdout.is_empty() { &ended.stderr } else { &ended.stdout };
            let said = said.lines().next().unwrap_or_default();
            // Columns are as wide as what is in them.
            let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            if ended.code != Some(*code) || !squeezed(said).starts_with(&squeezed(&first)) {
                wrong.push(format!("{line}: {:?}, {said:?}; expected {code}, {first:?}", ended.code));
            }
            if line.ends_with("--output json") {
                ended.json();
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    })
    .await;
}

#[tokio::test]
async fn shells_read_the_completions_and_each_command_has_a_man_page() {
    let ended = Program::start(&["completions", "bash"], &[]).ended().await.expect(0);
    let dir = tempfile::tempdir().unwrap();
    let script = dir.path().join("completions");
    std::fs::write(&script, &ended.stdout).unwrap();
    let read = std::process::Command::new("bash").arg("-n").arg(&script).status().unwrap();
    assert!(read.success() && ended.stdout.contains("dead-letters"), "{}", ended.stdout);
    let folder = dir.path().join("man");
    Program::start(&["man", folder.to_str().unwrap()], &[]).ended().await.expect(0);
    for page in ["course-sharing.1", "course-sharing-worker.1", "course-sharing-dead-letters-list.1"] {
        let text = std::fs::read_to_string(folder.join(page)).unwrap();
        assert!(text.contains(".SH NAME"), "{page}: {text}");
    }
}
