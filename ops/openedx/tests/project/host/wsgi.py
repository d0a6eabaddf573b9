"""A server whose requests publish a course, inside a transaction as edx-platform's are."""

import os
from urllib.parse import unquote

import django

django.setup()


def application(environ, start_response):
    from django.db import transaction
    from opaque_keys.edx.keys import CourseKey
    from xmodule.modulestore.django import SignalHandler

    with transaction.atomic():
        SignalHandler.send(CourseKey.from_string(unquote(environ["QUERY_STRING"])))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
