"""What is rendered, read by those who will read it: TOML, Docker Compose, Kubernetes' schemas, Python."""

import ast
import re
import subprocess
import sys
import tomllib
from urllib.parse import urlsplit

import pytest
import yaml
from site_of_tutor import ROOT, Site

from tutor_course_sharing import __version__, settings

WORKER = ("Deployment", "course-sharing")


def keys(toml):
    return {f"{section}.{key}" for section, values in toml.items() for key in values}


def test_the_worker_is_given_every_key_there_is(site, changed):
    sample = re.sub(r"^# (\w+ = )", r"\1", (ROOT / "ops/course-sharing.toml").read_text(), flags=re.MULTILINE)
    # Some keys are given only where they are set.
    given = [keys(tomllib.loads(each.worker_configuration().read_text())) for each in (site, changed)]
    # Nobody reaches the port from outside of Tutor's network, so it needs no TLS.
    without = {"http.tls_certificate_file", "http.tls_key_file"}
    assert set.union(*given) == keys(tomllib.loads(sample)) - without


def test_links_need_a_token_where_there_are_some(site, changed):
    assert tomllib.loads(site.worker_configuration().read_text())["http"]["anonymous"]
    named = tomllib.loads(changed.worker_configuration().read_text())["http"]["tokens_file"]
    assert named == "/etc/course-sharing/tokens"
    tokens = changed.worker_configuration().with_name("tokens").read_text().splitlines()
    assert [line for line in tokens if not line.startswith("#")] == ["0123456789abcdef", "fedcba9876543210"]


@pytest.mark.parametrize(("which", "port"), [("site", 8080), ("changed", 9090)])
def test_the_port_is_one_for_worker_and_probes(which, port, request):
    """The image names another port in a variable, which wins over the file."""
    one = request.getfixturevalue(which)
    address = f"0.0.0.0:{port}"
    assert tomllib.loads(one.worker_configuration().read_text())["http"]["listen"] == address
    for mode in ("local", "dev"):
        service = one.compose(mode)["course-sharing"]
        assert service["environment"]["COURSE_SHARING_HTTP__LISTEN"] == address
        assert f"/dev/tcp/127.0.0.1/{port} " in service["healthcheck"]["test"][-1]
    container = one.manifests()[WORKER]["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "COURSE_SHARING_HTTP__LISTEN", "value": address} in container["env"]
    assert [port] == [each["containerPort"] for each in container["ports"] if each["name"] == "http"]
    assert {container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")} == {"http"}


def test_a_setting_that_yaml_takes_for_a_boolean_is_still_off(changed):
    toml = tomllib.loads(changed.worker_configuration().read_text())
    asked = [toml["reconcile"][key] for key in ("schedule", "light_schedule", "delta_interval")]
    assert [*asked, toml["heal"]["interval"]] == ["off"] * 4


def test_the_catalog_is_the_one_that_tutor_runs(changed):
    toml = tomllib.loads(changed.worker_configuration().read_text())
    scheme, host = toml["catalog"]["url"].split("://")
    assert scheme == "https"
    assert f"\n{host}{{$default_site_port}} {{" in changed.read("apps/caddy/Caddyfile")
    assert not toml["marketing_url"]["allow_http"]


@pytest.mark.parametrize("mode", ["local", "dev"])
def test_docker_compose_reads_it(site, mode):
    services = site.compose(mode)
    for name in ("course-sharing", "course-sharing-rabbitmq"):
        assert services[name]["restart"] == "unless-stopped"
        assert services[name]["healthcheck"]["test"]
    assert set(services["course-sharing"]["depends_on"]) == {"lms", "mysql", "course-sharing-rabbitmq"}
    assert "/data/course-sharing-rabbitmq" in str(services["permissions"]["volumes"])
    assert "course-sharing-job" in services
    published = services["course-sharing"].get("ports", [])
    # Nothing without a login is reachable from other machines.
    assert ("127.0.0.1" in str(published)) == (mode == "dev")


@pytest.mark.parametrize("mode", ["local", "dev"])
def test_a_broker_of_somebody_elses_is_left_alone(changed, mode):
    services = changed.compose(mode)
    assert "course-sharing-rabbitmq" not in services
    assert "rabbitmq" not in changed.read("apps/permissions/setowners.sh")
    assert set(services["course-sharing"]["depends_on"]) == {"lms"}
    assert not [name for kind, name in changed.manifests() if "rabbitmq" in name]
    assert "mq.example.org" in changed.worker_configuration().read_text()


def test_in_development_addresses_are_those_of_development(changed):
    environment = changed.compose("dev")["course-sharing"]["environment"]
    assert environment["COURSE_SHARING_LMS__ROOT_URL"].endswith(":8000")
    assert environment["COURSE_SHARING_CATALOG__URL"].endswith(":8381")
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"


@pytest.mark.parametrize("which", ["site", "changed"])
def test_kubernetes_knows_every_field(which, request, tmp_path):
    manifests = request.getfixturevalue(which).manifests()
    assert {WORKER, ("Job", "course-sharing-job"), ("Secret", "course-sharing")} <= set(manifests)
    paths = []
    for (kind, name), manifest in manifests.items():
        # Tutor fills these in: the namespace by kustomize, the command when the job runs.
        if kind == "Job":
            manifest["spec"]["template"]["spec"]["containers"][0]["command"] = ["sh"]
        paths.append(tmp_path / f"{kind}-{name}.yaml")
        paths[-1].write_text(yaml.safe_dump(manifest))
    done = subprocess.run(
        [f"{sys.prefix}/bin/kubernetes-validate", "--strict", "--quiet", *paths],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_kubernetes_mounts_what_docker_compose_mounts(site):
    secret = site.manifests()["Secret", "course-sharing"]["stringData"]
    folder = site.worker_configuration().parent
    assert secret == {name: (folder / name).read_text() for name in ("course-sharing.toml", "tokens")}
    broker = site.manifests()["Secret", "course-sharing-rabbitmq"]["stringData"]
    for name, text in broker.items():
        assert text == site.read(f"plugins/course-sharing/apps/rabbitmq/{name}")


def test_a_changed_setting_replaces_the_pods(site, changed):
    digests = set()
    for one in (site, changed):
        annotations = one.manifests()[WORKER]["spec"]["template"]["metadata"]["annotations"]
        digests.add(annotations["course-sharing/configuration"])
    assert len(digests) == 2


@pytest.mark.parametrize("service", ["lms", "cms"])
def test_lms_and_studio_send_events(site, changed, service):
    ours = site.django_settings(service)
    broker = tomllib.loads(site.worker_configuration().read_text())["amqp"]
    assert ours["COURSE_SHARING_EVENTS_ENABLED"] is True
    assert ours["COURSE_SHARING_EVENTS_EXCHANGE"] == broker["exchange"]
    # The same broker, and another user.
    assert ours["COURSE_SHARING_EVENTS_URL"].split("@")[1] == broker["url"].split("@")[1]
    assert ours["COURSE_SHARING_EVENTS_URL"] != broker["url"]
    assert changed.django_settings(service)["COURSE_SHARING_EVENTS_SSL"] == {"ca_certs": "/ca.pem"}


def test_the_nightly_command_is_retired_in_the_lms_alone(site, changed):
    def applications(one, service):
        names = {"INSTALLED_APPS": ["django.contrib.auth"]}
        for statement in one.module(service).body:
            if isinstance(statement, ast.Try) and "course_sharing" in ast.dump(statement):
                exec(compile(ast.Module([statement], []), service, "exec"), names)
        return names["INSTALLED_APPS"]

    assert applications(site, "lms") == ["course_sharing_events.retired", "django.contrib.auth"]
    assert applications(site, "cms") == ["django.contrib.auth"]
    assert applications(changed, "lms") == ["django.contrib.auth"]


def test_images_are_built_from_the_same_bases_as_ours(site):
    def bases(text):
        return {
            base.removeprefix("docker.io/") for base in re.findall(r"^FROM (\S+:\S+)", text, re.MULTILINE)
        }

    ours = bases((ROOT / "ops/Dockerfile").read_text())
    assert bases(site.read("plugins/course-sharing/build/course-sharing/Dockerfile")) == ours
    assert "install course-sharing-events==" in site.read("build/openedx/Dockerfile")


def test_an_image_is_built_where_the_sources_are_known(changed):
    dockerfile = changed.read("plugins/course-sharing/build/course-sharing/Dockerfile")
    assert "https://git.example.org/course-sharing.git#v" in dockerfile
    tag = changed.tutor("images", "printtag", "course-sharing").strip()
    assert tag.endswith(f"course-sharing:{__version__}")


def test_all_that_fits_together_has_one_version():
    """The plugin asks for the image and the publisher package of its own version."""
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    packages = [
        tomllib.loads((ROOT / f"ops/{name}/pyproject.toml").read_text()) for name in ("openedx", "tutor")
    ]
    assert [package["project"]["version"] for package in packages] == [cargo, cargo]
    assert __version__ == cargo


def test_passwords_are_the_same_before_and_after_they_are_saved(tmp_path):
    """`tutor plugins enable` renders them, and saves none; the next command must not have others."""
    site = Site(tmp_path)
    first = passwords(site)
    assert len(set(first)) == len(settings.UNIQUE)
    assert not [name for name in site.config() if name.startswith(settings.PREFIX)]
    site.tutor("config", "save", "--set", "COURSE_SHARING_CATALOG_TIMEOUT=21s")
    assert 'timeout = "21s"' in site.worker_configuration().read_text()
    assert passwords(site) == first
    assert set(first) <= {str(value) for value in site.config().values()}
    assert passwords(Site(tmp_path / "other")) != first


def passwords(site):
    toml = tomllib.loads(site.worker_configuration().read_text())
    urls = [
        toml["database"]["url"],
        toml["amqp"]["url"],
        site.django_settings("lms")["COURSE_SHARING_EVENTS_URL"],
    ]
    return [toml["catalog"]["client_secret"], *(urlsplit(url).password for url in urls)]


def test_the_readme_has_every_setting_and_its_default():
    readme = (ROOT / "ops/tutor/README.md").read_text()
    table = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", readme, re.MULTILINE))
    assert set(table) == set(settings.DEFAULTS) | set(settings.UNIQUE)
    for name, default in settings.DEFAULTS.items():
        if "{" not in str(default) and name != "VERSION":
            shown = str(default).lower() if isinstance(default, bool) else str(default)
            assert table[name].strip("`") in (shown, "none" if default in ("", None) else shown), name
