"""How a value is written in each language that the templates are in, and how passwords are made."""

from __future__ import annotations

import hashlib
import hmac
import shlex
from collections.abc import Callable
from typing import Any
from urllib.parse import quote


def url(value: Any) -> str:
    """Write a part of a URL: user, password or virtual host."""
    return quote(str(value), safe="")


def sql(value: Any) -> str:
    """Write a string of MySQL's, with its quotes."""
    text = str(value).replace("\\", "\\\\").replace("'", "''")
    return f"'{text}'"


def shell(value: Any) -> str:
    """Write one word of a shell's."""
    return shlex.quote(str(value))


def password(secret: Any, name: str) -> str:
    """Make a password from a secret, so that it can be made again, and the secret cannot be found from it."""
    return hmac.new(str(secret).encode(), name.encode(), hashlib.sha256).hexdigest()[:32]


def digest(value: Any) -> str:
    """Tell whether a file has changed: Kubernetes starts a pod again where an annotation differs."""
    return hashlib.sha256(str(value).encode()).hexdigest()


FILTERS: dict[str, Callable[..., str]] = {
    "course_sharing_url": url,
    "course_sharing_sql": sql,
    "course_sharing_shell": shell,
    "course_sharing_digest": digest,
    "course_sharing_password": password,
}
