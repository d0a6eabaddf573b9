//! Order of the sources, secrets from files, and errors that name the key.

use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::also::AlsoColumn;

fn env(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
}

fn file(content: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file
}

fn error(file_content: &str, environment: &[(&str, &str)], flags: &[&str]) -> String {
    let file = file(file_content);
    let flags: Vec<String> = flags.iter().map(|f| (*f).to_owned()).collect();
    Config::load(Some(file.path()), env(environment), &flags).unwrap_err().to_string()
}

#[test]
fn the_defaults_are_the_documented_ones() {
    let config = Config::load(None, [], &[]).unwrap();
    assert_eq!(config.amqp.prefetch, 500);
    assert_eq!(config.catalog.timeout, Duration::from_secs(20));
    assert_eq!(config.reconcile.page_size, PageSize::Auto);
    assert_eq!(config.heal.interval, Every::Period(Duration::from_secs(60)));
    assert_eq!(config.amqp.queue_prefix(), "course-sharing");
    assert!(config.sync.also.is_empty());
}

#[test]
fn flags_beat_environment_beats_file_beats_defaults() {
    let file = file(
        "[amqp]\nprefetch = 1\nexchange = \"file\"\n[reconcile]\npage_size = 7\n[sync]\nmax_batch = 3\n",
    );
    let environment = env(&[
        ("COURSE_SHARING_AMQP__PREFETCH", "2"),
        ("COURSE_SHARING_RECONCILE__PAGE_SIZE", "8"),
        ("COURSE_SHARING_MARKETING_URL__ALLOWED_HOSTS", "a.example, *.b.example"),
        ("COURSE_SHARING_HEAL__INTERVAL", "off"),
        ("COURSE_SHARING_SERVICE_HOST", "10.0.0.1"),
        ("PATH", "/bin"),
    ]);
    let config = Config::load(Some(file.path()), environment, &["reconcile.page_size=9".to_owned()]).unwrap();
    assert_eq!(config.sync.max_batch, 3);
    assert_eq!(config.amqp.exchange, "file");
    assert_eq!(config.amqp.prefetch, 2);
    assert_eq!(config.reconcile.page_size, PageSize::Fixed(9));
    assert_eq!(config.marketing_url.allowed_hosts, ["a.example", "*.b.example"]);
    assert_eq!(config.heal.interval, Every::Off);
}

#[test]
fn the_columns_of_sync_also_come_from_file_or_environment_each_once() {
    let file = file("[sync]\nalso = [\"language\", \"eligible_for_financial_aid\", \"language\"]\n");
    let config = Config::load(Some(file.path()), [], &[]).unwrap();
    assert_eq!(config.sync.also, AlsoColumn::ALL);
    let environment = env(&[("COURSE_SHARING_SYNC__ALSO", " language ,")]);
    assert_eq!(Config::load(None, environment, &[]).unwrap().sync.also, [AlsoColumn::Language]);
    let message = error("[sync]\nalso = [\"content_language\"]", &[], &[]);
    for part in ["sync.also", "content_language", "eligible_for_financial_aid", "`language`"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_secret_may_come_from_a_file_and_is_never_shown() {
    let secret = file("12345\n");
    let path = secret.path().to_str().unwrap();
    let environment = env(&[
        ("COURSE_SHARING_CATALOG__TOKEN_URL", "https://lms.example/oauth2/access_token"),
        ("COURSE_SHARING_CATALOG__CLIENT_ID", "id"),
        ("COURSE_SHARING_CATALOG__CLIENT_SECRET_FILE", path),
        ("COURSE_SHARING_AMQP__URL", "amqp://u:hush@h/"),
    ]);
    let config = Config::load(None, environment, &[]).unwrap();
    assert_eq!(config.catalog.client_secret.as_ref().unwrap().expose_secret(), "12345");
    let shown = format!("{config:?}");
    assert!(!shown.contains("12345") && !shown.contains("hush"), "{shown}");
    assert_eq!(without_password("amqp://u:hush@h/x"), "amqp://u:***@h/x");
}

#[test]
fn a_web_url_is_shown_without_its_password_and_used_with_it() {
    let url: WebUrl = "https://u:hush@catalog.example/x".parse().unwrap();
    for shown in [format!("{url}"), format!("{url:?}")] {
        assert!(shown.contains("u:***@catalog.example/x"), "{shown}");
    }
    assert_eq!(url.password(), Some("hush"));
}

#[test]
fn a_foreign_variable_may_be_no_text_and_one_of_ours_may_not() {
    let odd = || OsString::from_vec(vec![0xff]);
    Config::load(None, [("FOREIGN".into(), odd()), (odd(), "x".into())], &[]).unwrap();
    let error = Config::load(None, [("COURSE_SHARING_AMQP__URL".into(), odd())], &[]).unwrap_err();
    assert!(error.to_string().contains("COURSE_SHARING_AMQP__URL"), "{error}");
}

#[test]
fn what_is_wrong_is_named() {
    for (message, part) in [
        (error("[catalog]\nurll = \"x\"", &[], &[]), "urll"),
        (error("[catalogue]\nurl = \"x\"", &[], &[]), "catalogue"),
        (error("", &[("COURSE_SHARING_AMQP__PREFECH", "1")], &[]), "prefech"),
        (error("", &[("COURSE_SHARING_AMQP__PREFETCH", "many")], &[]), "amqp.prefetch"),
        (error("[catalog]\ntimeout = \"soon\"", &[], &[]), "catalog.timeout"),
        (error("[http]\nlisten = \"8080\"", &[], &[]), "http.listen"),
        (error("[reconcile]\nschedule = \"0 3 * * *\"", &[], &[]), "reconcile.schedule"),
        (error("[reconcile]\npage_size = 0", &[], &[]), "reconcile.page_size"),
        (error("[reconcile]\nmax_change_ratio = 7", &[], &[]), "reconcile.max_change_ratio"),
        (error("[amqp]\nqueue = \"q\"", &[], &[]), "amqp.queue"),
        (error("[amqp]\nprefetch = 0", &[], &[]), "amqp.prefetch"),
        (error("[database]\nurl = \"oracle://x\"", &[], &[]), "database.url"),
        (error("[catalog]\ntoken_url = \"https://x/\"", &[], &[]), "catalog.token_url"),
        (error("x = ", &[], &[]), "TOML"),
        (error("", &[], &["nonsense"]), "section.key=value"),
        (error("", &[("COURSE_SHARING_AMQP__URL_FILE", "/nowhere")], &[]), "COURSE_SHARING_AMQP__URL_FILE"),
    ] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    let both =
        error("", &[("COURSE_SHARING_AMQP__URL", "amqp://x"), ("COURSE_SHARING_AMQP__URL_FILE", "/x")], &[]);
    assert!(both.contains("both set"), "{both}");
}

#[test]
fn errors_show_no_secret() {
    let message = error("[amqp]\nurl = \"http://u:hush@h\"", &[], &[]);
    assert!(!message.contains("hush"), "{message}");
}
