"""Tells course-sharing which course run's share link may be stale.

The way of an event: ``receivers`` (or ``event_bus``) hear of a change, ``dispatch`` waits for the commit,
``process`` finds this process's ``Sender``, whose ``Outbox`` holds the message until its thread has given it
to the ``Broker`` and the broker has confirmed it. Nothing here waits in the caller's thread for a network.
"""
