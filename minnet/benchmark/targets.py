"""The frozen targets: a file with the loss to reach on each problem, and where it comes from."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..experiments.units import minnet_version
from ..storage.files import write_whole
from .problems import AnyProblem
from .scores import middle, target_of

PATH = Path(__file__).with_name("targets.json")
VERSION = 1
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
        found.append(problem if frozen is None else replace(problem, target=frozen["target"]))
    return found


def frozen(problem: AnyProblem, finals: Mapping[str, list[float]], protocol: str) -> dict[str, Any]:
    """Return what the file keeps for a problem, given the final losses of the reference rules by seed."""
    medians = {name: middle(values) for name, values in finals.items()}
    return {
        "digest": problem.digest(),
        "target": target_of(list(medians.values())),
        "from": {"median final loss": medians, "protocol": protocol, "minnet": minnet_version()},
    }


def write(problems: Mapping[str, dict[str, Any]], path: Path = PATH) -> None:
    """Write targets, beside those that the file has of other problems."""
    before = read(path)["problems"] if path.exists() else {}
    document = {"version": VERSION, "problems": {**before, **problems}}
    write_whole(path, json.dumps(document, indent=1, allow_nan=False) + "\n")
