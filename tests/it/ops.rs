//! What stands in `ops/` for operators, held against the program: it parses, it names metrics, events and keys that
//! there are, and no alert comes without a way out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use course_sharing::config::Config;
use yaml_rust2::{Yaml, YamlLoader};

use crate::support::project::{self, all_metrics, read, root};

mod collector;

/// Those of [`project::files`], but of what has tests of its own: the Python packages, whose building leaves files
/// behind, and the chart. Some of theirs are templates and parse only when they are rendered.
fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = project::files(folder, endings);
    let elsewhere = ["ops/openedx", "ops/tutor", "ops/helm"].map(|folder| root().join(folder));
    found.retain(|path| !elsewhere.iter().any(|folder| path.starts_with(folder)));
    found
}

fn yaml(path: &str) -> Yaml {
    YamlLoader::load_from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}")).remove(0)
}

/// The words between `before` and `after`, wherever they stand in `text`.
fn between<'t>(text: &'t str, before: &'t str, after: char) -> impl Iterator<Item = &'t str> {
    text.split(before).skip(1).filter_map(move |rest| rest.split(after).next())
}

#[test]
fn every_file_parses() {
    for path in files("ops", &["json"]) {
        let text = fs::read_to_string(&path).unwrap();
        serde_json::from_str::<serde_json::Value>(&text)
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    for path in files("ops", &["toml"]) {
        let text = fs::read_to_string(&path).unwrap();
        toml::de::DeTable::parse(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
    for path in files("ops", &["yaml", "yml"]).into_iter().chain([root().join("docker-compose.yml")]) {
        let text = fs::read_to_string(&path).unwrap();
        let read = YamlLoader::load_from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(!read.is_empty(), "{} is empty", path.display());
    }
}

#[test]
fn dashboards_and_alerts_name_metrics_and_label_values_that_there_are() {
    let shown = all_metrics();
    let series: BTreeSet<&str> = shown
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    let mut named = 0;
    for path in
        files("ops/grafana/dashboards", &["json"]).into_iter().chain(files("ops/prometheus", &["yml"]))
    {
        // JSON and YAML both escape the quotes of a label.
        let text = fs::read_to_string(&path).unwrap().replace("\\\"", "\"");
        for rest in between(&text, "course_sharing_", '\0') {
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
            let metric = format!("course_sharing_{}", &rest[..end]);
            assert!(series.contains(metric.as_str()), "{}: there is no metric {metric}", path.display());
            named += 1;
        }
        for label in ["type", "outcome", "kind", "cause", "state", "reason", "verdict"] {
            let (is, is_any_of) = (format!("{label}=\""), format!("{label}=~\""));
            let any = between(&text, &is_any_of, '"').flat_map(|values| values.split('|'));
            for value in between(&text, &is, '"').chain(any) {
                // Of Prometheus' own ALERTS.
                let known = shown.contains(&format!("{label}=\"{value}\"")) || value == "firing";
                assert!(known, "{}: no metric has {label}={value:?}", path.display());
            }
        }
    }
    assert!(
        named > 50,
        "only {named} names of metrics were found: does this test still look in the right place?"
    );
}

/// Those that are for a look at `/metrics`, or for an alert alone.
const ON_NO_DASHBOARD: [&str; 5] =
    ["build_info", "ledger_refused_total", "pruned_total", "blank_oldest_seconds", "database_writable"];

#[test]
fn each_metric_is_on_a_dashboard() {
    let boards: String = files("ops/grafana/dashboards", &["json"])
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let shown = all_metrics();
    let names =
        shown.lines().filter_map(|line| line.strip_prefix("# TYPE course_sharing_")?.split(' ').next());
    let (exempt, named): (Vec<&str>, _) = names.partition(|name| ON_NO_DASHBOARD.contains(name));
    assert_eq!(exempt.len(), ON_NO_DASHBOARD.len(), "{exempt:?}");
    for name in named {
        // A histogram is shown by its buckets.
        let found = ['{', '_'].iter().any(|end| boards.contains(&format!("course_sharing_{name}{end}")));
        assert!(found, "no dashboard shows course_sharing_{name}");
    }
}

#[test]
fn panels_have_ids_of_their_own_and_the_data_source_that_is_chosen() {
    for path in files("ops/grafana/dashboards", &["json"]) {
        let board: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let mut ids = BTreeSet::new();
        for panel in board["panels"].as_array().unwrap() {
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}: {}", path.display(), panel["title"]);
            for target in panel["targets"].as_array().into_iter().flatten() {
                let chosen = match target["datasource"]["type"].as_str() {
                    Some("prometheus") => "${datasource}",
                    Some("tempo") => "${traces}",
                    _ => "${logs}",
                };
                assert_eq!(target["datasource"]["uid"], chosen, "{}", panel["title"]);
            }
            assert!(panel["type"] == "row" || panel["description"].is_string(), "{}", panel["title"]);
        }
    }
}

#[test]
fn from_every_panel_there_is_a_way_to_the_traces_of_its_time() {
    for path in
        files("ops/grafana/dashboards", &["json"]).iter().filter(|path| !path.ends_with("traces.json"))
    {
        let board: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        for panel in board["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row") {
            let leads = |links: &serde_json::Value, time: &str| {
                let url = links[0]["url"].as_str().unwrap_or_default();
                url.starts_with("/d/course-sharing-traces?") && url.contains(time)
            };
            let title = &panel["title"];
            assert!(leads(&panel["links"], "${__url_time_range}"), "{title}");
            let points = &panel["fieldConfig"]["defaults"]["links"];
            assert!(panel["type"] != "timeseries" || leads(points, "time=${__value.time}"), "{title}");
        }
    }
}

#[test]
fn the_dashboard_of_traces_and_the_collector_name_attributes_that_there_are() {
    let documented = read("ops/reference/traces.md");
    let sources: String =
        files("src", &["rs"]).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let mut named = 0;
    for path in ["ops/grafana/dashboards/traces.json", "ops/otel/collector.yaml"] {
        let text = read(path);
        for rest in between(&text, "course_sharing.", '\0') {
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
            let attribute = format!("course_sharing.{}", &rest[..end]);
            assert!(sources.contains(&attribute), "{path}: no span has {attribute}");
            named += 1;
        }
        // The names of spans, quoted in JSON.
        for name in
            between(&text.replace("\\\"", "\""), "name = \"", '"').filter(|name| *name != "course-sharing")
        {
            assert!(documented.contains(&format!("`{name}`")), "{path}: no span is called {name}");
        }
    }
    assert!(named > 5, "only {named} attributes were found");
}

#[test]
fn each_alert_says_what_to_do_and_is_tested_firing_and_silent() {
    let (rules, tests, runbook) =
        (yaml("ops/prometheus/alerts.yml"), yaml("ops/prometheus/alerts_test.yml"), read("ops/RUNBOOK.md"));
    let mut tested: BTreeMap<&str, BTreeSet<bool>> = BTreeMap::new();
    for test in tests["tests"].as_vec().unwrap() {
        for case in test["alert_rule_test"].as_vec().into_iter().flatten() {
            let fires = case["exp_alerts"].as_vec().is_some_and(|alerts| !alerts.is_empty());
            tested.entry(case["alertname"].as_str().unwrap()).or_default().insert(fires);
        }
    }
    let mut headings: BTreeSet<&str> = between(&runbook, "\n## CourseSharing", '\n').collect();
    for group in rules["groups"].as_vec().unwrap() {
        for rule in group["rules"].as_vec().unwrap() {
            let name = rule["alert"].as_str().unwrap();
            for annotation in ["summary", "description", "action"] {
                assert!(rule["annotations"][annotation].as_str().is_some(), "{name} has no {annotation}");
            }
            assert!(
                headings.remove(name.trim_start_matches("CourseSharing")),
                "{name} is not in ops/RUNBOOK.md"
            );
            let (url, heading) = (rule["annotations"]["runbook_url"].as_str().unwrap(), name.to_lowercase());
            assert!(url.ends_with(&format!("http://127.0.0.1:8080{{{{ end }}}}/runbook#{heading}")), "{url}");
            assert_eq!(
                tested.get(name).map(BTreeSet::len),
                Some(2),
                "{name} is not tested both firing and silent"
            );
        }
    }
    assert!(headings.is_empty(), "in ops/RUNBOOK.md, and no alert: {headings:?}");
}

/// Every event name in the sources, with the levels that it is logged at.
fn logged_events() -> BTreeMap<String, BTreeSet<String>> {
    let mut events: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in files("src", &["rs"]).into_iter().filter(|path| !path.ends_with("tests.rs")) {
        let text = fs::read_to_string(&path).unwrap();
        let text: String = text
            .lines()
            .take_while(|line| !line.starts_with("#[cfg(test)]"))
            .filter(|line| !line.trim_start().starts_with("//"))
            .map(|line| format!("{line}\n"))
            .collect();
        for (at, _) in text.match_indices("event = \"") {
            let name = text[at..].split('"').nth(1).unwrap().to_owned();
            let call = text[..at].rsplit("tracing::").next().unwrap();
            let level = call.split('!').next().unwrap();
            events.entry(name).or_default().insert(level.to_uppercase());
        }
    }
    events
}

#[test]
fn splunk_searches_for_events_that_there_are() {
    let logged = logged_events();
    let mut named = 0;
    for path in files("ops/splunk", &["conf", "xml"]) {
        let text = fs::read_to_string(&path).unwrap();
        let one = between(&text, " event=", ' ').filter(|name| name.contains('.'));
        let any = between(&text, " event IN (", ')').flat_map(|names| names.split(", "));
        for name in one.chain(any) {
            let name = name.split(['\n', '<']).next().unwrap();
            assert!(logged.contains_key(name), "{}: nothing logs {name:?}", path.display());
            named += 1;
        }
    }
    assert!(named > 10, "only {named} names of events were found");
}

#[test]
fn every_event_that_is_logged_is_documented_with_its_level_and_no_other() {
    let document = read("ops/LOGGING.md");
    let mut documented: BTreeMap<&str, &str> = BTreeMap::new();
    for row in document.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 6, "{row}");
        assert!(documented.insert(cells[1].trim_matches('`'), cells[2]).is_none(), "twice: {row}");
    }
    for (name, levels) in logged_events() {
        let said = documented.remove(name.as_str());
        let said = said.unwrap_or_else(|| panic!("{name} is logged, and not in ops/LOGGING.md"));
        for level in levels.iter().filter(|level| *level != "$LEVEL") {
            assert!(
                said.split(", ").any(|word| word == level),
                "{name} is logged as {level}; ops/LOGGING.md: {said}"
            );
        }
    }
    assert!(documented.is_empty(), "in ops/LOGGING.md, and not logged: {documented:?}");
}

