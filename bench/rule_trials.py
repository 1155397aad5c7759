"""Trials per minute of the benchmark of update rules, beside the same protocol written by hand in PyTorch.

    python bench/rule_trials.py             five problems of the set small, Momentum and Adam
    python bench/rule_trials.py --quick     one problem, Adam, fewer trials

A trial draws a rate, trains 300 steps with a rate that falls along a cosine, and measures loss and accuracy on the
validation data at every 15th step; the trial with the least time to the target wins. Both libraries have the same data,
architecture, number of steps and measurements. PyTorch does it as users write it: ``nn.Sequential``, an optimizer with
``fused=True``, and a slice of the data, put in order once an epoch, as a batch. Each library has a process and one
thread of its own; they take turns, and medians of the rounds are printed and written to ``bench/out/rule_trials.json``.
"""

import argparse
import json
import math
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from peers import Process, fall_asleep, limit_threads

OUT = Path(__file__).parent / "out"
PROBLEMS = ("digits_softmax", "digits_mlp", "digits_deep", "digits_deep_bn", "digits_cnn")
RULES = ("Momentum", "Adam")


def with_minnet(problem: Any, rule: str, trials: int) -> float:
    """Tune a rule; return the final loss of the best trial."""
    from minnet import benchmark as b

    # One trial is reported, as a benchmark has no fewer; it is counted by the caller.
    result = b.run([problem], b.chosen([rule]), b.Protocol(trials, (0,), (100,)))
    return min(float(score) for score in result.cells[problem.name, rule].trial_scores)


def model_of(name: str) -> Any:
    """Return the network of a problem in PyTorch."""
    from torch import nn

    if name == "digits_softmax":
        return nn.Sequential(nn.Linear(64, 10))
    if name == "digits_mlp":
        return nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))
    if name == "digits_cnn":
        convolution = (nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        return nn.Sequential(nn.Unflatten(1, (1, 8, 8)), *convolution, nn.Linear(128, 10))
    parts: list[Any] = []
    for i in range(5):
        parts.append(nn.Linear(50 if i else 64, 50))
        parts += [nn.BatchNorm1d(50)] if name == "digits_deep_bn" else []
        parts.append(nn.ReLU())
    return nn.Sequential(*parts, nn.Linear(50, 10))


def with_torch(problem: Any, rule: str, trials: int) -> float:
    """Tune a rule; return the final loss of the best trial."""
    best, seeds = (math.inf, math.inf), np.random.default_rng(0)
    for seed in range(trials + 1):
        curve = torch_run(problem, rule, float(10 ** seeds.uniform(-4, 1)), seed)
        reached = next((i for i, loss in enumerate(curve) if loss <= problem.validation_target), math.inf)
        best = min(best, (reached, curve[-1] if math.isfinite(curve[-1]) else math.inf))
    return best[1]


def torch_run(problem: Any, rule: str, lr: float, seed: int) -> list[float]:
    """Return the validation losses of one run."""
    import torch
    from torch.nn.functional import cross_entropy

    torch.manual_seed(seed)
    model = model_of(problem.name)
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": problem.l2}, {"params": others}]
    optimizer: torch.optim.Optimizer
    if rule == "Adam":
        optimizer = torch.optim.Adam(groups, lr, fused=True)
    else:
        optimizer = torch.optim.SGD(groups, lr, momentum=0.9, fused=True)
    (x, y), (held_x, held_y) = (tuple(map(torch.from_numpy, part)) for part in (problem.data, problem.validation))
    curve: list[float] = []
    step = 0
    while step < problem.steps:
        order = torch.randperm(len(x))
        xs, ys = x.index_select(0, order).split(problem.batch), y.index_select(0, order).split(problem.batch)
        for batch, labels in zip(xs, ys, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = 0.5 * lr * (1 + math.cos(math.pi * step / problem.steps))
            optimizer.zero_grad()
            cross_entropy(model(batch), labels).backward()
            optimizer.step()
            step += 1
            if step % problem.every == 0:
                model.eval()
                with torch.no_grad():
                    scores = model(held_x)
                    curve.append(cross_entropy(scores, held_y).item())
                    (scores.argmax(1) == held_y).float().mean().item()
                model.train()
            if step == problem.steps:
                break
    return curve


def serve(pipe: Any, library: str) -> None:
    """The life of a library's process: (problem, rule, trials) -> (trials per minute, loss of the best)."""
    limit_threads(library, 1)
    run = with_minnet if library == "minnet" else with_torch
    while (request := pipe.recv()) is not None:
        problem, rule, trials = request
        begun = time.perf_counter()
        loss = run(problem, rule, trials)
        spent = time.perf_counter() - begun
        fall_asleep()
        pipe.send((60 * (trials + 1) / spent, loss))


def main(arguments: list[str] | None = None) -> None:
    from minnet import benchmark as b
    from minnet.storage.files import write_whole

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one problem, one rule, few trials")
    parser.add_argument("--trials", type=int, help="trials in a round; 20 unless told, 5 for --quick")
    parser.add_argument("--rounds", type=int, help="rounds after one that warms up; 5 unless told, 3 for --quick")
    given = parser.parse_args(arguments)
    names, rules = (PROBLEMS[1:2], RULES[1:]) if given.quick else (PROBLEMS, RULES)
    trials, rounds = given.trials or (5 if given.quick else 20), given.rounds or (3 if given.quick else 5)
    problems = {problem.name: problem for problem in b.problems("small")}
    libraries = {library: Process(1, serve, library) for library in ("minnet", "torch")}
    found = []
    print("| problem | rule | minnet, trials/min | PyTorch, trials/min | ratio | validation loss |\n|" + "---|" * 6)
    for name in names:
        for rule in rules:
            for process in libraries.values():
                process.ask(problems[name], rule, 2)
            answers = [{k: p.ask(problems[name], rule, trials) for k, p in libraries.items()} for _ in range(rounds)]
            mine, theirs = (statistics.median(a[k][0] for a in answers) for k in libraries)
            losses = {k: answers[-1][k][1] for k in libraries}
            ratio = statistics.median(a["minnet"][0] / a["torch"][0] for a in answers)
            shown = f"{losses['minnet']:.3f}, {losses['torch']:.3f}"
            print(f"| {name} | {rule} | {mine:.0f} | {theirs:.0f} | {ratio:.1f} | {shown} |", flush=True)
            found.append({"problem": name, "rule": rule, "minnet": mine, "PyTorch": theirs, "ratio": ratio, **losses})
    for process in libraries.values():
        process.close()
    OUT.mkdir(exist_ok=True)
    write_whole(OUT / "rule_trials.json", json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
