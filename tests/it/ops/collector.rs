//! The collector's configuration. No package of the collector is to be had where the tests run, so it is held against what
//! its components document: the keys that they take, what a pipeline is made of, and that there is no loose end.

use std::collections::{BTreeMap, BTreeSet};

use yaml_rust2::Yaml;

use super::yaml;

/// The keys that each component takes, of those that are of use here, with dots for what is inside. From the READMEs and
/// schemas of version 0.138.0, the one in docker-compose.yml.
const COMPONENTS: [(&str, &str, &[&str]); 14] = [
    ("extensions", "health_check", &["endpoint", "path"]),
    ("receivers", "otlp", &["protocols.http.endpoint", "protocols.grpc.endpoint"]),
    ("receivers", "fluentforward", &["endpoint"]),
    (
        "connectors",
        "spanmetrics",
        &[
            "namespace",
            "histogram.unit",
            "histogram.explicit.buckets",
            "exemplars.enabled",
            "resource_metrics_key_attributes",
            "metrics_expiration",
            "metrics_flush_interval",
            "dimensions",
        ],
    ),
    (
        "connectors",
        "servicegraph",
        &[
            "latency_histogram_buckets",
            "virtual_node_peer_attributes",
            "store.ttl",
            "store.max_items",
            "metrics_flush_interval",
            "dimensions",
        ],
    ),
    ("processors", "memory_limiter", &["check_interval", "limit_mib", "spike_limit_mib", "limit_percentage"]),
    (
        "processors",
        "tail_sampling",
        &[
            "decision_wait",
            "num_traces",
            "expected_new_traces_per_sec",
            "decision_cache.sampled_cache_size",
            "decision_cache.non_sampled_cache_size",
            "policies",
        ],
    ),
    ("processors", "resource", &["attributes"]),
    ("processors", "batch", &["timeout", "send_batch_size", "send_batch_max_size"]),
    ("exporters", "otlphttp", &["endpoint", "headers", "tls.ca_file"]),
    ("exporters", "prometheus", &["endpoint", "enable_open_metrics", "namespace"]),
    ("exporters", "debug", &["verbosity"]),
    ("exporters", "splunk_hec", &["endpoint", "token", "source", "sourcetype", "index"]),
    ("service", "telemetry", &["metrics.readers", "metrics.level", "logs.level"]),
];

/// What the policies of tail_sampling take.
const POLICIES: [(&str, &[&str]); 5] = [
    ("status_code", &["status_codes"]),
    ("string_attribute", &["key", "values"]),
    ("latency", &["threshold_ms"]),
    ("ottl_condition", &["error_mode", "span"]),
    ("probabilistic", &["sampling_percentage"]),
];

/// The keys of a mapping down to what is no mapping, with dots.
fn keys(node: &Yaml, path: &str, found: &mut BTreeSet<String>) {
    match node.as_hash() {
        Some(hash) => hash.iter().for_each(|(name, below)| {
            let name = name.as_str().unwrap();
            keys(below, &if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }, found);
        }),
        None if !path.is_empty() => drop(found.insert(path.to_owned())),
        None => {}
    }
}

fn names(node: &Yaml) -> BTreeSet<&str> {
    match node {
        Yaml::Hash(hash) => hash.keys().map(|name| name.as_str().unwrap()).collect(),
        Yaml::Array(list) => list.iter().map(|name| name.as_str().unwrap()).collect(),
        _ => BTreeSet::new(),
    }
}

fn is_duration(node: &Yaml) -> bool {
    node.as_str().is_some_and(|text| humantime::parse_duration(text).is_ok())
}

