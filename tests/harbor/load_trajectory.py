#!/usr/bin/env python3
"""Loads trajectory documents into Harbor's own model and checks that nothing is lost.

    python tests/harbor/load_trajectory.py FILE...

Needs the package `harbor` (0.24). A FILE is a `trajectory.json`, one of a summary's documents, or an
insta snapshot of one. Files that a document refers to must lie beside it, except for snapshots.
Prints one line a file and exits 0, or prints `FILE: what` and exits 1.
"""

import json
import sys
from pathlib import Path

from harbor.models.trajectories import Trajectory
from pydantic import ValidationError


def read(path: Path) -> dict:
    text = path.read_text()
    if path.suffix == ".snap":
        text = text.split("\n---\n", 1)[1].replace('"[time]"', '"2026-01-01T00:00:00Z"')
    return json.loads(text)


def references(document: Trajectory) -> list[str]:
    results = [r for step in document.steps if step.observation for r in step.observation.results]
    found = [ref for result in results for ref in result.subagent_trajectory_ref or []]
    return [ref.trajectory_path for ref in found if ref.trajectory_path]


def problems(path: Path) -> list[str]:
    try:
        raw = read(path)
        document = Trajectory.model_validate(raw)
    except (OSError, ValueError, IndexError, ValidationError) as error:
        return [str(error)]
    found = []
    if document.to_json_dict() != raw:
        found.append("Harbor reads it as something else: a field was dropped or changed")
    totals = document.final_metrics
    if totals is None or totals.total_steps != len(document.steps):
        found.append("final_metrics.total_steps is not the number of steps")
    if path.suffix != ".snap":
        for name in references(document):
            if not (path.parent / name).is_file():
                found.append(f"refers to {name}, which is not there")
    return found


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    failed = False
    for name in sys.argv[1:]:
        found = problems(Path(name))
        failed = failed or bool(found)
        for problem in found:
            print(f"{name}: {problem}")
        if not found:
            print(f"{name}: loads")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