#[test]
fn the_sample_configuration_has_every_key() {
    let shown = format!("{:#?}", Config::default());
    let text = read("ops/course-sharing.toml");
    let mut section = "";
    for line in shown.lines() {
        // Of the pretty form: a section is indented once, its keys twice.
        let Some((name, _)) = line.split_once(": ") else { continue };
        if let Some(key) = name.strip_prefix("        ").filter(|key| !key.starts_with(' ')) {
            let (_, rest) = text.split_once(&format!("[{section}]\n")).unwrap();
            let mut lines = rest.lines().take_while(|line| !line.starts_with('['));
            let there = lines.any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} = ")));
            assert!(there, "ops/course-sharing.toml has no {section}.{key}");
        } else if let Some(name) = name.strip_prefix("    ").filter(|name| !name.starts_with(' ')) {
            section = name;
        }
    }
}

#[test]
fn every_part_has_the_version_of_the_program() {
    let version = env!("CARGO_PKG_VERSION");
    for (path, line) in [
        ("ops/openedx/pyproject.toml", "version = \"VERSION\""),
        ("ops/tutor/pyproject.toml", "version = \"VERSION\""),
        ("ops/tutor/tutor_course_sharing/__init__.py", "__version__ = \"VERSION\""),
        ("ops/helm/course-sharing/Chart.yaml", "version: VERSION"),
        ("ops/helm/course-sharing/Chart.yaml", "appVersion: VERSION"),
        ("ops/kubernetes/worker.yaml", "/course-sharing:VERSION"),
        (".github/CHANGELOG.md", "## VERSION"),
        ("ops/openedx/CHANGELOG.md", "## VERSION"),
        ("ops/guides/plain-server.md", "course-sharing_VERSION_amd64.deb"),
    ] {
        let line = line.replace("VERSION", version);
        assert!(read(path).contains(&line), "{path}: no {line}");
    }
}

