"""The stage of ops/prometheus/live: two workers and all that they depend on, which can be made to fail one by one.

Everything is started by this, in a folder, a database and a virtual host of its own, and ended and removed at the end.
"""
import contextlib
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import re
import secrets
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILT = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
KEYS = [f"course-v1:LiveX+Course{n}+2026" for n in range(200)]
URL = "https://www.live.example/course/a-course"
CLIENT, SECRET = "course-sharing", "the-right-secret"
# How often something is done again while a fault lasts.
AGAIN = 4

# It has no ending. And no file of bytecode may be left in the tree.
sys.dont_write_bytecode = True
_loader = importlib.machinery.SourceFileLoader("verify", str(HERE / "verify"))
verify = importlib.util.module_from_spec(importlib.util.spec_from_loader("verify", _loader))
_loader.exec_module(verify)


def end_on_signals():
    """SIGTERM and Ctrl-C end the script as any exception does, which removes the stage; a second one is not heeded."""
    def end(number, _):
        for heeded in (signal.SIGINT, signal.SIGTERM):
            signal.signal(heeded, signal.SIG_IGN)
        sys.exit(128 + number)
    for heeded in (signal.SIGINT, signal.SIGTERM):
        signal.signal(heeded, end)


def until(what, holds, limit=60):
    deadline = time.monotonic() + limit
    while True:
        with contextlib.suppress(OSError, ValueError):
            if holds():
                return
        if time.monotonic() > deadline:
            sys.exit(f"not within {limit} s: {what}")
        time.sleep(0.2)


def answers(url, **more):
    with urllib.request.urlopen(urllib.request.Request(url, **more), timeout=10) as answer:
        return answer.read()


