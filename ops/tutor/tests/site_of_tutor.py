"""A site of Tutor's in a folder of its own: its configuration, what is rendered from it, and its commands."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
TUTOR = Path(sys.executable).parent / "tutor"


class Site:
    """What ``TUTOR_ROOT`` is the path of."""

    def __init__(self, root, *plugins, **settings):
        self.root = root
        self.env = root / "env"
        self._compose = {}
        root.mkdir(exist_ok=True)
        (root / "config.yml").write_text(yaml.safe_dump(settings))
        # It renders everything, as `config save` does.
        self.tutor("plugins", "enable", "course-sharing", *plugins)

    def tutor(self, *arguments, path=None):
        done = subprocess.run(
            [TUTOR, *arguments],
            env={
                "HOME": str(self.root),
                "PATH": f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"],
                "TUTOR_ROOT": str(self.root),
                "TUTOR_PLUGINS_ROOT": str(self.root / "plugins"),
            },
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"tutor {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def config(self):
        return yaml.safe_load((self.root / "config.yml").read_text())

    def read(self, path):
        return (self.env / path).read_text()

    def worker_configuration(self):
        return self.env / "plugins/course-sharing/apps/course-sharing/course-sharing.toml"

    def compose(self, mode="local"):
        """The services in the files that Tutor gives Docker Compose, as Docker Compose understands them."""
        if mode not in self._compose:
            self._compose[mode] = self._understood(mode)
        return self._compose[mode]

    def _understood(self, mode):
        names = ["local/docker-compose", "local/docker-compose.jobs"]
        if mode == "local":
            names += ["local/docker-compose.prod"]
        else:
            names += ["dev/docker-compose", "dev/docker-compose.jobs"]
        files = [f"{name}.yml" for name in names]
        named = [word for file in files for word in ("--file", str(self.env / file))]
        done = subprocess.run(
            [*compose_program(), *named, "config"], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return yaml.safe_load(done.stdout)["services"]

    def manifests(self):
        """What the plugin adds to Kubernetes, by kind and name."""
        found = {}
        for name in ("deployments", "jobs", "services", "volumes"):
            for manifest in yaml.safe_load_all(self.read(f"k8s/{name}.yml")):
                if manifest and "course-sharing" in manifest["metadata"]["name"]:
                    found[manifest["kind"], manifest["metadata"]["name"]] = manifest
        return found

    def django_settings(self, service):
        """The events' settings, as the module of the LMS or Studio has them: constants, every one."""
        settings = {}
        for statement in self.module(service).body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                name = statement.targets[0].id
                if name.startswith("COURSE_SHARING_"):
                    settings[name] = ast.literal_eval(statement.value)
        return settings

    def module(self, service):
        return ast.parse(self.read(f"apps/openedx/settings/{service}/production.py"))


def compose_program():
    plugin = ["docker", "compose"]
    try:
        there = subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        there = False
    return plugin if there else ["docker-compose"]
