#!/usr/bin/env python3
"""Fills in the digests of crates/contract/tests/golden/trees.json with the real tools.

    python tests/harbor/task_digests.py crates/contract/tests/golden/trees.json

`dirhash` is PyPI's (0.5), `lock` the content hash of Harbor's packager (0.24); null where the tool
refuses the tree.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

from dirhash import dirhash
from harbor.publisher.packager import Packager
from scantree import SymlinkRecursionError


def build(root: Path, tree: dict) -> None:
    for folder in tree.get("folders", []):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, content in tree.get("files", {}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode())
    for name, target in tree.get("links", {}).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, path)


def main() -> int:
    path = Path(sys.argv[1])
    trees = json.loads(path.read_text())
    for tree in trees:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "task"
            root.mkdir()
            build(root, tree)
            try:
                tree["dirhash"] = dirhash(root, "sha256")
            except SymlinkRecursionError as error:
                print(f"{tree['name']}: {error}")
                tree["dirhash"] = None
            tree["lock"] = "sha256:" + Packager.compute_content_hash(root)[0]
    path.write_text(json.dumps(trees, indent=2, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
