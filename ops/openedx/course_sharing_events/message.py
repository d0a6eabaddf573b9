"""One message as it goes to the broker, and the native form of its body."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

COURSE_PUBLISH: Final = "course-publish"
OVERVIEW_RECREATED: Final = "overview-recreated"


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent, ready to be sent: built in the caller's thread, so that the sender's needs no Django."""

    #: The event's type and the run: of two that wait and have the same, one is enough.
    subject: tuple[str, str]
    routing_key: str
    content_type: str
    body: bytes
    message_id: str
    time: datetime
    headers: Mapping[str, str]


def native(event_type: str, course_id: str, headers: Mapping[str, str]) -> Message:
    """Build the native form: ``{"type", "course_id", "id", "time"}``, with a fresh id and the time of now."""
    message_id = str(uuid.uuid4())
    now = datetime.now(UTC)
    body = {"type": event_type, "course_id": course_id, "id": message_id, "time": rfc3339(now)}
    return Message(
        subject=(event_type, course_id),
        routing_key=event_type,
        content_type="application/json",
        body=to_json(body),
        message_id=message_id,
        time=now,
        headers=headers,
    )


def to_json(document: Mapping[str, object]) -> bytes:
    """Write JSON as UTF-8, letters of every script as they are."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def rfc3339(moment: datetime) -> str:
    """Write a moment in UTC, to the millisecond, with ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
