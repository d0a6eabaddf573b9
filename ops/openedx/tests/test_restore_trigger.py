"""With the restore trigger, whatever Django writes has the ledger's link, and nothing of Django's fails."""

import json
import os
import sqlite3
import subprocess
import sys
import uuid
from urllib.parse import urlsplit

import child
import psycopg
import pymysql
import pytest
from receiver import DATABASE_URL, PROGRAM, SHAPE

KNOWN, UNKNOWN = "course-v1:edX+Known+2026", "course-v1:edX+Unknown+2026"
LINK, STALE = "https://www.example.org/course/known", "https://stale.example/x"
#: Ways of writing that leave the link that the LMS gives, where the ledger has none.
STALE_WAYS = {
    "save_a_stale_copy",
    "bulk_create_that_updates",
    "bulk_update",
    "update_or_create_that_updates",
    "update",
}
LEDGER = (
    "INSERT INTO course_sharing_ledger (run_key, marketing_url, listed, observed_at, observed_by) "
    f"VALUES ('{KNOWN}', '{LINK}', TRUE, '2026-11-22 10:00:00', 'event')"
)


POSTGRES_URL = os.environ.get("TEST_POSTGRES_URL", "postgres://postgres@127.0.0.1:5432")


def syncdb(environment):
    """The LMS's table, as Django makes it."""
    made = child.run(
        "from django.core.management import call_command; call_command('migrate', run_syncdb=True)",
        EVENTS_ENABLED="",
        **environment,
    )
    assert made.returncode == 0, made.stderr


class MariaDb:
    def __init__(self):
        self.name = f"cs_events_{uuid.uuid4().hex[:12]}"
        self.url = f"{DATABASE_URL}/{self.name}"
        self.environment = {"LMS_DATABASE_URL": self.url}
        self.execute(f"CREATE DATABASE {self.name}", database=None)
        self.execute(SHAPE)

    def execute(self, sql, database=""):
        server = urlsplit(DATABASE_URL)
        connection = pymysql.connect(
            host=server.hostname,
            port=server.port or 3306,
            user=server.username,
            password=server.password or "",
            database=self.name if database == "" else database,
            charset="utf8mb4",
            autocommit=True,
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)

    def drop(self):
        self.execute(f"DROP DATABASE {self.name}", database=None)


class PostgreSql:
    def __init__(self):
        self.name = f"cs_events_{uuid.uuid4().hex[:12]}"
        self.url = f"{POSTGRES_URL}/{self.name}"
        self.environment = {"LMS_DATABASE_URL": self.url}
        self.execute(f"CREATE DATABASE {self.name}", database="postgres")
        syncdb(self.environment)

    def execute(self, sql, database=None):
        with psycopg.connect(f"{POSTGRES_URL}/{database or self.name}", autocommit=True) as connection:
            connection.execute(sql)

    def drop(self):
        self.execute(f"DROP DATABASE {self.name} WITH (FORCE)", database="postgres")


class Sqlite:
    def __init__(self, path):
        self.path = path
        self.url = f"sqlite://{path}?mode=rwc"
        self.environment = {"TEST_DATABASE": str(path)}
        syncdb(self.environment)

    def execute(self, sql):
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute(sql)
        connection.close()

    def drop(self):
        pass


@pytest.fixture(params=["mariadb", "postgresql", "sqlite"])
def database(request, tmp_path):
    """The LMS's table, the trigger on it, and a ledger that knows one run."""
    if not os.access(PROGRAM, os.X_OK):
        pytest.fail(f"no worker at {PROGRAM}: cargo build, or name one in COURSE_SHARING_PROGRAM")
    make = {"mariadb": MariaDb, "postgresql": PostgreSql, "sqlite": lambda: Sqlite(tmp_path / "lms.sqlite3")}
    database = make[request.param]()
    subprocess.run(
        [PROGRAM, "migrate", "--restore-trigger"],
        env={"PATH": os.environ["PATH"], "COURSE_SHARING_DATABASE__URL": database.url},
        check=True,
        capture_output=True,
    )
    database.execute(LEDGER)
    yield database
    database.drop()


def written(database):
    """Every way of writing, with the link of the known run and that of the unknown one."""
    done = subprocess.run(
        [sys.executable, "lms_writes.py", KNOWN, UNKNOWN],
        env=child.environment(EVENTS_ENABLED="", **database.environment),
        cwd=child.TESTS,
        capture_output=True,
        text=True,
        timeout=child.LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def as_the_lms_writes(way):
    return STALE if way in STALE_WAYS else None


def test_every_way_of_writing_ends_with_the_ledgers_link(database):
    found = written(database)
    assert len(found) == 12
    assert found == {way: [LINK, as_the_lms_writes(way)] for way in found}


def test_without_a_ledger_everything_is_written_as_django_writes_it(database):
    database.execute("DROP TABLE course_sharing_ledger")
    found = written(database)
    # On SQLite the triggers have a table of their own.
    known = (lambda _: LINK) if isinstance(database, Sqlite) else as_the_lms_writes
    assert found == {way: [known(way), as_the_lms_writes(way)] for way in found}
