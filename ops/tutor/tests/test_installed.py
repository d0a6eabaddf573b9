"""From `tutor local do init` to a healed link, and back, with real servers and the real worker.

Only Docker, the platform and the Catalog are stand-ins.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
import urllib.request
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import child
import pymysql
import pytest
from docker_stand_in import Docker
from own_broker import OwnBroker
from site_of_tutor import ROOT, Site
from waiting import until

PROGRAMS = Path(os.environ.get("COURSE_SHARING_PROGRAM", ROOT / "target/debug/course-sharing")).parent
DATABASE_URL = urlsplit(os.environ.get("TEST_MYSQL_URL", "mysql://root@127.0.0.1:3306"))
SHAPE = (ROOT / "tests/fixtures/lms/course_overviews.mysql.sql").read_text()
COURSE = "course-v1:TutorX+Demo+2026"
LINK = "https://www.example.org/course/tutor-demo"
# Each of these means something in one of the languages that it is written in.
AWKWARD = "p'a\"s$w\\o/r@d:1%#;é`"

SEND = """
import json, sys, django
from django.conf import settings
settings.configure(INSTALLED_APPS=["course_sharing_events"], **json.loads(sys.argv[1]))
django.setup()
from django.core.management import call_command
call_command("course_sharing_publish", sys.argv[2])
"""


class Database:
    """The LMS's, with a superuser whose password is awkward."""

    def __init__(self):
        self.name = f"cs_tutor_{uuid.uuid4().hex[:12]}"
        self.superuser = f"{self.name}_su"
        self.execute(f"CREATE DATABASE {self.name} CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci", "")
        self.execute(f"CREATE USER '{self.superuser}'@'%%' IDENTIFIED BY %s", "", AWKWARD)
        self.execute(f"GRANT ALL ON *.* TO '{self.superuser}'@'%' WITH GRANT OPTION", "")
        self.execute(SHAPE)
        self.execute(
            "INSERT IGNORE INTO course_overviews_courseoverview (id, created, modified) "
            f"VALUES ('{COURSE}', NOW(6), NOW(6))"
        )

    def execute(self, sql, database=None, *values):
        connection = pymysql.connect(
            host=DATABASE_URL.hostname,
            port=DATABASE_URL.port or 3306,
            user=DATABASE_URL.username,
            password=DATABASE_URL.password or "",
            database=(self.name if database is None else database) or None,
            charset="utf8mb4",
            autocommit=True,
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(sql, values or None)
            return cursor.fetchall()

    def link(self):
        ((link,),) = self.execute("SELECT marketing_url FROM course_overviews_courseoverview")
        return link

    def wipe(self):
        self.execute("UPDATE course_overviews_courseoverview SET marketing_url = NULL")

    def tables(self):
        return {name for (name,) in self.execute("SHOW TABLES") if name.startswith("course_sharing_")}

    def users(self):
        return [user for (user,) in self.execute("SELECT user FROM mysql.user", "")]

    def close(self):
        self.execute(f"DROP DATABASE {self.name}", "")
        self.execute(f"DROP USER '{self.superuser}'@'%'", "")


class Installation:
    """A site whose addresses are those of this machine's servers, and what runs beside it."""

    def __init__(self, home):
        self._processes = []
        self._broker = None
        self.database = Database()
        try:
            self._start(home)
        except BaseException:
            self.close()
            raise

    def _start(self, home):
        broker, catalog, self.port = (child.free_port() for _ in range(3))
        self.worker_user = f"{self.database.name}_w"
        self.site = Site(
            home / "site",
            # Tutor's own MySQL takes no such password.
            RUN_MYSQL=False,
            MYSQL_HOST=DATABASE_URL.hostname,
            MYSQL_PORT=DATABASE_URL.port or 3306,
            MYSQL_ROOT_USERNAME=self.database.superuser,
            MYSQL_ROOT_PASSWORD=AWKWARD,
            OPENEDX_MYSQL_DATABASE=self.database.name,
            COURSE_SHARING_MYSQL_USERNAME=self.worker_user,
            COURSE_SHARING_MYSQL_PASSWORD=AWKWARD,
            COURSE_SHARING_RABBITMQ_HOST="127.0.0.1",
            COURSE_SHARING_RABBITMQ_PORT=broker,
            COURSE_SHARING_RABBITMQ_VHOST="open/edx",
            COURSE_SHARING_RABBITMQ_PASSWORD=AWKWARD,
            COURSE_SHARING_EVENTS_PASSWORD=AWKWARD + "2",
            COURSE_SHARING_CATALOG_URL=f"http://127.0.0.1:{catalog}",
            COURSE_SHARING_CATALOG_TOKEN_URL=f"http://127.0.0.1:{catalog}/oauth2/access_token",
            COURSE_SHARING_HTTP_PORT=self.port,
            # Only an event may bring a link back here.
            COURSE_SHARING_HEAL_INTERVAL="off",
            COURSE_SHARING_RECONCILE_DELTA_INTERVAL="off",
        )
        self.docker = Docker(home, str(PROGRAMS / "course-sharing"), self.site.worker_configuration())
        (home / "broker").mkdir()
        self._broker = OwnBroker(home / "broker", broker, self._broker_configuration())
        self.log = (home / "worker.log").open("wb+")
        toml = tomllib.loads(self.site.worker_configuration().read_text())
        secret = toml["catalog"]["client_secret"]
        client = ("--client", f"course-sharing:{secret}")
        self._launch("catalog-stand-in", "--listen", f"127.0.0.1:{catalog}", "--runs", "30", *client)
        self.catalog = f"http://127.0.0.1:{catalog}"
        until(self._lists_the_course, "a Catalog that lists the course")

    def _broker_configuration(self):
        rendered = self.site.env / "plugins/course-sharing/apps/rabbitmq"
        text = (rendered / "20-course-sharing.conf").read_text()
        assert "/etc/rabbitmq/" in text
        return text.replace("/etc/rabbitmq/", f"{rendered}/") + "\n"

    def _lists_the_course(self):
        order = json.dumps({"key": COURSE, "marketing_url": LINK}).encode()
        request = urllib.request.Request(f"{self.catalog}/_control/run", order, method="PUT")
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def _launch(self, name, *arguments, **environment):
        process = subprocess.Popen(
            [PROGRAMS / name, *arguments],
            env={"PATH": os.environ["PATH"], **environment},
            stdout=self.log,
            stderr=self.log,
        )
        self._processes.append(process)
        return process

    def do(self, *arguments):
        return self.site.tutor("local", "do", *arguments, path=self.docker.path)

    def start_worker(self):
        """With the environment of its container, its files being elsewhere."""
        environment = dict(self.site.compose()["course-sharing"]["environment"])
        assert environment.pop("COURSE_SHARING_CONFIG") == "/etc/course-sharing/course-sharing.toml"
        assert set(environment) == {"COURSE_SHARING_HTTP__LISTEN"}
        environment["COURSE_SHARING_CONFIG"] = str(self.site.worker_configuration())
        self.worker = self._launch("course-sharing", "worker", **environment)

    def is_healthy(self):
        """By the container's own health check."""
        kind, *command = self.site.compose()["course-sharing"]["healthcheck"]["test"]
        assert kind == "CMD"
        # Docker Compose shows a `$` doubled, as it is written.
        command[-1] = command[-1].replace("$$", "$")
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    def send(self):
        """As Studio does: by the settings of its module, as the user that may only publish."""
        done = subprocess.run(
            [sys.executable, "-c", SEND, json.dumps(self.site.django_settings("cms")), COURSE],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert "1 of 1 confirmed" in done.stdout + done.stderr, done.stdout + done.stderr

    def close(self):
        for process in reversed(self._processes):
            process.terminate()
            process.wait(60)
        if self._broker:
            self._broker.close()
        self.database.execute(f"DROP USER IF EXISTS '{self.database.name}_w'@'%'", "")
        self.database.close()


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    for name in ("course-sharing", "catalog-stand-in"):
        if not os.access(PROGRAMS / name, os.X_OK):
            pytest.fail(f"no {name} in {PROGRAMS}: cargo build, or name the worker in COURSE_SHARING_PROGRAM")
    installation = Installation(tmp_path_factory.mktemp("installed"))
    try:
        # Twice: it is run again at each upgrade.
        installation.do("init", "--limit=course-sharing")
        installation.do("init", "--limit=course-sharing")
        yield installation
    finally:
        installation.close()


def test_init_makes_tables_and_client(installed):
    toml = tomllib.loads(installed.site.worker_configuration().read_text())
    assert {"course_sharing_ledger", "course_sharing_migrations"} <= installed.database.tables()
    asked = installed.docker.manage_was_asked()
    user, client = asked[:2]
    assert user[:2] == ["lms", "manage_user"]
    assert "--staff" in user
    assert client[:2] == ["lms", "create_dot_application"]
    assert client[client.index("--client-id") + 1] == toml["catalog"]["client_id"]
    assert client[client.index("--client-secret") + 1] == toml["catalog"]["client_secret"]
    assert client[-1] == user[2]


def test_the_rights_are_those_of_the_roll_out(installed):
    """`check` says what is missing and what is too much; the tables are those that ops/ROLLOUT.md names."""
    report = installed.do("course-sharing", "check")
    assert len(re.findall(r"^ok ", report, re.MULTILINE)) == 5, report
    assert "warn" not in report
    grants = installed.database.execute(f"SHOW GRANTS FOR '{installed.worker_user}'@'%'", "")
    granted = set(re.findall(r"`\.`(\w+)`", str(grants)))
    rollout = (ROOT / "ops/compose/grants.sql").read_text()
    assert granted == set(re.findall(r"edxapp\.(\w+)", rollout))


def test_a_link_that_goes_blank_comes_back(installed):
    installed.do("course-sharing", "reconcile")
    assert installed.database.link() == LINK
    installed.start_worker()
    until(installed.is_healthy, "a healthy worker")
    for _ in range(3):
        installed.database.wipe()
        installed.send()
        until(lambda: installed.database.link() == LINK, "the link")


def test_what_was_installed_goes_again_and_the_link_stays(installed):
    installed.worker.terminate()
    assert installed.worker.wait(60) == 0
    before = installed.docker.manage_was_asked()
    installed.do("course-sharing-remove")
    assert not installed.database.tables()
    assert installed.worker_user not in installed.database.users()
    assert installed.database.link() == LINK
    asked = installed.docker.manage_was_asked()[len(before) :]
    assert [words[1] for words in asked] == ["shell", "manage_user"]
    assert "--remove" in asked[1]
