"""In a Django project that has nothing of edx-platform's."""

import subprocess
import sys

import pytest

PLAIN = """
import sys, django
from django.conf import settings
settings.configure(INSTALLED_APPS={apps!r}, COURSE_SHARING_EVENTS_URL="amqp://host/%2f")
django.setup()
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""

# A command of the same name, as edx-platform has it.
THEIRS = """
from django.core.management.base import BaseCommand
class Command(BaseCommand):
    def handle(self, *args, **options):
        raise SystemExit("theirs")
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


@pytest.mark.parametrize(
    ("apps", "code", "words"),
    [
        (["course_sharing_events.retired", "catalog"], 0, "has done nothing: course-sharing keeps"),
        (["catalog", "course_sharing_events.retired"], 1, "theirs"),
    ],
    ids=["first", "after the platform's"],
)
def test_the_nightly_command_is_retired_by_an_app_that_comes_first(tmp_path, apps, code, words):
    commands = tmp_path / "catalog/management/commands"
    commands.mkdir(parents=True)
    (commands / "sync_course_runs.py").write_text(THEIRS)
    for package in (commands, commands.parent, commands.parent.parent):
        (package / "__init__.py").touch()
    done = manage("sync_course_runs", apps=apps, path=tmp_path)
    assert done.returncode == code, done.stderr
    assert words in done.stdout + done.stderr
