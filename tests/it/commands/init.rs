//! `init` and `config show`: a configuration that works, for its owner alone; and where each value of it was set.

use std::os::unix::fs::PermissionsExt;

use crate::support::databases::Kind;
use crate::support::process::{Program, on_terminal};
use crate::support::stage::{Stage, with_catalog, with_stage};
use stand_in::{Auth, Runs, Setup};

const ROOT: &str = "https://lms.example.org";

/// A file that is not there yet.
fn file(dir: &tempfile::TempDir) -> String {
    dir.path().join("new/course-sharing.toml").to_str().unwrap().to_owned()
}

fn mode(path: &str) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The answers of a site to what `init` asks, in the order of the questions.
fn answers(stage: &Stage) -> Vec<(String, String)> {
    let all = stage.environment(&[("lms.root_url", ROOT)]);
    let keys = [
        "DATABASE__URL",
        "AMQP__URL",
        "CATALOG__URL",
        "TOKEN_URL",
        "CLIENT_ID",
        "CLIENT_SECRET",
        "LMS__ROOT_URL",
    ];
    let of = |key: &&str| all.iter().find(|(name, _)| name.ends_with(*key)).cloned();
    keys.iter().filter_map(of).collect()
}

#[tokio::test]
async fn it_takes_answers_from_flags_and_variables_and_keeps_a_file_that_is_there() {
    with_stage(Kind::Sqlite, async |stage| {
        let dir = tempfile::tempdir().unwrap();
        let path = file(&dir);
        let all = answers(stage);
        let (root, most) = all.split_last().unwrap();
        let init = async |more: &[&str]| {
            Program::start(&[&["init", "--config", &path], more].concat(), most).ended().await
        };
        // What is missing is named, and nothing is written.
        init(&[]).await.expect(2).says(&["no terminal", "--set lms.root_url="]);
        assert!(!std::fs::exists(&path).unwrap());
        let flag = format!("lms.root_url={}", root.1);
        let ended = init(&["--set", &flag, "--output", "json"]).await.expect(0).json();
        let states: Vec<_> =
            ended["checks"].as_array().unwrap().iter().map(|check| &check["state"]).collect();
        assert_eq!(states, ["ok"; 4], "{ended:#}");
        assert_eq!(ended["file"], path);
        assert_eq!(mode(&path), 0o600);
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(written.contains("# Every key there is"), "{written}");
        // It is not replaced by mistake.
        init(&["--set", &flag]).await.expect(2).says(&["is there already", "--force"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
        init(&["--set", "lms.root_url=https://other.example.org", "--force"]).await.expect(0);
        Program::start(&["--config", &path, "check"], &[]).ended().await.expect(0);

        let shown =
            Program::start(&["--config", &path, "config", "show", "--output", "json"], most).ended().await;
        let shown = shown.expect(0).json();
        let of = |key: &str| {
            let settings = shown["settings"].as_array().unwrap();
            settings.iter().find(|setting| setting["key"] == key).unwrap().clone()
        };
        assert_eq!(of("lms.root_url")["value"], "\"https://other.example.org\"");
        let line = std::fs::read_to_string(&path)
            .unwrap()
            .lines()
            .position(|l| l.contains("other.example"))
            .unwrap();
        assert_eq!(of("lms.root_url")["from"], format!("{path}:{}", line + 1));
        assert_eq!(of("database.url")["from"], "COURSE_SHARING_DATABASE__URL");
        assert_eq!(of("catalog.token_url")["value"], serde_json::Value::Null);
    })
    .await;
}

#[tokio::test]
async fn what_does_not_work_is_said_and_1_and_the_file_is_there_to_be_mended() {
    with_stage(Kind::Sqlite, async |stage| {
        let dir = tempfile::tempdir().unwrap();
        let path = file(&dir);
        let mut all = answers(stage);
        all[1].1 = "amqp://someone:hunter2@127.0.0.1:1/%2f".to_owned();
        let ended = Program::start(&["init", "--config", &path], &all).ended().await.expect(1);
        ended.says(&["FAIL  broker", "127.0.0.1:1", "ok    catalog"]);
        ended.keeps_quiet_about("hunter2");
        assert_eq!(mode(&path), 0o600);
    })
    .await;
}

#[tokio::test]
async fn it_asks_on_a_terminal_until_the_answers_work() {
    let setup = Setup { auth: Some(Auth::default()), runs: Runs::default(), ..Setup::default() };
    with_catalog(Kind::Sqlite, setup, async |stage| {
        let dir = tempfile::tempdir().unwrap();
        let path = file(&dir);
        // What is not shown cannot be typed ahead.
        let (secret, asked): (Vec<_>, Vec<_>) =
            answers(stage).into_iter().partition(|(name, _)| name.ends_with("CLIENT_SECRET"));
        let mut lines: Vec<String> = asked.into_iter().map(|(_, value)| value).collect();
        assert_eq!((lines.len(), secret.len()), (6, 1), "{lines:?}");
        // One that is no URL, and one that reaches nobody and is not kept.
        lines.splice(1..1, ["nonsense", "amqp://h:hush@127.0.0.1:1", "n"].map(str::to_owned));
        // Any host.
        lines.push(String::new());
        let typed = lines.join("\n") + "\n";
        let ended = on_terminal(&["init", "--config", &path], &secret, &typed).await.expect(0);
        let said = ended.stdout;
        for words in ["like mysql://", "expected a URL like amqp:", "Keep it as it is? [y/N]", "ok", "Wrote "]
        {
            assert!(said.contains(words), "no {words:?} in {said}");
        }
        let secret = &secret[0].1;
        // Colours on a terminal; and a secret is not shown there either.
        assert!(said.contains("\x1b[31mFAIL") && !said.contains(secret.as_str()), "{said}");
        assert!(std::fs::read_to_string(&path).unwrap().contains(secret.as_str()));
        Program::start(&["--config", &path, "check"], &[]).ended().await.expect(0);
    })
    .await;
}
