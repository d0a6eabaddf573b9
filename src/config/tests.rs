//! Order of the sources, secrets from files, and errors that name the key.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::*;
use crate::model::extra_columns::AlsoColumn;

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
    assert_eq!(config.heal.interval, Some(Duration::from_secs(60)));
    assert_eq!(config.amqp.queue_prefix(), "course-sharing");
    assert!(config.sync.also.is_empty());
    let schedules = [config.reconcile.schedule, config.reconcile.light_schedule];
    assert_eq!(format!("{schedules:?}"), r#"[Some("0 30 3 * * *"), Some("0 15 * * * *")]"#);
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
    assert_eq!(config.heal.interval, None);
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
fn the_variable_of_a_key_that_names_a_file_holds_the_path_and_not_the_content() {
    let path = file("/run/tokens\n");
    let environment = env(&[("COURSE_SHARING_HTTP__TOKENS_FILE", "/nowhere")]);
    let config = Config::load(None, environment, &[]).unwrap();
    assert_eq!(config.http.tokens_file.as_deref(), Some(Path::new("/nowhere")));
    let environment = env(&[("COURSE_SHARING_HTTP__TOKENS_FILE_FILE", path.path().to_str().unwrap())]);
    let config = Config::load(None, environment, &[]).unwrap();
    assert_eq!(config.http.tokens_file.as_deref(), Some(Path::new("/run/tokens")));
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
        (error("[catalogue]\nurl = \"x\"", &[], &[]), "catalogue.url; did you mean catalog.url?"),
        (error("", &[("COURSE_SHARING_AMQP__PREFECH", "1")], &[]), "mean COURSE_SHARING_AMQP__PREFETCH?"),
        (error("[catalog]\nurll = \"x\"", &[], &[]), "did you mean catalog.url?"),
        (error("[database]\nprefetch = 1", &[], &[]), "did you mean amqp.prefetch?"),
        (error("", &[], &["amqp.qeue=x"]), "--set: there is no key amqp.qeue; did you mean amqp.queue?"),
        (error("[nonsense]", &[], &[]), "there is no section [nonsense]"),
        (error("prefetch = 1", &[], &[]), "prefetch stands in no section"),
        (error("[amqp.prefetch]\nx = 1", &[], &[]), "amqp.prefetch: expected a text"),
        (error("", &[("COURSE_SHARING_AMQP__PREFETCH", "many")], &[]), "amqp.prefetch"),
        (error("[catalog]\ntimeout = \"soon\"", &[], &[]), "catalog.timeout"),
        (error("[http]\nlisten = \"8080\"", &[], &[]), "http.listen"),
        (
            error("[http]\ntls_key_file = \"k\"", &[], &[]),
            "http.tls_key_file: needs http.tls_certificate_file",
        ),
        (error("[http]\ntls_certificate_file = \"c\"", &[], &[]), "needs http.tls_key_file too"),
        (error("[http]\nanonymous = true\ntokens_file = \"t\"", &[], &[]), "http.anonymous: with"),
        (
            error("", &[("COURSE_SHARING_HTTP_TOKENS_FILE", "t")], &[]),
            "two underscores stand between section and key: COURSE_SHARING_HTTP__TOKENS_FILE",
        ),
        (error("[reconcile]\nschedule = \"0 3 * * *\"", &[], &[]), "reconcile.schedule"),
        (error("[reconcile]\nschedule = \"0 0 0 30 2 *\"", &[], &[]), "never comes"),
        (
            error("[reconcile]\nschedule = \", * * * * *\"", &[], &[]),
            "nothing stands before or after a comma",
        ),
        (error("[reconcile]\nschedule = \"0 30 1,,2 * * *\"", &[], &[]), "before or after a comma"),
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
    // Nothing is near.
    let far = error("", &[], &["sync.something_else_altogether=1"]);
    assert!(!far.contains("did you mean"), "{far}");
    let both =
        error("", &[("COURSE_SHARING_AMQP__URL", "amqp://x"), ("COURSE_SHARING_AMQP__URL_FILE", "/x")], &[]);
    assert!(both.contains("both set"), "{both}");
}

#[test]
fn an_error_names_the_place() {
    let text = "[amqp]\n# a comment\nprefetch = 0\n\n[sync]\nalso = [\"x\"]\n";
    for (file_content, flags, place) in [
        (text, &["sync.also=language"][..], ".toml:3: amqp.prefetch: 0 is out of bounds"),
        (text, &[], ".toml:6: sync.also: "),
        ("[amqp]\nprefetch = 99999999", &[], ".toml:2: amqp.prefetch: "),
        ("[amqp]\n\n\nprefetch = \n", &[], ".toml:4: this is not valid TOML"),
        ("[catalog]\ntoken_url = \"https://h/\"", &[], ".toml:2: catalog.token_url: needs"),
        ("", &["amqp.prefetch=0"], ": --set: amqp.prefetch: "),
    ] {
        let message = error(file_content, &[], flags);
        assert!(message.contains(place), "{place:?} is not in {message:?}");
    }
    let message = error(text, &[("COURSE_SHARING_AMQP__PREFETCH", "many")], &[]);
    let place = "configuration: COURSE_SHARING_AMQP__PREFETCH: amqp.prefetch: \"many\" is no whole number";
    assert_eq!(message, place);
}

#[test]
fn a_variable_that_lacks_an_underscore_is_refused_with_the_right_one() {
    for (name, right) in [
        ("COURSE_SHARING_CATALOG_URL", "COURSE_SHARING_CATALOG__URL"),
        ("COURSE_SHARING_MARKETING_URL_ALLOWED_HOSTS", "COURSE_SHARING_MARKETING_URL__ALLOWED_HOSTS"),
        ("COURSE_SHARING_CATALOG_CLIENT_SECRET_FILE", "COURSE_SHARING_CATALOG__CLIENT_SECRET_FILE"),
    ] {
        let message = error("", &[(name, "https://u:hush@h/")], &[]);
        let names = message.contains(&format!("{name}: ")) && message.ends_with(&format!(": {right}"));
        assert!(names && !message.contains("hush"), "{message}");
    }
    // As Kubernetes sets them for services of such names.
    let foreign = ["SERVICE_HOST", "PORT_8080_TCP_ADDR", "HTTP_SERVICE_PORT", "CATALOG_PORT", "CONFIG"];
    let foreign = foreign.map(|name| (format!("COURSE_SHARING_{name}").into(), "x".into()));
    Config::load(None, foreign, &[]).unwrap();
}

#[test]
fn a_list_is_read_as_people_write_it_in_a_variable() {
    for text in ["a.example, *.b.example", r#"["a.example", "*.b.example"]"#, "['a.example', '*.b.example',]"]
    {
        let environment = env(&[("COURSE_SHARING_MARKETING_URL__ALLOWED_HOSTS", text)]);
        let hosts = Config::load(None, environment, &[]).unwrap().marketing_url.allowed_hosts;
        assert_eq!(hosts, ["a.example", "*.b.example"], "{text}");
    }
    for text in ["[a.example", "[a.example]", "[[\"a\"]]"] {
        let message = error("", &[("COURSE_SHARING_MARKETING_URL__ALLOWED_HOSTS", text)], &[]);
        assert!(
            message.contains("marketing_url.allowed_hosts") && message.contains("is no list"),
            "{message}"
        );
    }
    let message = error("[marketing_url]\nallowed_hosts = [\"https://www.example.org\"]", &[], &[]);
    assert!(message.contains("https://www.example.org") && message.contains("without a scheme"), "{message}");
}

#[test]
fn a_value_means_the_same_wherever_it_stands() {
    for (key, in_file, in_variable) in [
        ("amqp.prefetch", "7", "7"),
        ("amqp.prefetch", "0x10", "16"),
        ("amqp.prefetch", "\"7\"", "+7"),
        ("amqp.declare", "false", "No"),
        ("reconcile.max_change_ratio", "1e-1", ".1"),
        ("reconcile.page_size", "7", "7"),
        ("sync.also", "[\"language\"]", "language"),
        ("sync.also", "\"language\"", "['language',]"),
        ("catalog.client_id", "12", "12"),
        ("catalog.client_id", "\"a\\tb\"", "a\tb"),
        ("heal.interval", "'off'", "off"),
    ] {
        let (section, name) = key.split_once('.').unwrap();
        let file = file(&format!("[{section}]\n{name} = {in_file}\n"));
        let file = Settings::read(Some(file.path()), [], &[]).unwrap();
        let variable = Settings::read(None, env(&[(&sample::variable(key), in_variable)]), &[]).unwrap();
        assert!(
            file.differing(&variable).is_empty(),
            "{key}: {in_file} in a file, {in_variable} in a variable"
        );
        file.config().unwrap();
    }
    for (key, in_file) in [
        ("amqp.prefetch", "1.5"),
        ("amqp.prefetch", "[1]"),
        ("amqp.declare", "7"),
        ("catalog.client_secret", "[12]"),
    ] {
        let (section, name) = key.split_once('.').unwrap();
        let message = error(&format!("[{section}]\n{name} = {in_file}\n"), &[], &[]);
        assert!(message.contains(&format!(".toml:2: {key}: ")) && !message.contains("12"), "{message}");
    }
}

#[test]
fn what_is_set_is_shown_with_its_place_and_secrets_masked() {
    let file =
        file("[amqp]\nurl = 'amqp://u:\"hush\\@h/'\n[catalog]\nclient_secret = \"hush\"\ntimeout = \"1s\"\n");
    let environment = env(&[
        ("COURSE_SHARING_CATALOG__TIMEOUT", "5s"),
        ("COURSE_SHARING_AMQP__PREFETCH", "7"),
        ("COURSE_SHARING_SYNC__ALSO", "language"),
    ]);
    let settings = Settings::read(Some(file.path()), environment, &["heal.interval=off".to_owned()]).unwrap();
    let shown = settings.shown();
    let of = |key: &str| {
        let shown = shown.iter().find(|shown| shown.key == key).unwrap();
        let origin = shown.origin.as_ref().map_or("default".to_owned(), ToString::to_string);
        format!(
            "{} {}",
            shown.value.as_deref().unwrap_or("-"),
            origin.replace(file.path().to_str().unwrap(), "FILE")
        )
    };
    for (key, expected) in [
        ("amqp.url", "\"amqp://u:***@h/\" FILE:2"),
        ("amqp.prefetch", "7 COURSE_SHARING_AMQP__PREFETCH"),
        ("catalog.client_secret", "\"***\" FILE:4"),
        ("catalog.timeout", "\"5s\" COURSE_SHARING_CATALOG__TIMEOUT"),
        ("catalog.client_id", "- default"),
        ("sync.also", "[\"language\"] COURSE_SHARING_SYNC__ALSO"),
        ("sync.max_batch", "200 default"),
        ("heal.interval", "\"off\" --set"),
    ] {
        assert_eq!(of(key), expected, "{key}");
    }
    assert!(!format!("{shown:?}").contains("hush"));
}

#[test]
fn the_file_that_is_written_says_what_was_set_and_keeps_every_comment() {
    let flags = [
        "database.url=mysql://u:p\\%22@h/db",
        "amqp.url=amqp://h",
        "amqp.prefetch=7",
        "catalog.client_id=a \"b\"",
        "sync.also=language",
        "lms.marketing_site=false",
        "heal.interval=off",
    ];
    let mut settings = Settings::read(None, [], &[]).unwrap();
    for flag in flags {
        let (key, value) = flag.split_once('=').unwrap();
        settings.set(key, value).unwrap();
    }
    let text = settings.written();
    for line in ["prefetch = 7", "also = [\"language\"]", "marketing_site = false", "interval = \"off\""] {
        assert!(text.lines().any(|other| other == line), "{line} is not in {text}");
    }
    let sample = sample::with(|_| None);
    let comments = |text: &str| text.lines().filter(|line| line.starts_with('#')).count();
    assert_eq!(comments(&text), comments(&sample) - 1, "but client_id, which has no default");
    let file = file(&text);
    let read = Settings::read(Some(file.path()), [], &[]).unwrap();
    let again = |settings: &Settings| {
        format!("{:?}", settings.shown().into_iter().map(|s| s.value).collect::<Vec<_>>())
    };
    assert_eq!(again(&read), again(&settings));
}

#[test]
fn every_key_of_the_sample_is_one_of_the_configuration_and_no_other() {
    let known: Vec<String> = sample::keys().map(|key| key.to_string()).collect();
    assert!(known.len() > 30, "{known:?}");
    // A key that the sample has and the configuration lacks would be an unknown field.
    let text = sample::with(|key| key.default.is_none().then(|| "\"https://h/{trace_id}\"".to_owned()));
    Config::load(Some(file(&text).path()), [], &[]).unwrap();
}

#[test]
fn errors_show_no_secret() {
    for file in [
        "[amqp]\nurl = \"http://u:hush@h\"",
        "[amqp]\nurl = \"amqp://u:1/hush@h\"",
        "[database]\nurl = \"mysql://u:1#hush@h/db\"",
        "[catalog]\nurl = \"https://u:1?hush@h/\"",
        "[catalog]\ntoken_url = \"https://u:1/hush@h/\"",
        "amqp = \"amqp://u:hush@h\"",
        "database = \"mysql://u:hush@h/db\"",
        "[http]\nlisten = \"http://u:hush@h\"",
    ] {
        let message = error(file, &[], &[]);
        assert!(!message.contains("hush"), "{message}");
    }
    let broken = error("[amqp]\nurl = \"amqp://u:1/hush@h\"", &[], &[]);
    assert!(broken.contains("amqp.url") && broken.contains("percent-encode"), "{broken}");
}

#[test]
fn a_number_or_a_length_of_time_beyond_its_bounds_is_refused_with_them() {
    for (flag, bounds) in [
        ("database.max_connections=1", "2 to 1000"),
        ("database.max_connections=4294967295", "2 to 1000"),
        ("amqp.prefetch=0", "1 to 10000"),
        ("amqp.prefetch=10001", "1 to 10000"),
        ("catalog.concurrency=0", "1 to 64"),
        ("catalog.concurrency=18446744073709551615", "1 to 64"),
        ("catalog.timeout=0s", "100ms to 10m"),
        ("catalog.timeout=1year", "100ms to 10m"),
        ("catalog.requests_per_hour=4294967295", "0 to 1000000"),
        ("catalog.max_url_bytes=299", "300 to 65536"),
        ("catalog.max_url_bytes=18446744073709551615", "300 to 65536"),
        ("catalog.max_body_bytes=1", "65536 to 268435456"),
        ("catalog.max_body_bytes=18446744073709551615", "65536 to 268435456"),
        ("sync.max_batch=0", "1 to 500"),
        ("sync.max_batch=501", "1 to 500"),
        ("sync.min_interval=2h", "0s to 1h"),
        ("sync.clear_after=500000000000years", "0s to 30days"),
        ("reconcile.page_size=10001", "1 to 10000"),
        ("reconcile.max_change_ratio=1.1", "0 to 1"),
        ("reconcile.max_change_ratio=nan", "0 to 1"),
        ("reconcile.resume_within=8days", "0s to 7days"),
        ("heal.interval=500000000000years", "1s to 1day"),
        ("heal.interval=1ms", "1s to 1day"),
    ] {
        let (key, _) = flag.split_once('=').unwrap();
        let message = error("", &[], &[flag]);
        assert!(message.contains(key) || key == "reconcile.page_size", "{message}");
        assert!(message.contains(bounds), "{bounds:?} is not in {message:?}");
    }
    for flag in
        ["amqp.exchange=", "marketing_url.allowed_hosts=https://h/", "marketing_url.allowed_hosts=*.*.h"]
    {
        let message = error("", &[], &[flag]);
        assert!(message.contains(flag.split_once('=').unwrap().0), "{message}");
    }
    let long = format!("amqp.queue={}.events", "q".repeat(250));
    assert!(error("", &[], &[&long]).contains("amqp.queue"));
}

#[test]
fn a_secret_is_a_regular_file_of_64_kib_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let large = file(&"x".repeat(64 * 1024 + 1));
    for (path, why) in [
        (pipe.as_path(), "not a regular file"),
        (Path::new("/dev/zero"), "not a regular file"),
        (dir.path(), "not a regular file"),
        (large.path(), "longer than 65536 bytes"),
    ] {
        let message = error("", &[("COURSE_SHARING_AMQP__URL_FILE", path.to_str().unwrap())], &[]);
        assert!(message.contains("COURSE_SHARING_AMQP__URL_FILE") && message.contains(why), "{message}");
    }
    let message = Config::load(Some(Path::new("/dev/zero")), [], &[]).unwrap_err().to_string();
    assert!(message.contains("/dev/zero") && message.contains("longer than"), "{message}");
}

#[test]
fn a_key_is_a_section_and_a_word() {
    for key in
        ["sync.also[4000000000]", "sync.also[-1]", "sync", "sync.", ".also", "sync.also.more", "Sync.Also"]
    {
        let message = error("", &[], &[&format!("{key}=language")]);
        assert!(message.contains("section.key=value"), "{message}");
    }
    for name in ["COURSE_SHARING_SYNC__ALSO[4000000000]", "COURSE_SHARING___"] {
        let message = error("", &[(name, "language")], &[]);
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn a_parameter_of_a_database_url_that_nobody_reads_is_named() {
    for (url, name) in [
        ("mysql://h/db?ssl-mod=REQUIRED", "ssl-mod"),
        ("postgres://h/db?sslmode=require&connect_timeout=3", "connect_timeout"),
    ] {
        let message = error("", &[], &[&format!("database.url={url}")]);
        assert!(message.contains("database.url") && message.contains(name), "{message}");
    }
    for url in [
        "mysql://h/db?ssl-mode=VERIFY_IDENTITY&ssl-ca=/etc/ca.pem",
        "postgres:///db?host=/run/postgresql&options[lock_timeout]=5s",
        "sqlite:///tmp/a b@c.db?mode=rwc",
    ] {
        Config::load(None, [], &[format!("database.url={url}")]).unwrap();
    }
}

#[test]
fn a_text_that_nests_without_end_is_refused() {
    for open in ["[", "{a=", "a=[", "[[", "a."] {
        let text = format!("x = {}", open.repeat(200_000));
        assert!(error(&text, &[], &[]).len() < 10_000);
        let message = error(&format!("[sync]\nalso = {}", "[".repeat(200_000)), &[], &[]);
        assert!(message.len() < 10_000);
    }
}

proptest! {
    #[test]
    fn no_value_panics(
        key in proptest::sample::select(sample::keys().map(|key| key.to_string()).collect::<Vec<_>>()),
        value in "\\PC{0,30}|-?[0-9]{1,25}(\\.[0-9]{1,20})?(e[0-9]{1,5})?|[0-9]{1,20}(ns|ms|s|m|h|days|years)( [0-9]{1,20}s)?\
                  |([*0-9/,LW#?-]{1,5} ){4,6}[*0-9MON-]{1,4}|(amqps?|mysql|postgres|sqlite|https?)://[a-z:@/?#%0-9=&\\[\\]]{0,30}",
    ) {
        let _ = Config::load(None, [], &[format!("{key}={value}")]);
        let (section, word) = key.split_once('.').unwrap();
        let file = file(&format!("[{section}]\n{word} = {value}\n"));
        let _ = Config::load(Some(file.path()), [], &[]);
    }

    #[test]
    fn a_text_is_what_was_said(text in any::<String>()) {
        let config = Config::load(None, [], &[format!("catalog.client_id={text}")]).unwrap();
        prop_assert_eq!(config.catalog.client_id, Some(text));
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,60}|([\\[\\]{}=.\"'#a-z0-9 \\n-]|\\[sync\\]\\n|also = ){0,60}") {
        let file = file(&text);
        let _ = Config::load(Some(file.path()), [], &[]);
    }
}

#[test]
fn a_link_to_traces_has_a_place_for_the_id_and_no_link_has_a_password() {
    let load = |key: &str, url: &str| Config::load(None, [], &[format!("{key}={url}")]);
    let config = load("http.trace_url", "https://traces.example/trace/{trace_id}?orgId=1").unwrap();
    let trace = config.http.trace_url.unwrap();
    assert_eq!(trace.of("0af7"), "https://traces.example/trace/0af7?orgId=1");
    for (key, url) in [
        ("http.trace_url", "https://traces.example/trace"),
        ("http.trace_url", "javascript:{trace_id}"),
        ("http.trace_url", "https://me:secret@traces.example/{trace_id}"),
        ("http.grafana_url", "https://me:secret@grafana.example/"),
        ("http.grafana_url", "grafana.example"),
    ] {
        let error = load(key, url).unwrap_err().to_string();
        assert!(error.contains(key) && !error.contains("secret"), "{error}");
    }
    assert!(load("http.grafana_url", "https://grafana.example/d/x").is_ok());
}
