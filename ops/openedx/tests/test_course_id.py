"""Which keys are course runs."""

import pytest
from opaque_keys.edx.keys import CourseKey
from opaque_keys.edx.locator import LibraryLocator

from course_sharing_events.course_id import checked_by_opaque_keys, course_run_id

RUNS = [
    "course-v1:edX+DemoX+2026",
    "course-v1:A~b.c-d:e+x_1+é",
    "ccx-v1:AcmeX+CS100+2025_T1+ccx@42",
    "AcmeX/CS100/2013_Spring",
    "ÉcoleX/Français/2012",
]


@pytest.mark.parametrize("text", RUNS)
def test_runs_are_kept_as_they_are(text):
    assert course_run_id(text) == text
    assert course_run_id(CourseKey.from_string(text)) == text
    assert checked_by_opaque_keys(text)


@pytest.mark.parametrize(
    ("text", "run"),
    [
        ("course-v1:a+b+c+branch@draft-branch", "course-v1:a+b+c"),
        ("course-v1:a+b+c+branch@d+version@519665f6223ebd6980884f2b", "course-v1:a+b+c"),
        ("ccx-v1:a+b+c+ccx@1+branch@d", "ccx-v1:a+b+c+ccx@1"),
    ],
)
def test_versions_are_dropped(text, run):
    assert course_run_id(text) == run


@pytest.mark.parametrize(
    "key",
    [
        "", "x", "course-v1:", "course-v1:a+b", "course-v1:a+b+c+d", "course-v1:a+b+c\n", "course-v1:a b+c+d",
        "a/b", "a/b/c/d", "a//c", "ccx-v1:a+b+c", "ccx-v1:a+b+c+ccx@x", "library-v1:edX+lib", "lib:edX:lib",
        "block-v1:a+b+c+type@html+block@x", "course-v1:a+b+" + "c" * 250, None, 7,
        LibraryLocator(org="edX", library="lib"),
    ],
)  # fmt: skip
def test_anything_else_is_not(key):
    assert course_run_id(key) is None