#[test]
fn the_collector_takes_every_key() {
    let config = yaml("ops/otel/collector.yaml");
    for part in ["extensions", "receivers", "connectors", "processors", "exporters"] {
        for (id, settings) in config[part].as_hash().unwrap() {
            let id = id.as_str().unwrap();
            let kind = id.split('/').next().unwrap();
            let known = COMPONENTS.iter().find(|(of, name, _)| (*of, *name) == (part, kind));
            let (.., known) = known.unwrap_or_else(|| panic!("{part}: no component {kind}"));
            let mut found = BTreeSet::new();
            keys(settings, "", &mut found);
            for key in &found {
                assert!(known.contains(&key.as_str()), "{part}.{id}: no key {key}");
            }
        }
    }
    for (component, key) in [
        ("spanmetrics", "metrics_expiration"),
        ("spanmetrics", "metrics_flush_interval"),
        ("servicegraph", "metrics_flush_interval"),
    ] {
        assert!(is_duration(&config["connectors"][component][key]), "{component}.{key}");
    }
    assert!(is_duration(&config["processors"]["tail_sampling"]["decision_wait"]));
    for buckets in [
        &config["connectors"]["spanmetrics"]["histogram"]["explicit"]["buckets"],
        &config["connectors"]["servicegraph"]["latency_histogram_buckets"],
    ] {
        let bounds: Vec<_> = buckets
            .as_vec()
            .unwrap()
            .iter()
            .map(|b| humantime::parse_duration(b.as_str().unwrap()).unwrap())
            .collect();
        assert!(bounds.is_sorted(), "{bounds:?}");
    }
}

#[test]
fn every_part_of_a_pipeline_is_declared_and_every_declared_part_is_used() {
    let config = yaml("ops/otel/collector.yaml");
    let mut used: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let connectors = names(&config["connectors"]);
    for (id, pipeline) in config["service"]["pipelines"].as_hash().unwrap() {
        let signal = id.as_str().unwrap().split('/').next().unwrap();
        assert!(["traces", "metrics", "logs"].contains(&signal), "{signal}");
        for part in ["receivers", "processors", "exporters"] {
            for name in names(&pipeline[part]) {
                let declared = names(&config[part]);
                assert!(declared.contains(name) || connectors.contains(name), "{id:?}: no {part} {name}");
                // Traces go into both connectors, and metrics come out.
                let goes = if part == "exporters" { "traces" } else { "metrics" };
                assert!(!connectors.contains(name) || goes == signal, "{id:?}: {name}");
                used.entry(part).or_default().insert(name);
            }
        }
        let order: Vec<&str> =
            pipeline["processors"].as_vec().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let limiter = order.iter().position(|name| *name == "memory_limiter");
        assert!(limiter.unwrap_or_default() == 0, "{id:?}: memory_limiter comes first");
    }
    for part in ["receivers", "processors", "exporters"] {
        let declared = names(&config[part]);
        let mut loose = declared.difference(&used[part]);
        assert_eq!(loose.next(), None, "{part}");
    }
    for connector in connectors {
        assert!(
            used["receivers"].contains(connector) && used["exporters"].contains(connector),
            "{connector}"
        );
    }
    assert_eq!(names(&config["service"]["extensions"]), names(&config["extensions"]));
}

#[test]
fn failures_and_dead_letters_are_never_sampled_away() {
    let config = yaml("ops/otel/collector.yaml");
    let sampling = &config["processors"]["tail_sampling"];
    let mut kinds = BTreeSet::new();
    for policy in sampling["policies"].as_vec().unwrap() {
        let kind = policy["type"].as_str().unwrap();
        let (_, known) = POLICIES.iter().find(|(name, _)| *name == kind).unwrap();
        assert_eq!(names(policy), BTreeSet::from(["name", "type", kind]), "{kind}");
        assert!(names(&policy[kind]).is_subset(&known.iter().copied().collect()), "{kind}");
        kinds.insert(kind);
        match kind {
            "status_code" => assert_eq!(names(&policy[kind]["status_codes"]), BTreeSet::from(["ERROR"])),
            "string_attribute" => {
                assert_eq!(policy[kind]["key"].as_str(), Some("course_sharing.outcome"));
                assert!(names(&policy[kind]["values"]).contains("dead_lettered"));
            }
            _ => {}
        }
    }
    assert!(kinds.is_superset(&BTreeSet::from(["status_code", "string_attribute"])), "{kinds:?}");
    // What is counted of traces is counted before any is dropped.
    let counted = &config["service"]["pipelines"]["traces/count"];
    assert_eq!(names(&counted["exporters"]), BTreeSet::from(["servicegraph", "spanmetrics"]));
    assert!(!names(&counted["processors"]).contains("tail_sampling"));
}
