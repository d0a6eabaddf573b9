"""The settings: their names, their defaults and what they must be; the only file that reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

PREFIX: Final = "COURSE_SHARING_EVENTS_"

DEFAULTS: Final[dict[str, Any]] = {
    # False turns everything off; no thread is started and no connection opened.
    "ENABLED": True,
    # amqp:// or amqps://; several, separated by ";", are tried in turn. None: nothing is sent.
    "URL": None,
    # For amqps: what kombu takes as `ssl` (ca_certs, certfile, keyfile, …). None: the system's CAs.
    "SSL": None,
    "EXCHANGE": "course-events",
    # Events a process holds while the broker is away, about 1 KB each.
    "QUEUE_SIZE": 10_000,
    # Seconds for one step with the broker: a connect, a write, a batch's confirms.
    "TIMEOUT": 5.0,
    # Seconds; the longest pause between two tries.
    "MAX_BACKOFF": 30.0,
    # Seconds after which an unused connection is closed: authors publish seldom, processes are many.
    "IDLE_TIMEOUT": 60.0,
    # Seconds a process that ends may wait for its last events.
    "EXIT_TIMEOUT": 5.0,
}

_SCHEMES: Final = ("amqp://", "amqps://", "pyamqp://")


class SettingError(ValueError):
    """A setting is not what it must be; the text names it and never shows a secret."""


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of one sender, checked. The URL stays out of ``repr``: it has the password in it."""

    url: str = field(repr=False)
    ssl: dict[str, Any] | None = field(repr=False)
    exchange: str
    queue_size: int
    timeout: float
    max_backoff: float
    idle_timeout: float
    exit_timeout: float


def plugin_settings(settings: Any) -> None:
    """Put the defaults into edx-platform's settings module, where its own files and YAML may override them.

    Called by the platform's plugin machinery; as a plain Django app the defaults below hold all the same.
    """
    for name, default in DEFAULTS.items():
        if not hasattr(settings, PREFIX + name):
            setattr(settings, PREFIX + name, default)


def enabled() -> bool:
    """Tell whether events are sent at all: switched on, and with a broker to send them to."""
    return bool(_get("ENABLED")) and bool(_get("URL"))


def switched_off() -> bool:
    """Tell whether the operator turned the plugin off by ``COURSE_SHARING_EVENTS_ENABLED = False``."""
    return not _get("ENABLED")


def load() -> Config:
    """Read and check the settings. Raises ``SettingError``, which names the first wrong one."""
    return Config(
        url=_url(),
        ssl=_ssl(),
        exchange=_text("EXCHANGE"),
        queue_size=int(_number("QUEUE_SIZE", at_least=1)),
        timeout=_number("TIMEOUT", at_least=0.1),
        max_backoff=_number("MAX_BACKOFF", at_least=0.1),
        idle_timeout=_number("IDLE_TIMEOUT", at_least=0.1),
        exit_timeout=_number("EXIT_TIMEOUT", at_least=0),
    )


def _get(name: str) -> Any:
    from django.conf import settings  # at call time: importing this module must not need configured settings

    return getattr(settings, PREFIX + name, DEFAULTS[name])


def _url() -> str:
    url = _get("URL")
    if not isinstance(url, str) or not url:
        raise SettingError(f"{PREFIX}URL is not set")
    for part in url.split(";"):
        if not part.startswith(_SCHEMES):
            raise SettingError(f"{PREFIX}URL must start with amqp:// or amqps://")
        try:
            address = urlsplit(part)
            readable = bool(address.hostname) and address.port != 0
        except ValueError:
            # The error is dropped because it quotes what it took for the port: part of the password,
            # when the password has a "/" in it.
            readable = False
        # A "/", "?" or "#" in a password that is not encoded ends the host too early.
        if not readable or address.fragment or "@" in address.path + address.query:
            raise SettingError(f"{PREFIX}URL cannot be read; percent-encode user and password")
    return url


def _ssl() -> dict[str, Any] | None:
    value = _get("SSL")
    if value is not None and not isinstance(value, dict):
        raise SettingError(f"{PREFIX}SSL must be None or a dictionary")
    return value


def _text(name: str) -> str:
    value = _get(name)
    if not isinstance(value, str) or not value:
        raise SettingError(f"{PREFIX}{name} must be a text that is not empty")
    return value


def _number(name: str, *, at_least: float) -> float:
    value = _get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not at_least <= value < float("inf"):
        raise SettingError(f"{PREFIX}{name} must be a number, at least {at_least}")
    return value
