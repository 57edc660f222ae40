#!/usr/bin/env python3
"""Loads every file of a job's folder into Harbor's own models and checks that nothing is lost.

    python tests/harbor/load_models.py JOB_DIR

Needs the package `harbor` (0.24). Prints what was checked and exits 0, or prints each difference as
`FILE: KEY: what` and exits 1. Beside the round trip it lets Harbor compute the job's figures from the
trials and, where a trial's task is still in its place, the task's checksum and digest, and compares
them with what was written.
"""

import json
import math
import sys
import warnings
from datetime import datetime
from pathlib import Path

warnings.simplefilter("ignore")

from dirhash import dirhash
from harbor.metrics.mean import Mean
from harbor.models.job.config import JobConfig
from harbor.models.job.lock import JobLock, TrialLock
from harbor.models.job.result import JobResult, JobStats
from harbor.models.trial.config import TrialConfig
from harbor.models.trial.result import TrialResult
from harbor.publisher.packager import Packager
from harbor.utils.pass_at_k import compute_pass_at_k_by_evals

# Written for older readers; Harbor takes the fields with the longer names.
OLDER_SPELLINGS = {"stats.n_trials", "stats.n_errors"}
# Harbor holds these as sets.
SETS = {"include_exceptions", "exclude_exceptions"}


