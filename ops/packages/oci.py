"""Writes an image as an OCI archive: a base, and a layer with the program above it.

Everything in it is sorted and has the time of SOURCE_DATE_EPOCH, so that it is the same each time.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import tarfile
from datetime import UTC, datetime
from pathlib import Path

EPOCH = int(os.environ["SOURCE_DATE_EPOCH"])
HEALTH = (
    "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3"
    ' && read -r _ status _ <&3 && [ "$status" = 200 ]'
)
SECOND = 10**9


def tar(entries: list[tuple[str, bytes, int]]) -> bytes:
    """Return an archive of files, each with the folders above it."""
    folders = {str(parent) for name, _, _ in entries for parent in Path(name).parents} - {"."}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        files = {name: (content, mode) for name, content, mode in entries}
        for name in sorted(folders | files.keys()):
            info = tarfile.TarInfo(name)
            info.mtime = EPOCH
            if name in folders:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
            else:
                content, info.mode = files[name]
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def tree(folder: Path) -> list[tuple[str, bytes, int]]:
    """Return the files of a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [(str(path.relative_to(folder)), path.read_bytes(), path.stat().st_mode & 0o777) for path in files]


class Layout:
    """The blobs of an image."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def put(self, kind: str, content: bytes) -> dict[str, object]:
        """Keep a blob, and return its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[f"blobs/sha256/{digest}"] = content
        return {
            "mediaType": f"application/vnd.oci.image.{kind}",
            "digest": f"sha256:{digest}",
            "size": len(content),
        }

    def put_json(self, kind: str, value: object) -> dict[str, object]:
        """Keep a document, and return its descriptor."""
        return self.put(kind, json.dumps(value, sort_keys=True).encode())


def main() -> None:
    """Write the archive."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", required=True)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--layer", type=Path, required=True)
    parser.add_argument("archive", type=Path)
    arguments = parser.parse_args()

    layout = Layout()
    layers, plain = [], []
    for content in [arguments.base.read_bytes(), tar(tree(arguments.layer))]:
        plain.append(f"sha256:{hashlib.sha256(content).hexdigest()}")
        layers.append(layout.put("layer.v1.tar+gzip", gzip.compress(content, mtime=0)))
    created = datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    config = layout.put_json(
        "config.v1+json",
        {
            "created": created,
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "User": "10001:10001",
                "ExposedPorts": {"8080/tcp": {}},
                "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "COURSE_SHARING_HTTP__LISTEN=0.0.0.0:8080"],
                "Entrypoint": ["course-sharing"],
                "Cmd": ["worker"],
                # Docker's own; as in ops/Dockerfile.
                "Healthcheck": {
                    "Test": ["CMD", "bash", "-c", HEALTH],
                    "Interval": 10 * SECOND,
                    "Timeout": 5 * SECOND,
                    "StartPeriod": 10 * SECOND,
                    "Retries": 180,
                },
                "Labels": {"org.opencontainers.image.version": arguments.version},
            },
            "rootfs": {"type": "layers", "diff_ids": plain},
        },
    )
    manifest = layout.put_json(
        "manifest.v1+json",
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": layers,
        },
    )
    name = f"course-sharing:{arguments.version}"
    manifest["annotations"] = {
        "org.opencontainers.image.ref.name": arguments.version,
        "io.containerd.image.name": name,
    }
    files = {
        "oci-layout": json.dumps({"imageLayoutVersion": "1.0.0"}).encode(),
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [manifest]}, sort_keys=True).encode(),
        **layout.blobs,
    }
    arguments.archive.write_bytes(tar([(name, content, 0o644) for name, content in files.items()]))


if __name__ == "__main__":
    main()
