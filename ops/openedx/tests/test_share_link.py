"""What the README says about the link to share: its function and its table, on the LMS's own cases."""

import csv
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

HERE = Path(__file__).parent
README = (HERE.parent / "README.md").read_text()
ROOT = "https://lms.example.org"
KEY = "course-v1:edX+DemoX+2026"

with (HERE.parents[2] / "tests/fixtures/lms/share-link-cases.csv").open() as file:
    CASES = list(csv.DictReader(file))


def function_in_readme():
    block = re.search(r"```python\n( +)def get_link_for_about_page.*?```", README, re.DOTALL)
    lines = block.group().splitlines()[1:-1]
    return "\n".join(line.removeprefix(block.group(1)) for line in lines)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("nothing", [None, ""])
def test_the_function_gives_what_the_lms_gives(case, nothing):
    scope = {
        "settings": SimpleNamespace(
            SOCIAL_SHARING_SETTINGS={"CUSTOM_COURSE_URLS": case["custom_course_urls"] == "true"},
            FEATURES={"ENABLE_MKTG_SITE": case["marketing_site"] == "true"},
            LMS_ROOT_URL=ROOT,
        )
    }
    exec(function_in_readme(), scope)
    overview = SimpleNamespace(
        id=KEY,
        social_sharing_url=case["social_sharing_url"] or nothing,
        marketing_url=case["marketing_url"] or nothing,
    )
    expected = f"{ROOT}/courses/{KEY}/about" if case["expected"] == "ABOUT" else case["expected"]
    assert scope["get_link_for_about_page"](overview) == expected


def test_the_table_has_the_same_cases():
    def row(case):
        source = {case["social_sharing_url"]: "social", case["marketing_url"]: "marketing"}
        cells = [
            "on" if case["custom_course_urls"] == "true" else "off",
            "on" if case["marketing_site"] == "true" else "off",
            "set" if case["social_sharing_url"] else "empty",
            "set" if case["marketing_url"] else "empty",
            "About" if case["expected"] == "ABOUT" else source[case["expected"]],
        ]
        return f"| {' | '.join(cells)} |"

    table = re.findall(r"^\| (?:on|off) \|.*$", README, re.MULTILINE)
    assert table == [row(case) for case in CASES]


def test_every_setting_and_its_default_is_in_the_readme():
    from course_sharing_events.conf import DEFAULTS

    said = dict(re.findall(r"^\| `([A-Z_]+)` \| `?([^|`]+?)`? \|", README, re.MULTILINE))
    assert said == {name: "none" if value is None else str(value) for name, value in DEFAULTS.items()}