class Report:
    """Collects differences, each with its file."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.file = ""

    def add(self, key: str, problem: str) -> None:
        self.problems.append(f"{self.file}: {key or '(top)'}: {problem}")


def same_time(a: str, b: str) -> bool:
    try:
        return datetime.fromisoformat(a) == datetime.fromisoformat(b)
    except (TypeError, ValueError):
        return False


def same_key(ours: str, theirs: dict) -> str | None:
    """The key of `theirs` that `ours` became: itself, or the same number."""
    if ours in theirs:
        return ours
    for key in theirs:
        try:
            if float(key) == float(ours):
                return key
        except ValueError:
            continue
    return None


def compare(ours: object, theirs: object, key: str, report: Report) -> None:
    """Reports what of `ours` is missing or different in `theirs`."""
    name = key.rsplit(".", 1)[-1]
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for field, value in ours.items():
            path = f"{key}.{field}" if key else field
            if path in OLDER_SPELLINGS:
                continue
            match = same_key(field, theirs)
            if match is None:
                report.add(path, f"lost; it was {json.dumps(value)[:200]}")
            else:
                compare(value, theirs[match], path, report)
    elif isinstance(ours, list) and isinstance(theirs, list):
        if name in SETS:
            ours, theirs = sorted(ours), sorted(theirs)
        if len(ours) != len(theirs):
            report.add(key, f"{len(ours)} entries became {len(theirs)}")
        for i, (a, b) in enumerate(zip(ours, theirs)):
            compare(a, b, f"{key}[{i}]", report)
    elif isinstance(ours, bool) or isinstance(theirs, bool):
        if ours is not theirs:
            report.add(key, f"{ours!r} became {theirs!r}")
    elif isinstance(ours, (int, float)) and isinstance(theirs, (int, float)):
        if not math.isclose(ours, theirs, rel_tol=1e-12):
            report.add(key, f"{ours!r} became {theirs!r}")
    elif ours != theirs and not same_time(ours, theirs):
        report.add(key, f"{ours!r} became {theirs!r}")


def load(model: type, path: Path, report: Report):
    """The file as a `model`, compared with what was read; None when it does not load."""
    report.file = str(path)
    try:
        text = path.read_text()
        loaded = model.model_validate_json(text)
    except (OSError, ValueError) as error:
        report.add("", f"does not load as {model.__name__}: {error}")
        return None
    ours = json.loads(text)
    compare(ours, json.loads(loaded.model_dump_json()), "", report)
    # Harbor's writers leave no field out, so neither do ours.
    written = json.loads(loaded.model_dump_json())
    for field in written.keys() - ours.keys() - {"trial_results"}:
        report.add(field, f"not written; Harbor writes {json.dumps(written[field])[:200]}")
    return loaded


def compare_figures(job: JobResult, trials: list[TrialResult], report: Report) -> None:
    """Compares the job's figures with Harbor's own from the same trials."""
    expected = JobStats.from_trial_results(trials)
    for counted in ("n_completed_trials", "n_errored_trials", "n_cancelled_trials"):
        if getattr(job.stats, counted) != getattr(expected, counted):
            report.add(
                f"stats.{counted}",
                f"{getattr(job.stats, counted)}; Harbor counts {getattr(expected, counted)}",
            )
    by_key: dict[str, list[TrialResult]] = {}
    for trial in trials:
        model = trial.agent_info.model_info
        key = JobStats.format_agent_evals_key(
            trial.agent_info.name, model.name if model else None, trial.source or "adhoc"
        )
        by_key.setdefault(key, []).append(trial)
    estimates = compute_pass_at_k_by_evals(trials)
    for key, group in by_key.items():
        rewards = [t.verifier_result.rewards if t.verifier_result else None for t in group]
        expected.evals[key].metrics = [Mean().compute(rewards)]
        expected.evals[key].pass_at_k = estimates.get(key, {})
    if set(expected.evals) != set(job.stats.evals):
        report.add("stats.evals", f"{sorted(job.stats.evals)}; Harbor has {sorted(expected.evals)}")
    for key, theirs in expected.evals.items():
        if key in job.stats.evals:
            ours = job.stats.evals[key]
            for lists in (*ours.reward_stats.values(), *theirs.reward_stats.values()):
                for names in lists.values():
                    names.sort()
            for names in (*ours.exception_stats.values(), *theirs.exception_stats.values()):
                names.sort()
            compare(
                json.loads(ours.model_dump_json()),
                json.loads(theirs.model_dump_json()),
                f"stats.evals.{key}",
                report,
            )


def compare_task(result: TrialResult, lock: TrialLock | None, report: Report) -> None:
    """Compares a task's two digests with Harbor's own, if the task is still where it was."""
    path = result.config.task.path
    if path is None or not (path / "task.toml").exists():
        return
    checksum = dirhash(path, "sha256")
    if result.task_checksum != checksum:
        report.add("task_checksum", f"{result.task_checksum}; Harbor has {checksum}")
    digest = "sha256:" + Packager.compute_content_hash(path)[0]
    if lock is not None and lock.task.digest != digest:
        report.add("lock: task.digest", f"{lock.task.digest}; Harbor has {digest}")


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    job_dir = Path(sys.argv[1])
    report = Report()
    job = load(JobResult, job_dir / "result.json", report)
    load(JobConfig, job_dir / "config.json", report)
    lock = load(JobLock, job_dir / "lock.json", report)
    results, locks = [], []
    trial_dirs = sorted(p.parent for p in job_dir.glob("*/config.json"))
    for trial_dir in trial_dirs:
        config = load(TrialConfig, trial_dir / "config.json", report)
        trial_lock = load(TrialLock, trial_dir / "lock.json", report)
        result = load(TrialResult, trial_dir / "result.json", report)
        if trial_lock is not None:
            locks.append(trial_lock)
        if result is not None:
            if result.finished_at is not None:
                results.append(result)
            if config is not None and result.config.model_dump() != config.model_dump():
                report.add("config", "differs from the trial's config.json")
            compare_task(result, trial_lock, report)
            if result.trial_name != trial_dir.name:
                report.add("trial_name", f"{result.trial_name!r} is not the folder's name")
            if job is not None and config is not None and config.job_id != job.id:
                report.add("config.job_id", f"{config.job_id} is not the job's id {job.id}")
    report.file = str(job_dir / "lock.json")
    if lock is not None:
        recorded = list(lock.trials)
        for trial_lock in locks:
            if trial_lock in recorded:
                recorded.remove(trial_lock)
            else:
                report.add("trials", f"none equals the lock of {trial_lock.task.path}")
    report.file = str(job_dir / "result.json")
    if job is not None:
        compare_figures(job, results, report)
    for problem in report.problems:
        print(problem, file=sys.stderr)
    print(f"{job_dir}: {len(trial_dirs)} trials, {len(report.problems)} differences")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
