"""The chart by Helm's own engine, its manifests by Kubernetes' schemas, and ops/kubernetes as its output."""

import importlib.machinery
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helm_python import errors
from helm_python.chart import Chart, lint

HELM = Path(__file__).parents[1]
CHART = HELM / "course-sharing"
OPS = HELM.parent

EVERYTHING = {
    "cronjob": {"enabled": True},
    "otelEndpoint": "http://collector:4318",
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True},
    "dashboards": {"enabled": True},
    "imagePullSecrets": [{"name": "registry"}],
    "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/etc/authorities/ca.pem"}],
    "extraVolumes": [{"name": "authorities", "configMap": {"name": "authorities"}}],
    "extraVolumeMounts": [{"name": "authorities", "mountPath": "/etc/authorities", "readOnly": True}],
    "podAnnotations": {"example.org/team": "courses"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "dedicated", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
}
TOKENS = {"secret": {"keys": {"httpTokens": "http-tokens"}}}
NOTHING = {
    "migrate": {"enabled": False},
    "podDisruptionBudget": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "secret": {"keys": {"catalogClientSecret": ""}},
}


def manifests(values=None, name="course-sharing"):
    """What the chart makes, by kind and name."""
    rendered = Chart.load(CHART).render(values or {}, name=name, namespace="openedx")
    found = {}
    for path, text in rendered.items():
        for manifest in yaml.safe_load_all(text) if path.endswith(".yaml") else ():
            if manifest:
                found[manifest["kind"], manifest["metadata"]["name"]] = manifest
    return found


def plain():
    loader = importlib.machinery.SourceFileLoader("plain", str(HELM / "plain"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("plain", loader))
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("values", [{}, EVERYTHING, NOTHING], ids=["defaults", "everything", "nothing"])
def test_helm_has_nothing_to_say(values):
    report = lint(CHART, values, strict=True)
    assert report["errors"] == []
    # An icon is the one thing that is recommended and not there.
    assert [m["error"] for m in report["messages"] if m["error"] != "icon is recommended"] == []


@pytest.mark.parametrize("values", [{}, EVERYTHING, NOTHING], ids=["defaults", "everything", "nothing"])
def test_kubernetes_knows_every_field(values, tmp_path):
    paths = []
    for (kind, name), manifest in manifests(values).items():
        if not manifest["apiVersion"].startswith("monitoring.coreos.com"):
            paths.append(tmp_path / f"{kind}-{name}.yaml")
            paths[-1].write_text(yaml.safe_dump(manifest))
    assert len(paths) > 2
    validate(paths)


def test_the_plain_manifests_are_what_the_chart_makes():
    for path, text in plain().render().items():
        assert path.read_text() == text, f"{path} is not what the chart makes: run ops/helm/plain"
    validate(sorted((OPS / "kubernetes").glob("*.yaml")))


def test_a_volume_of_ones_own_is_in_every_container():
    specs = {kind: manifest.get("spec") for (kind, _), manifest in manifests(EVERYTHING).items()}
    workloads = [specs["Deployment"], specs["Job"], specs["CronJob"]["jobTemplate"]["spec"]]
    for workload in workloads:
        pod = workload["template"]["spec"]
        assert EVERYTHING["extraVolumes"][0] in pod["volumes"]
        assert EVERYTHING["extraVolumeMounts"][0] in pod["containers"][0]["volumeMounts"]


def validate(paths):
    done = subprocess.run(
        [f"{sys.prefix}/bin/kubernetes-validate", "--strict", "--quiet", *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "values",
    [
        {"replica": 3},
        {"replicas": "3"},
        {"secret": {"keys": {"amqpURL": "x"}}},
        {"cronjob": {"enabled": True, "schedule": "nightly"}},
        {"otelEndpoint": "collector:4318"},
        {"networkPolicy": {"egressPorts": [70000]}},
    ],
    ids=json.dumps,
)
def test_a_wrong_value_is_refused(values):
    with pytest.raises(errors.HelmError):
        Chart.load(CHART).validate_schema(values)


def test_the_schema_has_every_value():
    def names(value, path=()):
        if isinstance(value, dict) and value and path not in FREE:
            return {name for key, inner in value.items() for name in names(inner, (*path, key))}
        return {path}

    def known(schema, path=()):
        inner = schema.get("properties")
        return {n for key, one in inner.items() for n in known(one, (*path, key))} if inner else {path}

    chart = Chart.load(CHART)
    assert names(chart.values) == known(chart.schema) - {("global",)}


# Maps that an operator fills.
FREE = {("resources", "requests"), ("resources", "limits"), ("dashboards", "labels")}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {"ANONYMOUS": "true"}),
        ({"http": {"anonymous": False}}, {}),
        (TOKENS, {"TOKENS_FILE": "/run/secrets/course-sharing/http-tokens"}),
    ],
    ids=["anonymous", "locked", "tokens"],
)
def test_the_port_is_for_whom_the_values_say(values, expected):
    worker = manifests(values)["Deployment", "course-sharing"]
    environment = dig(worker, "spec.template.spec")["containers"][0]["env"]
    prefix = "COURSE_SHARING_HTTP__"
    given = {one["name"].removeprefix(prefix): one["value"] for one in environment if prefix in one["name"]}
    assert given == expected


