"""What the document does not say to schemathesis.

That is how a course's key is made, and that no answer of this version has a field that is not described.
"""

import string

import schemathesis
from hypothesis import strategies

PARTS = strategies.text(alphabet=string.ascii_letters + string.digits + "é漢_-.", min_size=1, max_size=20)
RUNS = strategies.tuples(PARTS, PARTS, PARTS)
NUMBERS = strategies.integers(min_value=0, max_value=2**63)

schemathesis.openapi.format(
    "course-key",
    strategies.one_of(
        strategies.just("course-v1:edX+DemoX+2026"),
        RUNS.map(lambda run: "course-v1:" + "+".join(run)),
        RUNS.map("/".join),
        strategies.builds(lambda run, number: f"ccx-v1:{'+'.join(run)}+ccx@{number}", RUNS, NUMBERS),
    ),
)


def close(schema: object) -> None:
    """Allow no field beside those that are described."""
    if isinstance(schema, list):
        for inner in schema:
            close(inner)
    elif isinstance(schema, dict):
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for inner in schema.values():
            close(inner)


@schemathesis.hook
def before_load_schema(context: schemathesis.HookContext, raw_schema: dict) -> None:
    """Close the schemas of the answers, which are open for the fields of later versions."""
    close(raw_schema["components"]["schemas"])
