"""Whole training runs: 32 runs of a small network, each with a learning rate, a seed and an order of its own.

    python bench/runs.py                            every problem and engine, on one thread and on two
    python bench/runs.py iris --engines minnet JAX  a part of them
    python bench/runs.py --quick --markdown         shorter runs; tables in Markdown
    python bench/runs.py --emit                     only the time to emit recorded steps, for bench/workloads.py

A run goes from the data to the accuracy on held-out data. Engines alternate in rounds, each in processes of its own on
the same processors. Prints medians over the rounds and ratios to minnet, with the time of the first use apart and
included, and the time from the start of Python to the first result. Everything is written to bench/out/runs.json.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from engines import ENGINES, Engine, limit
from peers import Process, fall_asleep
from trainings import PROBLEMS, Data, Problem, data_of

from minnet.storage.files import write_whole

HERE = Path(__file__).parent
OUT = HERE / "out"
PACKAGES = {"sklearn": "scikit-learn"}  # where a package has another name than its module


# Processes -------------------------------------------------------------------------------------------------


def serve(pipe: Any, name: str, problem: Problem, data: Data, processors: list[int]) -> None:
    """The life of an engine's process: train the runs that it is sent, until there are no more."""
    limit(processors)
    engine = ENGINES[name].start(problem, data, len(processors))
    pipe.send(None)
    while (request := pipe.recv()) is not None:
        start = time.perf_counter()
        accuracies = engine.train(request[0])
        seconds = time.perf_counter() - start
        fall_asleep()
        pipe.send((seconds, accuracies))


