"""What Tutor loads: settings, templates, patches, tasks, the image and the commands, each by its hook."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Union

from tutor import hooks

from . import commands, quoting, settings, tasks

_PACKAGE = files("tutor_course_sharing")
_IMAGE = "{{ COURSE_SHARING_DOCKER_IMAGE }}"
_REPOSITORY = "COURSE_SHARING_REPOSITORY"

# Name, folder, tag, and more arguments of `docker build`.
_Build = tuple[str, Union[str, tuple[str, ...]], str, tuple[str, ...]]

hooks.Filters.CONFIG_DEFAULTS.add_items(
    [(settings.PREFIX + name, value) for name, value in settings.DEFAULTS.items()]
)
hooks.Filters.CONFIG_UNIQUE.add_items(
    [(settings.PREFIX + name, value) for name, value in settings.UNIQUE.items()]
)

hooks.Filters.ENV_TEMPLATE_ROOTS.add_item(str(_PACKAGE / "templates"))
hooks.Filters.ENV_TEMPLATE_TARGETS.add_items(
    [("course-sharing/apps", "plugins"), ("course-sharing/build", "plugins")]
)
hooks.Filters.ENV_TEMPLATE_FILTERS.add_items(list(quoting.FILTERS.items()))
hooks.Filters.ENV_PATCHES.add_items(
    [(patch.name, patch.read_text(encoding="utf-8")) for patch in (_PACKAGE / "patches").iterdir()]
)

for _service, _name in tasks.INIT:
    hooks.Filters.CLI_DO_INIT_TASKS.add_item((_service, tasks.read(_name)))
for _command in commands.COMMANDS:
    hooks.Filters.CLI_DO_COMMANDS.add_item(_command)

hooks.Filters.IMAGES_PUSH.add_item(("course-sharing", _IMAGE))


# Either of the two: `images build all` needs sources to build from, and `images pull all` needs an image that
# somebody has pushed.
@hooks.Filters.IMAGES_BUILD.add()
def _built(images: list[_Build], config: dict[str, Any]) -> list[_Build]:
    folder = ("plugins", "course-sharing", "build", "course-sharing")
    return [*images, ("course-sharing", folder, _IMAGE, ())] if config.get(_REPOSITORY) else images


@hooks.Filters.IMAGES_PULL.add()
def _pulled(images: list[tuple[str, str]], config: dict[str, Any]) -> list[tuple[str, str]]:
    return images if config.get(_REPOSITORY) else [*images, ("course-sharing", _IMAGE)]
