"""Writes what the program is made of, as CycloneDX: every crate that is compiled into it, with version, licence and hash."""

import argparse
import json
import os
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def main() -> None:
    """Write the document, if its schema allows it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("document", type=Path)
    arguments = parser.parse_args()

    command = [
        "cargo",
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        arguments.target,
    ]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    lock = tomllib.loads(Path("Cargo.lock").read_text(encoding="utf-8"))
    hashes = {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}

    def uses(key: str) -> list[str]:
        # What only builds or tests need is not in the program.
        kept = [
            dep["pkg"] for dep in nodes[key]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])
        ]
        return sorted(kept, key=lambda other: purl(other))

    def purl(key: str) -> str:
        return f"pkg:cargo/{packages[key]['name']}@{packages[key]['version']}"

    def component(key: str) -> dict[str, object]:
        package = packages[key]
        found: dict[str, object] = {
            "type": "library",
            "bom-ref": purl(key),
            "name": package["name"],
            "version": package["version"],
            "purl": purl(key),
        }
        if licence := package["license"]:
            found["licenses"] = [{"expression": licence.replace("/", " OR ")}]
        if checksum := hashes.get((package["name"], package["version"])):
            found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        return found

    program = next(key for key, package in packages.items() if package["name"] == "course-sharing")
    seen, left = set(), [program]
    while left:
        key = left.pop()
        if key not in seen:
            seen.add(key)
            left.extend(uses(key))
    order = sorted(seen, key=purl)
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": component(program) | {"type": "application"},
        },
        "components": [component(key) for key in order if key != program],
        "dependencies": [
            {"ref": purl(key), "dependsOn": [purl(other) for other in uses(key)]} for key in order
        ],
    }
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"the document does not follow its schema: {error}")
    arguments.document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