class Team:
    """The processes of one engine: one, or one for each processor where it divides the runs."""

    def __init__(self, name: str, problem: Problem, data: Data, processors: list[int]) -> None:
        groups = [[each] for each in processors] if ENGINES[name].divides else [processors]
        self._processes = [Process(len(group), serve, name, problem, data, group) for group in groups]
        for process in self._processes:
            process.answer()

    def train(self, runs: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the seconds until the last process has done its share, and the accuracies in the order of the runs."""
        shares = [runs[i :: len(self._processes)] for i in range(len(self._processes))]
        for process, share in zip(self._processes, shares, strict=True):
            process.send(share)
        answers = [process.answer() for process in self._processes]
        accuracies = np.empty(len(runs))
        for i, (_, found) in enumerate(answers):
            accuracies[i :: len(answers)] = found
        return max(seconds for seconds, _ in answers), accuracies

    def close(self) -> None:
        for process in self._processes:
            process.close()


# What is measured ------------------------------------------------------------------------------------------


def runs_of(engine: Engine, count: int, turn: int, processors: int) -> np.ndarray:
    """Numbers of the runs of a round: all, or the next few where the engine is slow."""
    few = min(count, max(2, processors)) if engine.slow else count
    return (turn * few + np.arange(few)) % count


def alternate(teams: dict[str, Team], count: int, rounds: int, processors: int) -> dict[str, dict]:
    """Seconds for one run in the first use and in each round, and the accuracies of each run."""
    found: dict[str, dict] = {name: {"seconds a run": [], "accuracies": {}} for name in teams}
    for turn in range(-1, rounds):
        for name, team in teams.items():
            runs = runs_of(ENGINES[name], count, max(turn, 0), processors)
            seconds, accuracies = team.train(runs)
            found[name]["accuracies"].update(zip(runs.tolist(), accuracies.tolist(), strict=True))
            if turn < 0:
                found[name]["first use"], found[name]["runs in first use"] = seconds, len(runs)
            else:
                found[name]["seconds a run"].append(seconds / len(runs))
    return found


def summary(problem: Problem, count: int, found: dict[str, dict]) -> dict[str, dict]:
    """Of each engine, what the table shows: times in seconds, accuracies as fractions."""
    rows = {}
    for name, measured in found.items():
        each, accuracies = statistics.median(measured["seconds a run"]), list(measured["accuracies"].values())
        compilation = max(0.0, measured["first use"] - each * measured["runs in first use"])
        rows[name] = {
            "step": each / problem.steps,
            "runs a minute": 60 / each,
            "compilation": compilation,
            "runs a minute, compilation included": 60 * count / (compilation + count * each),
            "accuracy": statistics.fmean(accuracies),
            "standard error": float(np.std(accuracies, ddof=1)) / len(accuracies) ** 0.5
            if len(accuracies) > 1
            else 0.0,
            **measured,
        }
        if "minnet" in found:
            pairs = zip(measured["seconds a run"], found["minnet"]["seconds a run"], strict=True)
            rows[name]["time / minnet"] = statistics.median(mine / minnets for mine, minnets in pairs)
    return rows


def differences(rows: dict[str, dict]) -> list[str]:
    """Engines whose mean accuracy is not the first one's: beyond four standard errors of the difference, and 1 %."""
    (first, reference), *others = rows.items()
    found = []
    for name, row in others:
        noise = np.hypot(row["standard error"], reference["standard error"])
        if abs(row["accuracy"] - reference["accuracy"]) > 4 * noise + 0.01:
            found.append(f"{name} has {row['accuracy']:.3f}, {first} {reference['accuracy']:.3f}")
    return found


def first_results(name: str, problem: str, share: float, data: Data, repeats: int) -> dict[str, list[float]]:
    """Seconds from the start of Python to the accuracy of one run, on one thread; "cold" with empty folders of caches.

    Engines that keep no compiled code have warm starts only.
    """
    program = f"from engines import first_result; first_result({name!r}, {problem!r}, {share}, 'FILE')"
    found: dict[str, list[float]] = {"cold": [], "warm": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        np.savez(path, **data._asdict())
        single = dict.fromkeys(("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
        environment = {
            **os.environ, **single, "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, sys.path)]),
            "NUMBA_CACHE_DIR": f"{folder}/numba", "JAX_COMPILATION_CACHE_DIR": f"{folder}/jax",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            "JAX_PLATFORMS": "cpu",
        }  # fmt: skip
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
        command = [sys.executable, "-c", program.replace("FILE", str(path))]
        for kind in ["cold"] * ENGINES[name].keeps + ["warm"] * repeats:
            start = time.perf_counter()
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
            found[kind].append(time.perf_counter() - start)
    return found


def emission(repeats: int = 3) -> dict[str, dict[str, float]]:
    """Milliseconds to emit the recorded steps of each workload: the longest of its programs, and their number."""
    from workloads import LEARNING_RATE, WORKLOADS

    import minnet as mn
    from minnet.kernels.replay import program
    from minnet.training.recorded import steps

    seconds: list[float] = []
    plain, patience = program.emit, steps.PATIENCE

    def timed(*args: Any) -> Any:
        start = time.perf_counter()
        made = plain(*args)
        seconds.append(time.perf_counter() - start)
        return made

    found = {}
    program.emit, steps.PATIENCE = timed, 0
    try:
        for name, work in WORKLOADS.items():
            medians: list[list[float]] = []
            for _ in range(repeats):
                seconds.clear()
                program._functions.clear()
                trainer = mn.Trainer(
                    work.net(), work.data(), rule=work.rule, lr=LEARNING_RATE, batch_size=work.batch, steps=3
                )
                trainer.run(False)
                assert trainer.recorded.reason is None, trainer.recorded.reason
                medians.append(list(seconds))
            found[name] = {
                "milliseconds": 1e3 * max(map(statistics.median, zip(*medians, strict=True))),
                "programs": len(medians[0]),
            }
    finally:
        program.emit, steps.PATIENCE = plain, patience
    return found


def kernel_seconds(pipe: Any, problem: Problem, data: Data, processors: list[int], count: int) -> None:
    """In a process of its own: seconds of the compiled loops in one step, the median of three rounds."""
    limit(processors)
    from engine_minnet import Parts

    engine, runs = Parts(problem, data, 1), np.arange(count)
    engine.train(runs)
    pipe.send(statistics.median(engine.kernel_seconds(runs) for _ in range(3)))
    pipe.recv()


# Tables ----------------------------------------------------------------------------------------------------


def table(head: list[str], lines: list[list[str]], markdown: bool) -> str:
    """A table in Markdown, or in columns for a terminal."""
    if markdown:
        return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    rows = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in [head, *lines])
    return "\n".join(row.rstrip() for row in rows)


HEAD = [
    "problem", "threads", "engine", "us a step", "time / minnet", "runs a minute", "first use, s",
    "runs a minute with it", "accuracy",
]  # fmt: skip


def lines_of(name: str, threads: int, rows: dict[str, dict]) -> list[list[str]]:
    return [
        [
            name, str(threads), engine, f"{1e6 * row['step']:.1f}",
            f"{row['time / minnet']:.2f}" if "time / minnet" in row else "-",
            f"{row['runs a minute']:.0f}", f"{row['compilation']:.2f}",
            f"{row['runs a minute, compilation included']:.0f}",
            f"{row['accuracy']:.3f} ± {row['standard error']:.3f}",
        ]
        for engine, row in rows.items()
    ]  # fmt: skip


def start_lines(problem: str, starts: dict[str, dict[str, list[float]]]) -> list[list[str]]:
    def cell(values: list[float]) -> str:
        return f"{statistics.median(values):.2f}" if values else "-"

    return [[problem, engine, cell(found["cold"]), cell(found["warm"])] for engine, found in starts.items()]


def versions() -> dict[str, str]:
    """Of the packages that are installed; minnet may also be on the path only."""
    found = {"python": platform.python_version()}
    for name in ["numpy", "numba", *{engine.library: None for engine in ENGINES.values()}]:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(PACKAGES.get(name, name))
    return found


# The command -----------------------------------------------------------------------------------------------


def parsed(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", metavar="PROBLEM", help=f"of {', '.join(PROBLEMS)}; all if none")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=[*ENGINES], metavar="ENGINE")
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--runs", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--starts", type=int, default=1, help="warm starts of each engine; 0 leaves out the cold ones too"
    )
    parser.add_argument("--share", type=float, default=1.0, help="of the epochs of each problem")
    parser.add_argument("--quick", action="store_true", help="a quarter of the epochs, 2 rounds, no starts")
    parser.add_argument("--emit", action="store_true", help="measure the emission of recorded steps, and nothing else")
    parser.add_argument("--markdown", action="store_true", help="print tables in Markdown")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of runs.json")
    arguments = parser.parse_args(argv)
    unknown = set(arguments.problems) - PROBLEMS.keys()
    if unknown:
        parser.error(f"expected problems of {', '.join(PROBLEMS)}; got {', '.join(sorted(unknown))}")
    there = len(os.sched_getaffinity(0))
    if not all(1 <= threads <= there for threads in arguments.threads):
        parser.error(f"expected from 1 to {there} threads, as many as processors; got {arguments.threads}")
    if not 1 <= arguments.runs <= 32:
        parser.error(f"expected from 1 to 32 runs; got {arguments.runs}")
    if arguments.quick:
        arguments.share, arguments.rounds, arguments.starts = arguments.share / 4, 2, 0
    arguments.problems = arguments.problems or [*PROBLEMS]
    return arguments


def measure(arguments: argparse.Namespace, engines: list[str]) -> dict[str, dict]:
    """Measure all problems; print a line for each engine as soon as it is known."""
    processors, results = sorted(os.sched_getaffinity(0)), {}
    for name in arguments.problems:
        problem, data = PROBLEMS[name].shortened(arguments.share), data_of(name)
        result: dict[str, Any] = {"steps of a run": problem.steps, "threads": {}}
        for threads in arguments.threads:
            chosen = [engine for engine in engines if threads > 1 or not ENGINES[engine].several]
            teams: dict[str, Team] = {}
            try:
                for engine in chosen:
                    teams[engine] = Team(engine, problem, data, processors[:threads])
                found = alternate(teams, arguments.runs, arguments.rounds, threads)
            finally:
                for team in teams.values():
                    team.close()
            rows = summary(problem, arguments.runs, found)
            result["threads"][threads] = rows
            for why in differences(rows):
                print(f"runs.py: {name}, {threads} threads: accuracies differ: {why}", file=sys.stderr)
        if "minnet" in engines:
            process = Process(1, kernel_seconds, problem, data, processors[:1], min(8, arguments.runs))
            result["kernels of a step"] = process.answer()
            process.close()
        if arguments.starts:
            alone = [engine for engine in engines if not ENGINES[engine].several]
            result["first results"] = {
                engine: first_results(engine, name, arguments.share, data, arguments.starts) for engine in alone
            }
        results[name] = result
        keep("runs", results, arguments.out)  # what was measured is not lost if the next problem is broken off
        print(f"{name} is done", file=sys.stderr, flush=True)
    return results


def report(results: dict[str, dict], markdown: bool) -> None:
    lines = [
        line
        for name, result in results.items()
        for threads, rows in result["threads"].items()
        for line in lines_of(name, threads, rows)
    ]
    print(table(HEAD, lines, markdown))
    kernels = [
        [name, f"{1e6 * result['kernels of a step']:.2f}"]
        for name, result in results.items()
        if "kernels of a step" in result
    ]
    if kernels:
        print("\n" + table(["problem", "minnet's compiled loop, us a step"], kernels, markdown))
    starts = [line for name, result in results.items() for line in start_lines(name, result.get("first results", {}))]
    if starts:
        print("\n" + table(["problem", "engine", "cold start to a result, s", "warm, s"], starts, markdown))


def keep(kind: str, found: dict[str, Any], folder: Path) -> None:
    """Write what was measured to KIND.json, with the processor and the versions."""
    about = {"processor": platform.processor() or platform.machine(), "versions": versions()}
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{kind}.json", json.dumps({**about, kind: found}, indent=1))


def main(argv: list[str] | None = None) -> None:
    arguments = parsed(argv)
    if arguments.emit:
        found = emission()
        keep("emission", found, arguments.out)
        lines = [[name, f"{row['milliseconds']:.1f}", str(row["programs"])] for name, row in found.items()]
        print(table(["workload", "longest emission, ms", "programs"], lines, arguments.markdown))
    else:
        engines = [name for name in ENGINES if name in arguments.engines]
        absent = [name for name in engines if not ENGINES[name].is_there()]
        if absent:
            print(f"not there, so left out: {'; '.join(absent)}", file=sys.stderr)
        engines = [name for name in engines if name not in absent]
        report(measure(arguments, engines), arguments.markdown)


if __name__ == "__main__":
    main()
