"""The event bus's producer, for sites that send ``COURSE_CATALOG_INFO_CHANGED`` by the event bus's settings.

``EVENT_BUS_PRODUCER = "course_sharing_events.event_bus.CloudEventsProducer"``. The event goes out as
CloudEvents 1.0 in structured JSON. Of its data only the course's key is sent: course-sharing reads nothing
else, and names, dates and flags have no business in one more queue.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any, Final

from openedx_events.event_bus import EventBusProducer

from .course_id import course_run_id
from .dispatch import after_commit
from .message import COURSE_PUBLISH, Message, rfc3339, to_json
from .trace import creating

log = logging.getLogger(__name__)

_PREFIX: Final = "org.openedx.content_authoring.course."

#: Each type that means `course-publish`, and where in its data the course's key is.
DATA_FIELDS: Final = {
    f"{_PREFIX}catalog_info.changed.v1": "catalog_info",
    f"{_PREFIX}created.v1": "course",
    f"{_PREFIX}import.completed.v1": "course",
    f"{_PREFIX}rerun.completed.v1": "course",
}


class CloudEventsProducer(EventBusProducer):
    """Sends the four types that say a course run changed, after the commit; others are not for this bus."""

    def send(
        self,
        *,
        signal: Any,
        topic: str,
        event_key_field: str,
        event_data: dict[str, Any],
        event_metadata: Any,
    ) -> None:
        """Send one event. Never raises, and never waits for the broker.

        ``topic`` and ``event_key_field`` are of no account: exchange and routing key are fixed, and so is
        where each type has its key.
        """
        try:
            field = DATA_FIELDS.get(signal.event_type)
            if field is None:
                log.debug("%s is not for this bus", signal.event_type)
                return
            course_id = course_run_id(event_data[field].course_key)
            if course_id is None:
                log.debug("%s left out: no course run", signal.event_type)
                return
            with creating(COURSE_PUBLISH, course_id) as headers:
                message = cloud_event(signal.event_type, field, course_id, event_metadata, headers)
        except Exception:
            log.exception("event lost")
            return
        after_commit(lambda: message)


def cloud_event(
    event_type: str, field: str, course_id: str, metadata: Any, headers: dict[str, str]
) -> Message:
    """Build the structured form; ``id``, ``source`` and ``time`` are the event's own."""
    body = {
        "specversion": "1.0",
        "type": event_type,
        "source": metadata.source,
        "id": str(metadata.id),
        "time": rfc3339(metadata.time),
        "datacontenttype": "application/json",
        "minorversion": metadata.minorversion,
        "sourcehost": metadata.sourcehost,
        "sourcelib": ".".join(map(str, metadata.sourcelib)),
        "data": {field: {"course_key": course_id}},
    }
    return Message(
        subject=(event_type, course_id),
        routing_key=COURSE_PUBLISH,
        content_type="application/cloudevents+json",
        body=to_json(body),
        message_id=str(metadata.id),
        # When it was sent; the body's is when the course was edited.
        time=datetime.now(UTC),
        headers=headers,
    )
