"""``tutor local do course-sharing …``, and the same with ``dev`` and ``k8s``."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

import click

from . import tasks

Tasks = Iterable[tuple[str, str]]


@click.command(
    name="course-sharing",
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    help="Run the program's own commands: check, reconcile, explain <course-id>, migrate status, …",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def program(arguments: tuple[str, ...]) -> Tasks:
    """Run the program with the worker's configuration."""
    return [("course-sharing", shlex.join(["course-sharing", *arguments]))]


@click.command(
    name="course-sharing-remove",
    help="Take tables, database user and OAuth2 client away again. The links stay in the LMS's own column.",
)
def remove() -> Tasks:
    """Undo what ``do init`` has done."""
    return [(service, tasks.read(name)) for service, name in tasks.REMOVE]


COMMANDS = [program, remove]