class Proxy:
    """Forwards connections to a server, until it is cut: then open ones are ended and new ones refused."""

    def __init__(self, host, port):
        self.target, self.open, self.listener = (host, port), set(), None
        self.port = verify.free_port()
        self.mend()

    def mend(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=[self.listener], daemon=True).start()

    def cut(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for end in list(self.open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self.target)
                self.open |= {near, far}
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._forward, args=ends, daemon=True).start()

    def _forward(self, source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            self.open.discard(end)
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class Catalog:
    """The stand-in, and what it lists, so that it is the same after a restart."""

    def __init__(self, stage):
        self.stage, self.port, self.runs, self.process = stage, verify.free_port(), {}, None
        self.url = f"http://127.0.0.1:{self.port}"
        self.restart()

    def restart(self, secret=SECRET):
        if self.process:
            self.stage.stop(self.process)
        (self.stage.folder / "list-limit1000-fields.json").write_text('{"results": []}')
        self.process = self.stage.start("catalog", [
            BUILT / "catalog-stand-in", "--listen", f"127.0.0.1:{self.port}", "--fixtures", self.stage.folder,
            "--client", f"{CLIENT}:{secret}"], None)
        until("the stand-in answers", lambda: self.control("GET", "stats"))
        for key, run in self.runs.items():
            self.control("PUT", "run", key=key, **run)

    def put(self, key, url, **more):
        self.runs[key] = {"marketing_url": url, **more}
        self.control("PUT", "run", key=key, **self.runs[key])

    def control(self, method, what, **orders):
        body = json.dumps(orders).encode() if method != "GET" else None
        return json.loads(answers(f"{self.url}/_control/{what}", method=method, data=body))


class Stage:
    LMS = "course_overviews_courseoverview"

    def __init__(self, rules):
        self.rules, self.ending = rules, contextlib.ExitStack()
        self.workers, self.meanwhile, self.turn = [], None, 0

    def __enter__(self):
        with contextlib.ExitStack() as ending:
            self.ending = ending
            self.folder = pathlib.Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="course-sharing-live-")))
            self._find()
            self._make_database()
            self._make_virtual_host()
            self.catalog = Catalog(self)
            self.overviews(KEYS, URL)
            for key in KEYS:
                self.catalog.put(key, URL)
            self.ports = [verify.free_port(), verify.free_port()]
            self.start_workers()
            self._start_prometheus()
            self.ending = ending.pop_all()
        return self

    def __exit__(self, *_):
        self.ending.close()

    def _find(self):
        for tool in ("prometheus", "psql"):
            if not shutil.which(tool):
                sys.exit(f"there is no {tool}; on Debian or Ubuntu: sudo apt-get install prometheus postgresql-client")
        for program in ("course-sharing", "catalog-stand-in"):
            if not (BUILT / program).exists():
                sys.exit(f"there is no {BUILT / program}: cargo build --workspace")
        said = subprocess.run([ROOT / "ops/services", "rabbitmq", "postgres"], check=True, stdout=subprocess.PIPE, text=True)
        found = dict(line.removeprefix("export ").split("=", 1) for line in said.stdout.splitlines())
        self.servers = {name: shlex.split(value)[0] for name, value in found.items()}

    def _proxied(self, url, port, path, user=None):
        """A proxy to the server of this URL, and the URL by which a user reaches this path through it."""
        url = urllib.parse.urlsplit(url)
        proxy = Proxy(url.hostname, url.port or port)
        userinfo = user or url.netloc.rpartition("@")[0]
        return proxy, url._replace(netloc=f"{userinfo}@127.0.0.1:{proxy.port}", path=f"/{path}").geturl()

    def _make_database(self):
        """With the tables, and a user with the least rights, by the statements of ops/ROLLOUT.md."""
        server, name = self.servers["TEST_POSTGRES_URL"], f"cs_live_{secrets.token_hex(4)}"
        self.user, password = f"{name}_user", secrets.token_hex(8)
        self.owner = f"{server}/postgres"
        self.sql(f"CREATE DATABASE {name}")
        self.ending.callback(lambda: subprocess.run(["psql", f"{server}/postgres", "-qc", f"DROP DATABASE {name} WITH (FORCE)",
                                                     "-c", f"DROP ROLE IF EXISTS {self.user}"], check=True))
        self.owner = f"{server}/{name}"
        self.to_database, url = self._proxied(server, 5432, name, f"{self.user}:{password}")
        self.settings = {"database.url": url}
        self.program("migrate", "--create-overview-table", **{"database.url": self.owner})
        rollout = (ROOT / "ops/ROLLOUT.md").read_text().split("\nPostgreSQL:")[1].split("```sql\n")[1].split("-- With")[0]
        rollout = rollout.replace("'…'", f"'{password}'").replace("DATABASE edxapp", f"DATABASE {name}")
        self.sql(re.sub(r"\bcourse_sharing\b", self.user, rollout))

    def _make_virtual_host(self):
        server, name = self.servers["COURSE_SHARING_AMQP__URL"], f"live-{secrets.token_hex(4)}"
        self.rabbitmqctl("add_vhost", name)
        self.ending.callback(lambda: self.rabbitmqctl("delete_vhost", name))
        user = urllib.parse.urlsplit(server).username
        self.rabbitmqctl("set_permissions", "-p", name, user, ".*", ".*", ".*")
        self.virtual_host = name
        self.to_broker, self.settings["amqp.url"] = self._proxied(server, 5672, name)

    def rabbitmqctl(self, *arguments):
        line = f"{os.environ.get('TEST_RABBITMQCTL', 'rabbitmqctl')} -q {shlex.join(arguments)}"
        subprocess.run(["sh", "-c", line], check=True, stdout=subprocess.DEVNULL)

    def _environment(self, more):
        settings = self.settings | {"amqp.prefetch": "20", "sync.min_interval": "1s", "heal.interval": "5s",
                                    "reconcile.delta_interval": "5s", "reconcile.schedule": "off", "log.format": "json"}
        if catalog := getattr(self, "catalog", None):
            settings |= {"catalog.url": catalog.url, "catalog.token_url": f"{catalog.url}/oauth2/access_token",
                         "catalog.client_id": CLIENT, "catalog.client_secret": SECRET}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("COURSE_SHARING_")}
        named = {f"COURSE_SHARING_{key.upper().replace('.', '__')}": value for key, value in (settings | more).items()}
        return clean | named

    def start(self, name, command, environment):
        """In a session of its own, so that Ctrl-C reaches this script alone. Its log is NAME.log in the folder."""
        log = open(self.folder / f"{name}.log", "ab")
        process = subprocess.Popen(command, env=environment, cwd=self.folder, stdout=log, stderr=log,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
        log.close()
        self.ending.callback(self.stop, process)
        return process

    def stop(self, process):
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(30)

    def start_workers(self, **settings):
        """Both, with these settings; those that run are ended before."""
        for worker in self.workers:
            self.stop(worker)
        environments = [self._environment(settings | {"http.listen": f"127.0.0.1:{port}"}) for port in self.ports]
        self.workers = [self.start(f"worker-{port}", [BUILT / "course-sharing", "worker"], environment)
                        for port, environment in zip(self.ports, environments)]
        for port in self.ports:
            until("the worker is ready", lambda: answers(f"http://127.0.0.1:{port}/readyz"))

    def program(self, *arguments, code=0, **settings):
        """What a command printed, which must end with this exit code."""
        ended = subprocess.run([BUILT / "course-sharing", *arguments], env=self._environment(settings), cwd=self.folder,
                               capture_output=True, text=True)
        if code is not None and ended.returncode != code:
            sys.exit(f"course-sharing {' '.join(arguments[:3])} ended with {ended.returncode}: {ended.stderr[-2000:]}")
        return ended.stdout

    def _start_prometheus(self):
        (self.folder / "alerts.yml").write_text(self.rules)
        config = (HERE / "prometheus.yml").read_text()
        config = config.replace('"worker:8080"', ", ".join(f'"127.0.0.1:{port}"' for port in self.ports))
        config = config.replace("_interval: 15s", "_interval: 1s").replace("scrape_timeout: 5s", "scrape_timeout: 1s")
        (self.folder / "prometheus.yml").write_text(config)
        self.prometheus = verify.free_port()
        self.start("prometheus", ["prometheus", f"--config.file={self.folder}/prometheus.yml",
                                  f"--storage.tsdb.path={self.folder}/data",
                                  f"--web.listen-address=127.0.0.1:{self.prometheus}"], None)
        verify.wait_until_scraped(self.prometheus)

    def firing(self):
        alerts = verify.ask(self.prometheus, "/api/v1/alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def keep_on(self):
        """Does again, now and then, what goes on while a fault lasts."""
        self.turn += 1
        if self.meanwhile and self.turn % AGAIN == 0:
            self.meanwhile()

    def sql(self, text):
        """As the owner, past the proxy."""
        done = subprocess.run(["psql", self.owner, "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", text],
                              stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"psql refused: {text}")
        return done.stdout.strip()

    def overviews(self, keys, url):
        """New courses of the LMS, with this link or none."""
        link = f"'{url}'" if url else "NULL"
        rows = ", ".join(f"('{key}', {link})" for key in keys)
        self.sql(f"INSERT INTO {self.LMS} (id, marketing_url) VALUES {rows}")

    def age_blank(self, key, age):
        """Has a course be blank for longer than it is, as soon as a worker has noted that it is."""
        until(f"{key} is noted as blank", lambda: self.sql(
            f"UPDATE course_sharing_blank SET since = now() - interval '{age}' WHERE course_id = '{key}' RETURNING 1"), 120)

    def publish(self, *keys):
        self.program("publish", "course-publish", *keys)

    def send(self, routing_key, body):
        """Publishes what the program itself would not: the few frames of AMQP 0-9-1 that this takes."""
        url = urllib.parse.urlsplit(self.servers["COURSE_SHARING_AMQP__URL"])
        short = lambda text: bytes([len(text)]) + text.encode()
        frame = lambda kind, channel, load: struct.pack(">BHI", kind, channel, len(load)) + load + b"\xce"
        method = lambda channel, number, load: frame(1, channel, struct.pack(">HH", *number) + load)
        login = f"\0{urllib.parse.unquote(url.username)}\0{urllib.parse.unquote(url.password)}".encode()
        with socket.create_connection((url.hostname, url.port or 5672), 10) as wire, wire.makefile("rb") as read:
            def answered(number):
                while True:
                    kind, _, size = struct.unpack(">BHI", read.read(7))
                    load = read.read(size + 1)[:-1]
                    if kind == 1 and struct.unpack(">HH", load[:4]) == number:
                        return load[4:]
            wire.sendall(b"AMQP\0\0\x09\x01")
            answered((10, 10))
            start = struct.pack(">I", 0) + short("PLAIN") + struct.pack(">I", len(login)) + login + short("en_US")
            wire.sendall(method(0, (10, 11), start))
            limits = answered((10, 30))[:6]
            wire.sendall(method(0, (10, 31), limits + b"\0\0") + method(0, (10, 40), short(self.virtual_host) + b"\0\0"))
            answered((10, 41))
            wire.sendall(method(1, (20, 10), b"\0"))
            answered((20, 11))
            wire.sendall(method(1, (60, 40), b"\0\0" + short("course-events") + short(routing_key) + b"\0")
                         + frame(2, 1, struct.pack(">HHQH", 60, 0, len(body), 0)) + frame(3, 1, body)
                         + method(1, (20, 40), b"\0\0" + short("") + b"\0\0\0\0"))
            answered((20, 41))
