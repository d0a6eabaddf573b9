"""A wire to the broker that can be cut, or go dead with both ends still holding on."""

import contextlib
import socket
import threading

import rabbit


class Proxy:
    """Listens on a port of its own and passes bytes both ways."""

    def __init__(self, frozen=False, answers=None, tls=None):
        """``answers``: freeze after so many of the broker's. ``tls``: the context that clients meet."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = rabbit.url_at(self.port)
        self.accepted = 0
        self._answers = answers
        self._tls = tls
        self._flowing = threading.Event()
        if not frozen:
            self._flowing.set()
        self._ends = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self):
        """From now on nothing passes, and nothing is said."""
        self._flowing.clear()

    def thaw(self):
        self._flowing.set()

    def cut(self):
        """End every connection there is; new ones are welcome."""
        with self._lock:
            ends, self._ends = self._ends, []
        for end in ends:
            _end(end)

    @property
    def open(self):
        with self._lock:
            return len(self._ends) // 2

    def close(self):
        self._listener.close()
        self._flowing.set()
        self.cut()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._join, args=(client,), daemon=True).start()

    def _join(self, client):
        if self._tls is not None:
            try:
                client = self._tls.wrap_socket(client, server_side=True)
            except OSError:  # a client that does not trust us
                return
        server = socket.create_connection((rabbit.HOST, rabbit.PORT))
        with self._lock:
            self.accepted += 1
            self._ends += [client, server]
        threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
        self._pump(server, client, answers=True)

    def _pump(self, source, sink, answers=False):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flowing.wait()
                sink.sendall(data)
                if answers and self._answers is not None:
                    self._answers -= 1
                    if self._answers == 0:
                        self.freeze()
        for end in (source, sink):
            _end(end)
            with self._lock, contextlib.suppress(ValueError):
                self._ends.remove(end)


def _end(end):
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def unused_port():
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
