"""A ``docker`` for Tutor to call. What it would run in a container, with what the container has, is run here.

Only the platform is a stand-in: ``manage.py`` writes down what it was asked. Everything else that the scripts
call is the real thing. Nothing is done about any other command than ``docker compose … run``.
"""

import json
import os
import shutil
import sys
from pathlib import Path

MANAGE = """#!{python}
import json, sys
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
"""


class Docker:
    """A folder for ``PATH``, and what was asked of the platform meanwhile."""

    def __init__(self, home: Path, program: str, configuration: Path):
        self.path = home / "bin"
        self.path.mkdir()
        self._log = home / "manage.log"
        self._log.touch()
        client = shutil.which("mysql") or shutil.which("mariadb")
        assert client, "no client of MySQL's or MariaDB's: apt-get install mariadb-client"
        os.symlink(client, self.path / "mysql")
        os.symlink(sys.executable, self.path / "python")
        os.symlink(os.path.realpath(program), self.path / "course-sharing")
        self._write(self.path / "docker", f'#!/bin/sh\nexec {sys.executable} {__file__} {home} "$@"\n')
        self._write(home / "manage.py", MANAGE.format(python=sys.executable, log=str(self._log)))
        (home / "configuration").write_text(str(configuration))

    def manage_was_asked(self):
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    @staticmethod
    def _write(path, text):
        path.write_text(text)
        path.chmod(0o755)


def main():
    home, arguments = Path(sys.argv[1]), sys.argv[2:]
    if "run" not in arguments:
        if "--format" in arguments:
            sys.stdout.write("[]\n")  # which projects run
        return
    asked = arguments[arguments.index("run") + 1 :]
    service, *command = [word for word in asked if word not in ("--rm", "-T")]
    environment = {"PATH": os.environ["PATH"]}
    if service == "course-sharing-job":
        environment["COURSE_SHARING_CONFIG"] = (home / "configuration").read_text()
    os.chdir(home)
    os.execvpe(command[0], command, environment)


if __name__ == "__main__":
    main()
