"""In a Django project that has nothing of edx-platform's."""

import subprocess
import sys

PLAIN = """
import sys, django
from django.conf import settings
settings.configure(INSTALLED_APPS={apps!r}, COURSE_SHARING_EVENTS_URL="amqp://host/%2f")
django.setup()
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""


def manage(*arguments, apps, path="."):
    return subprocess.run(
        [sys.executable, "-c", PLAIN.format(apps=apps), *arguments],
        # Nowhere near the stand-ins for the platform's modules.
        cwd=path,
        env={"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_check_finds_nothing(tmp_path):
    done = manage("check", apps=["course_sharing_events"], path=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout
