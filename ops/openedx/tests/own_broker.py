"""A RabbitMQ of a test's own, to be stopped, frozen and started again; the shared one is everybody's."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import child
from waiting import until

UP = 120


class OwnBroker:
    """A node with its own name, ports, cookie and epmd, below ``home``.

    Where there is a ``configuration``, it listens on ``port``.
    """

    def __init__(self, home: Path, port: int | None = None, configuration: str = ""):
        self.port, distribution, self._epmd_port = (child.free_port() for _ in range(3))
        self.port = port or self.port
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/%2f"
        own = f"listeners.tcp.1 = 127.0.0.1:{self.port}\ndisk_free_limit.absolute = 50MB\n"
        (home / "rabbitmq.conf").write_text(configuration or own)
        (home / "enabled_plugins").write_text("[].\n")
        cookie = home / ".erlang.cookie"
        cookie.write_text(os.urandom(8).hex())
        cookie.chmod(0o400)
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"events{self._epmd_port}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
        }
        self._home = home
        self._program = program("rabbitmq-server")
        self._epmd = self._launch(program("epmd"), "-port", str(self._epmd_port), "-address", "127.0.0.1")
        self._node = None
        try:
            until(lambda: answers(self._epmd_port, b""), "epmd", UP)
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self):
        self._node = self._launch(self._program)
        until(lambda: answers(self.port, b"AMQP\x00\x00\x09\x01"), "a broker that greets", UP, pace=0.1)

    def stop(self):
        """As an operator does: it says goodbye to its clients."""
        os.killpg(self._node.pid, signal.SIGTERM)
        self._node.wait(60)

    def freeze(self):
        """Its sockets stay open and say nothing."""
        os.killpg(self._node.pid, signal.SIGSTOP)

    def thaw(self):
        os.killpg(self._node.pid, signal.SIGCONT)

    def close(self):
        for process in (self._node, self._epmd):
            if process is not None and process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(60)

    def _launch(self, *command):
        # A group of its own: the server is a shell script with the emulator below it.
        with (self._home / "out.log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=self._home,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def program(name):
    found = shutil.which(name, path=f"/usr/lib/rabbitmq/bin:{os.environ['PATH']}:/usr/sbin")
    assert found, f"no {name}: apt-get install rabbitmq-server (ops/services programs)"
    return found


def answers(port, greeting):
    """Tell whether somebody listens there and, greeted, says something."""
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as connection:
            connection.settimeout(2)
            connection.sendall(greeting)
            return not greeting or connection.recv(1) == b"\x01"
    except OSError:
        return False