def test_two_releases_in_one_namespace_share_nothing():
    ours, theirs = manifests(EVERYTHING, "one"), manifests(EVERYTHING, "two")
    assert not set(ours) & set(theirs)
    for kind, path in (("Deployment", "spec.selector.matchLabels"), ("Service", "spec.selector")):
        assert dig(ours[kind, "one-course-sharing"], path) != dig(theirs[kind, "two-course-sharing"], path)


@pytest.mark.parametrize("values", [{}, {"plain": True}], ids=["release", "plain"])
def test_every_selector_finds_the_workers_and_outlives_an_upgrade(values):
    made = manifests({**EVERYTHING, **values})
    labels = dig(made["Deployment", "course-sharing"], "spec.template.metadata.labels").items()
    for kind, path in (
        ("Deployment", "spec.selector.matchLabels"),
        ("Service", "spec.selector"),
        ("PodDisruptionBudget", "spec.selector.matchLabels"),
        ("NetworkPolicy", "spec.podSelector.matchLabels"),
    ):
        selector = dig(made[kind, "course-sharing"], path)
        assert selector.items() <= labels, kind
        # A Deployment's selector may not change, and a version does.
        assert "app.kubernetes.io/version" not in selector
    monitor = dig(made["ServiceMonitor", "course-sharing"], "spec.selector.matchLabels")
    assert monitor.items() <= dig(made["Service", "course-sharing"], "metadata.labels").items()


def test_the_tables_are_made_first_by_a_user_that_workers_do_not_know():
    made = manifests()
    job = made["Job", "course-sharing-migrate"]
    assert dig(job, "metadata.annotations")["helm.sh/hook"] == "pre-install,pre-upgrade"
    (volume,) = dig(job, "spec.template.spec.volumes")
    secret = volume["secret"]["secretName"]
    assert secret not in yaml.safe_dump(made["Deployment", "course-sharing"]).split()


def test_the_pass_runs_in_one_place():
    def schedule(values):
        (container,) = dig(manifests(values)["Deployment", "course-sharing"], "spec.template.spec.containers")
        return [e["value"] for e in container["env"] if e["name"] == "COURSE_SHARING_RECONCILE__SCHEDULE"]

    assert schedule({}) == []
    assert schedule({"cronjob": {"enabled": True}}) == ["off"]


def test_another_configuration_replaces_the_pods():
    def annotations(values):
        return dig(manifests(values)["Deployment", "course-sharing"], "spec.template.metadata.annotations")

    assert annotations({}) != annotations({"config": "[log]\nlevel = 'debug'\n"})


def test_alerts_and_dashboards_are_those_of_ops(tmp_path):
    # As others get it: an archive, in which links to other folders are files.
    archive = Chart.load(CHART).save(tmp_path)
    packed = {file["name"]: file for file in Chart.load_archive(Path(archive).read_bytes()).files}
    dashboards = sorted((OPS / "grafana/dashboards").glob("*.json"))
    assert {"alerts.yml", *(f"dashboards/{path.name}" for path in dashboards)} <= set(packed)

    made = manifests(EVERYTHING)
    alerts = yaml.safe_load((OPS / "prometheus/alerts.yml").read_text())
    assert made["PrometheusRule", "course-sharing"]["spec"] == alerts
    for path in dashboards:
        (text,) = made["ConfigMap", f"course-sharing-dashboard-{path.stem}"]["data"].values()
        assert json.loads(text) == json.loads(path.read_text())
    # The alerts ask for this job; Prometheus takes it from this label of the Service.
    label = dig(made["ServiceMonitor", "course-sharing"], "spec.jobLabel")
    assert dig(made["Service", "course-sharing"], "metadata.labels")[label] == "course-sharing"
    assert 'job="course-sharing"' in str(alerts)


def test_its_version_is_the_programs():
    (version,) = re.findall(r'^version = "(.+)"', (OPS.parent / "Cargo.toml").read_text(), re.MULTILINE)
    assert Chart.load(CHART).metadata["appVersion"] == version


def dig(manifest, path):
    for key in path.split("."):
        manifest = manifest[key]
    return manifest
