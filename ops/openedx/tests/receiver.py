"""The receiving end as it is in production: the real worker, the LMS's own table, and a Catalog."""

import json
import os
import re
import subprocess
import tempfile
import threading
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import child
import pymysql
import rabbit
from waiting import until

ROOT = Path(__file__).parents[3]
PROGRAM = os.environ.get("COURSE_SHARING_PROGRAM", str(ROOT / "target/debug/course-sharing"))
DATABASE_URL = os.environ.get("TEST_MYSQL_URL", "mysql://root@127.0.0.1:3306")
SHAPE = (ROOT / "tests/fixtures/lms/course_overviews.mysql.sql").read_text()


def link(course_id):
    """The page that the Catalog has for a run."""
    return f"https://www.example.org/course/{str(course_id).split('+')[1].lower()}"


class Catalog(BaseHTTPRequestHandler):
    """Lists every run that it is asked for."""

    def do_GET(self):
        asked = parse_qs(urlsplit(self.path).query).get("keys", [""])[0]
        runs = [{"key": key, "marketing_url": link(key)} for key in filter(None, asked.split(","))]
        body = json.dumps({"count": len(runs), "next": None, "previous": None, "results": runs}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Receiver:
    """A database, a Catalog and a worker, with queues of their own; all gone at the end."""

    def __init__(self, **settings):
        self.name = f"cs_events_{uuid.uuid4().hex[:12]}"
        self.exchange = f"{self.name}.exchange"
        self._logs = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the worker
        self.url = f"{DATABASE_URL}/{self.name}"
        self._execute(f"CREATE DATABASE {self.name}", "")
        self._execute(SHAPE)
        self._catalog = ThreadingHTTPServer(("127.0.0.1", 0), Catalog)
        threading.Thread(target=self._catalog.serve_forever, daemon=True).start()
        self._port = child.free_port()
        self._environment = {
            "database.url": self.url,
            "amqp.url": rabbit.URL,
            "amqp.exchange": self.exchange,
            "amqp.queue": f"{self.name}.events",
            "catalog.url": f"http://127.0.0.1:{self._catalog.server_port}",
            "http.listen": f"127.0.0.1:{self._port}",
            "reconcile.schedule": "off",
            "heal.interval": "1s",
            "sync.min_interval": "0s",
            **settings,
        }
        self.run("migrate")
        self._worker = subprocess.Popen([PROGRAM, "worker"], env=self._variables(), stderr=self._logs)
        until(lambda: self.metric("course_sharing_consumer_up") == 1, "a worker that consumes")

    def run(self, *arguments):
        return subprocess.run(
            [PROGRAM, *arguments], env=self._variables(), check=True, capture_output=True, text=True
        ).stdout

    def metric(self, series):
        """The value of a series on the worker's own page, or None."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as page:
                found = re.search(rf"^{re.escape(series)} (\S+)$", page.read().decode(), re.MULTILINE)
        except OSError:
            return None
        return float(found.group(1)) if found else None

    def create(self, course_id):
        """An overview of the LMS's, without a link."""
        self._execute(
            "INSERT IGNORE INTO course_overviews_courseoverview (id, created, modified) "
            f"VALUES ('{course_id}', NOW(6), NOW(6))"
        )

    def link(self, course_id):
        rows = self._execute(
            f"SELECT marketing_url FROM course_overviews_courseoverview WHERE BINARY id = '{course_id}'"
        )
        return rows[0][0] if rows else None

    def until_linked(self, course_id):
        until(lambda: self.link(course_id) == link(course_id), f"the link of {course_id}")

    def close(self):
        self._worker.terminate()
        code = self._worker.wait(30)
        self._catalog.shutdown()
        with rabbit.connect() as connection:
            channel = connection.channel()
            for queue in ["events", "dead", *(f"delay.{n}" for n in (10, 60, 180, 900, 3600, 14400))]:
                channel.queue_delete(f"{self.name}.{queue}")
            channel.exchange_delete(self.exchange)
        self._execute(f"DROP DATABASE {self.name}", "")
        self._logs.seek(0)
        assert code == 0, self._logs.read().decode()

    def _variables(self):
        names = {f"COURSE_SHARING_{k.upper().replace('.', '__')}": v for k, v in self._environment.items()}
        return {"PATH": os.environ["PATH"], **names}

    def _execute(self, sql, database=None):
        server = urlsplit(DATABASE_URL)
        connection = pymysql.connect(
            host=server.hostname,
            port=server.port or 3306,
            user=server.username,
            password=server.password or "",
            database=(self.name if database is None else database) or None,
            charset="utf8mb4",
            autocommit=True,
        )
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()