/// The number behind this text, and what its unit makes of it.
fn amount(text: &str, before: &str) -> u64 {
    let value = text.split(before).nth(1).unwrap_or_else(|| panic!("no {before:?}")).trim_start();
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let unit = if value[digits..].to_ascii_lowercase().starts_with('m') { 1 << 20 } else { 1 };
    value[..digits].parse::<u64>().unwrap() * unit
}

#[test]
fn no_shipped_manifest_gives_a_worker_less_memory_than_it_can_take() {
    let catalog = Config::load(None, [], &[]).unwrap().catalog;
    let message = amount(&read("ops/rabbitmq/course-sharing.conf"), "\nmax_message_size =");
    let compose = read("docker-compose.yml");
    assert!(compose.contains("./ops/rabbitmq/course-sharing.conf:/etc/rabbitmq/conf.d/"));
    let unit = read("ops/systemd/course-sharing.service");
    for (prefetch, limit) in [
        (
            amount(&read("ops/kubernetes/config.yaml"), "\n    prefetch ="),
            amount(&read("ops/kubernetes/worker.yaml"), "limits:\n              memory:"),
        ),
        (amount(&compose, "AMQP__PREFETCH:"), amount(&compose, "mem_limit:")),
        (amount(&read("ops/course-sharing.toml"), "\nprefetch ="), amount(&unit, "MemoryMax=")),
    ] {
        let bodies = 2 * (catalog.concurrency * catalog.max_body_bytes) as u64;
        // The formula of ops/ROLLOUT.md.
        let most = (128 << 20) + bodies + prefetch * message * 3 / 2;
        assert!(most < limit, "{prefetch} messages of {message} bytes: {most} of {limit}");
    }
}
