"""The frozen targets: a file with the loss to reach on each problem, and where it comes from."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..experiments.units import minnet_version
from ..storage.files import write_whole
from .problems import AnyProblem
from .scores import middle, target_of

PATH = Path(__file__).with_name("targets.json")
VERSION = 2
REFERENCES = ("Momentum", "Nesterov", "RMSprop", "Adam")  # a target is what three of these four reach


def read(path: Path = PATH) -> dict[str, Any]:
    """Return the content of a file of targets.

    Raises:
        ValueError: the file is of another version, or no file of targets.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"benchmark: expected targets as JSON in {path}; got {error}") from None
    version = found.get("version") if isinstance(found, dict) else None
    if version != VERSION or not isinstance(found.get("problems"), dict):
        raise ValueError(
            f"benchmark: expected targets of version {VERSION} in {path}; got version {version}. "
            "python -m minnet.benchmark --freeze writes the present version"
        )
    return found


def with_targets(problems: Iterable[AnyProblem], path: Path = PATH) -> list[AnyProblem]:
    """Return the problems with the targets of a file; a problem that the file does not name stays as it is.

    Raises:
        ValueError: a target was frozen for other data, layers or lengths.
    """
    known, found = read(path)["problems"] if path.exists() else {}, []
    for problem in problems:
        frozen = known.get(problem.name)
        if frozen is not None and frozen["digest"] != problem.digest():
            raise ValueError(
                f"benchmark: expected problem {problem.name} as it was when its target was frozen, digest "
                f"{frozen['digest']}; got digest {problem.digest()}. Its data, layers or length have changed, so the "
                "target means nothing: freeze it again, or give the problem another name"
            )
        if frozen is not None:
            problem = replace(problem, target=frozen["target"], validation_target=frozen["validation target"])
        found.append(problem)
    return found


Finals = Mapping[str, Sequence[float]]


def frozen(problem: AnyProblem, name: str, test: Finals, validation: Finals, protocol: str) -> dict[str, Any]:
    """Return what the file keeps for a problem.

    Args:
        problem: the problem.
        name: name of its set.
        test, validation: final losses by seed of each reference rule, on both parts of the data.
        protocol: how they were tuned.
    """
    medians = {rule: middle(values) for rule, values in test.items()}
    chosen = {rule: middle(values) for rule, values in validation.items()}
    return {
        "set": name,
        "digest": problem.digest(),
        "target": target_of(list(medians.values())),
        "validation target": target_of(list(chosen.values())),
        "from": {
            "median final loss": medians,
            "median final loss on validation data": chosen,
            "protocol": protocol,
            "minnet": minnet_version(),
        },
    }


def set_of(problem: AnyProblem, path: Path = PATH) -> str | None:
    """Return the name of the set that a problem is from, or None if it is of no set, or has no frozen target."""
    known = read(path)["problems"].get(problem.name)
    return known["set"] if known is not None and known["digest"] == problem.digest() else None


def write(problems: Mapping[str, dict[str, Any]], path: Path = PATH) -> None:
    """Write targets, beside those that the file has of other problems, if it is of this version."""
    try:
        before = read(path)["problems"]
    except (OSError, ValueError):
        before = {}
    document = {"version": VERSION, "problems": {**before, **problems}}
    write_whole(path, json.dumps(document, indent=1, allow_nan=False) + "\n")
