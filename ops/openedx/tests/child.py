"""Other processes: short-lived ones that publish, and servers."""

import os
import socket
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
LIMIT = 60

SETUP = """
import sys, django
django.setup()
from opaque_keys.edx.keys import CourseKey
from xmodule.modulestore.django import SignalHandler
publish = lambda text: SignalHandler.send(CourseKey.from_string(text))
"""


def environment(**more):
    return {
        **os.environ,
        "PYTHONPATH": f"{TESTS / 'project'}:{TESTS}",
        "DJANGO_SETTINGS_MODULE": "settings",
        **more,
    }


def run(code, *args, **env):
    """Run a program that sets Django up, does ``code`` and ends; give what it said."""
    return subprocess.run(
        [sys.executable, "-c", SETUP + code, *args],
        env=environment(**env),
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def start(*command, **env):
    return subprocess.Popen(
        [sys.executable, *command], env=environment(**env), cwd=TESTS, stdout=subprocess.DEVNULL
    )


def stop(process):
    process.terminate()
    process.wait(LIMIT)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
