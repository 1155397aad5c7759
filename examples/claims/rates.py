"""N19, L2 to L5, C1, C3, B2: rates that change during the run."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

import minnet as mn
from minnet import plots, schedules

from . import range_test
from .base import (
    CHOOSING,
    CYCLES,
    JORDAN,
    Effort,
    Figure,
    Part,
    Result,
    Row,
    claim,
    difference,
    flat_digits,
    interval,
    mlp,
    verdict,
    verdict_of,
)

ROUNDING = 1e-12  # the share by which a value may differ from its formula


def furthest(values: np.ndarray, formula: Iterable[float]) -> float:
    """Largest relative distance of a schedule's values from those of a formula written apart from it."""
    expected = np.fromiter(formula, float)
    return float(np.max(np.abs(values - expected) / expected))


# Decay -------------------------------------------------------------------------------------------------------

PER_EPOCH, EPOCHS, START = 12, 30, 0.2
# (schedule with its lengths in epochs, the formula of the notes)
DECAYS: dict[str, tuple[schedules.Schedule, Callable[[float], float]]] = {
    "half every 5 epochs": (schedules.Step(START, 5, 0.5), lambda epoch: START / 2 ** (epoch // 5)),
    "a tenth every 20": (schedules.Step(START, 20, 0.1), lambda epoch: START * 0.1 ** (epoch // 20)),
    "exp(-0.1 t)": (schedules.Exponential(START, 0.1), lambda epoch: START * math.exp(-0.1 * epoch)),
    "1 / (1 + 0.3 t)": (schedules.InverseTime(START, 0.3), lambda epoch: START / (1 + 0.3 * epoch)),
}
# The first cannot bring the loss of every sample to zero, so noise in its gradient remains; the second can.
NETWORKS: dict[str, tuple[list[mn.Layer], float]] = {
    "linear classifier, L2 0.01": (mlp(), 0.01),
    "64-100-10 network": (mlp(100), 0.0),
}


def decaying_runs(layers: list[mn.Layer], l2: float, seeds: int) -> dict[str, tuple[list[mn.History], np.ndarray]]:
    """Histories, and losses on all training data at the end, over seeds, for a constant rate and each decay."""
    train, val = mn.data.split(flat_digits(), (1 / 3, 2 / 3), seed=0)
    rates: dict[str, schedules.Schedule | float] = {"constant": START, "halved when stalled": START}
    rates |= {label: schedule.in_epochs(PER_EPOCH) for label, (schedule, _) in DECAYS.items()}
    found = {}
    for label, lr in rates.items():
        runs, ends = [], np.empty(seeds)
        for seed in range(seeds):
            net = mn.Net(layers, 64, mn.SoftmaxCrossEntropy(), l2=l2, seed=seed)
            callbacks = [mn.HalveOnStall(patience=3)] if label == "halved when stalled" else []
            options = {"epochs": EPOCHS, "validation": val, "seed": seed, "callbacks": callbacks, "progress": False}
            runs.append(mn.fit(net, train, rule=mn.Momentum(0.9), lr=lr, batch_size=50, **options))
            ends[seed] = net.loss(*train)
        found[label] = runs, ends
    return found


@claim(
    "N19",
    "annealing the learning rate helps",
    "It helps to anneal the learning rate: by steps (half every 5 epochs, or a tenth every 20), exponentially, "
    "a0 * exp(-k * t), by 1/t, a0 / (1 + k * t), or by half whenever the validation error stalls.",
)
def annealing_helps(out: Path, effort: Effort) -> Row:
    seeds = effort.repeats(5, 20)
    steps = np.arange(EPOCHS * PER_EPOCH)
    errors = [
        furthest(schedule.in_epochs(PER_EPOCH).preview(len(steps)), map(formula, steps / PER_EPOCH))
        for schedule, formula in DECAYS.values()
    ]
    drawn, axes = plots.figure(1 + len(NETWORKS), height=3.2)
    short, words, parts = [], [], {"the formulas": max(errors) < ROUNDING}
    for axis, (kind, (layers, l2)) in zip(axes[1:], NETWORKS.items(), strict=True):
        found = decaying_runs(layers, l2, seeds)
        for rank, (label, (runs, _)) in enumerate(found.items()):
            if axis is axes[1]:
                axes[0].plot(runs[0].steps["step"], runs[0].steps["lr"], label=label, **plots.look(rank))
            middle = np.median([run["loss"] for run in runs], axis=0)
            axis.plot(runs[0]["epoch"][3:], middle[3:], **plots.look(rank))  # before that they are one
        axis.set(title=kind, xlabel="epoch", ylabel=f"training loss, median of {seeds} seeds", yscale="log")
        constant = found["constant"][1]
        gains = {label: difference(constant, ends) for label, (_, ends) in found.items() if label != "constant"}
        words.append(
            f"{kind}, training loss after {EPOCHS} epochs at constant rate {START} {constant.mean():.4f}, more "
            "than with " + ", ".join(f"{label} {gain}" for label, (gain, _) in gains.items())
        )
        helped = sum(clear for _, clear in gains.values())
        name = kind.partition(",")[0]
        short.append(f"the {name} {helped} of {len(gains)}")
        parts[f"the {name}"] = helped == len(gains)
    axes[0].set(title="Rates (the controller's: one seed)", xlabel="step", ylabel="learning rate", yscale="log")
    plots.legend(axes[0])
    plots.save(drawn, out / "n19_decay.png")
    return Row(
        "it helps",
        f"kinds of decay that help: {', '.join(short)}",
        verdict_of(parts),
        f"Largest relative distance from the formulas {max(errors):.0e}; " + "; ".join(words) + f"; {seeds} seeds. The "
        "network can fit every sample, so its gradient has no noise left that a lower rate would have to calm.",
        [
            Figure(
                "n19_decay.png",
                "At a constant rate the loss of the linear classifier stops falling; with each decay it goes on. The "
                "network needs no decay.",
            )
        ],
    )


@claim(
    "L2",
    "step decay as a schedule",
    "Step decay multiplies the rate by a factor every few epochs: by 0.75 every 2 epochs, from 1e-4.",
    JORDAN,
)
def step_decay(out: Path, effort: Effort) -> Row:
    def by_hand() -> Iterable[float]:
        rate = 1e-4
        for epoch in range(20):
            if epoch and epoch % 2 == 0:
                rate *= 0.75
            yield from [rate] * PER_EPOCH

    schedule = schedules.Step(1e-4, 2, 0.75).in_epochs(PER_EPOCH)
    steps = 20 * PER_EPOCH
    error = furthest(schedule.preview(steps), by_hand())
    plots.schedules(out / "l2_step_decay.png", {f"{PER_EPOCH} steps an epoch": schedule}, steps, ylabel="learning rate")
    return Row(
        "1e-4, 0.75, 2 epochs",
        f"largest relative distance from a loop that multiplies: {error:.0e}",
        verdict(error < ROUNDING),
        f"20 epochs of {PER_EPOCH} steps; last rate {schedule(steps - 1):.3g}.",
        [Figure("l2_step_decay.png", "Each stair is three quarters of the one before, and lasts two epochs.")],
    )


IRIS_BATCH, IRIS_EPOCHS, IRIS_PER_EPOCH = 30, 1000, 3
PIECEWISE = schedules.Piecewise((400, 700), (0.1, 0.01, 0.001)).in_epochs(IRIS_PER_EPOCH)
PIECES: dict[str, schedules.Schedule | float] = {"piecewise": PIECEWISE, "0.1": 0.1, "0.01": 0.01, "0.001": 0.001}


def run_on_iris(label: str, seed: int) -> Result:
    """Losses of each epoch of a small network on Iris, at one of the rates."""
    train, val = mn.data.split(mn.datasets.iris(), (0.6, 0.4), seed=0)
    net = mn.Net([mn.Dense(16), mn.Tanh(), mn.Dense(3)], 4, mn.SoftmaxCrossEntropy(), l2=1e-3, seed=seed)
    options = {"batch_size": IRIS_BATCH, "epochs": IRIS_EPOCHS, "validation": val, "seed": seed, "progress": False}
    history = mn.fit(net, train, rule=mn.SGD(), lr=PIECES[label], **options)
    return {column: np.array(history[column]) for column in ("loss", "val_loss")}


@claim(
    "B2",
    "a piecewise constant rate",
    "Lower the rate as training goes on, such as 0.1 until epoch 400, 0.01 until epoch 700, and 0.001 to epoch 1000.",
    CHOOSING,
    parts=lambda effort: [Part(run_on_iris, (k, seed)) for seed in range(effort.repeats(3, 10)) for k in PIECES],
)
def piecewise_constant(out: Path, effort: Effort, *found: Result) -> Row:
    epochs, every, steps = IRIS_EPOCHS, 10, IRIS_EPOCHS * IRIS_PER_EPOCH
    by_hand = (
        0.1 if step < 400 * IRIS_PER_EPOCH else 0.01 if step < 700 * IRIS_PER_EPOCH else 0.001 for step in range(steps)
    )
    error = furthest(PIECEWISE.preview(steps), by_hand)
    runs = {label: found[i :: len(PIECES)] for i, label in enumerate(PIECES)}
    at = range(every, epochs + 1, every)
    columns = {"Training loss": "loss", "Held-out loss": "val_loss"}
    plots.comparison(
        out / "b2_piecewise.png",
        {
            title: {
                f"rate {label}": (at, np.array([run[column][every - 1 :: every] for run in group]))
                for label, group in runs.items()
            }
            for title, column in columns.items()
        },
        xlabel="epoch",
        ylabel="loss (data + penalties)",
        log_y=True,
    )
    ends = {label: np.array([np.mean(run["loss"][-10:]) for run in group]) for label, group in runs.items()}
    jumps = {label: np.mean([np.std(run["val_loss"][-100:]) for run in group]) for label, group in runs.items()}
    gains = {label: difference(ends[label], ends["piecewise"]) for label in ("0.1", "0.01", "0.001")}
    words = [f"{label} {gain}" for label, (gain, _) in gains.items()]
    best = min(gains, key=lambda label: ends[label].mean())
    return Row(
        "none",
        f"loss {ends['piecewise'].mean():.4f}; more at the best constant rate, {best}: {gains[best][0]}",
        verdict_of(
            {"the rates": error < ROUNDING, "a lower loss than at any of its rates": all(c for _, c in gains.values())}
        ),
        f"Iris, training loss of the last 10 epochs, {len(found) // len(PIECES)} seeds; more at a constant rate of "
        f"{', '.join(words)}. Standard deviation of the held-out loss over the last 100 epochs: "
        + ", ".join(f"{label} {value:.1e}" for label, value in jumps.items())
        + f". Largest relative distance from the rates written out {error:.0e}.",
        [
            Figure(
                "b2_piecewise.png",
                "The loss falls at each step of the rate, and ends below that of every constant rate.",
            )
        ],
    )


# Cycles ------------------------------------------------------------------------------------------------------

LOW, HIGH = 0.001, 0.003
Scale = Callable[[int, int], float]  # of the cycle, from 1, and the iteration


def printed_cycle(low: float, high: float, s: int, steps: int, scale: Scale = lambda cycle, it: 1.0) -> Iterable[float]:
    """The formula of L3, with the amplitude times a factor."""
    for it in range(steps):
        cycle = math.floor(1 + it / (2 * s))
        x = abs(it / s - 2 * cycle + 1)
        yield low + (high - low) * max(0.0, 1 - x) * scale(cycle, it)


def compare_cycles(
    path: Path, kinds: Mapping[str, tuple[schedules.Schedule, Scale]], half: int, steps: int
) -> dict[str, float]:
    """Draw the schedules, and their largest distances from the printed formula."""
    plots.schedules(path, {label: s for label, (s, _) in kinds.items()}, steps, together=False, ylabel="learning rate")
    return {
        label: furthest(schedule.preview(steps), printed_cycle(LOW, HIGH, half, steps, scale))
        for label, (schedule, scale) in kinds.items()
    }


def in_words(errors: Mapping[str, float]) -> str:
    return ", ".join(f"{label} {error:.0e}" for label, error in errors.items())


@claim(
    "L3",
    "triangular cycles",
    "The rate goes up and down in triangles: cycle = floor(1 + it / (2 s)), x = abs(it / s - 2 cycle + 1), "
    "lr = min + (max - min) max(0, 1 - x). (The source misplaces the 1; this is Smith's form.)",
    JORDAN,
)
def triangular_rate(out: Path, effort: Effort) -> Row:
    schedule = schedules.Triangular(LOW, HIGH, 100)
    errors = compare_cycles(out / "l3_triangular.png", {"step 100": (schedule, lambda cycle, it: 1.0)}, 100, 601)
    # The same apart from the formula: straight lines between the corners, which are exact.
    corners = [LOW, HIGH] * 3 + [LOW]
    errors["lines between the corners"] = furthest(
        schedule.preview(601), np.interp(np.arange(601), np.arange(7) * 100, corners)
    )
    exact = [schedule(100 * i) for i in range(7)] == corners
    return Row(
        "step 100, three cycles",
        f"largest relative distance from the formula {max(errors.values()):.0e}; corners "
        f"{'exact' if exact else 'not exact'}",
        verdict(max(errors.values()) < ROUNDING and exact),
        f"Distance from the formula, and from straight lines between the corners: {in_words(errors)}.",
        [Figure("l3_triangular.png", "Three cycles of 200 steps between 0.001 and 0.003.")],
    )


@claim(
    "L4",
    "cycles whose amplitude decays",
    "The amplitude of the cycles may decay: by a fixed factor after each cycle, or exponentially.",
    JORDAN,
)
def cycles_with_decaying_amplitude(out: Path, effort: Effort) -> Row:
    kinds: dict[str, tuple[schedules.Schedule, Scale]] = {
        "halved each cycle": (schedules.Triangular2(LOW, HIGH, 100), lambda cycle, it: 0.5 ** (cycle - 1)),
        "times 0.997^iteration": (schedules.ExpRange(LOW, HIGH, 100, 0.997), lambda cycle, it: 0.997**it),
    }
    errors = compare_cycles(out / "l4_decaying_cycles.png", kinds, 100, 601)
    peaks = [(schedules.Triangular2(LOW, HIGH, 100)(100 + 200 * i) - LOW) / (HIGH - LOW) for i in range(3)]
    return Row(
        "see C1",
        f"largest relative distance from the formulas {max(errors.values()):.0e}",
        verdict(max(errors.values()) < ROUNDING),
        f"By kind: {in_words(errors)}. Amplitudes at the peaks, halved: {', '.join(f'{peak:.4g}' for peak in peaks)}.",
        [Figure("l4_decaying_cycles.png", "The lower end stays; the peaks fall by half, or along an exponential.")],
    )


def sgdr(top: float, floor: float, period: int, lengthen: int, decay: float, steps: int) -> Iterable[float]:
    """Equation 5 of SGDR with its two counters, T_cur and T_i."""
    highest, now = top, 0
    for _ in range(steps):
        yield floor + (highest - floor) / 2 * (1 + math.cos(math.pi * now / period))
        now += 1
        if now == period:
            period, now, highest = period * lengthen, 0, floor + (highest - floor) * decay


@claim(
    "L5",
    "cosine with warm restarts (SGDR)",
    "The rate falls along a cosine and is restarted at its maximum. Cycles may lengthen, and the maximum may decay "
    "after each.",
    JORDAN,
)
def cosine_with_warm_restarts(out: Path, effort: Effort) -> Row:
    settings = {"equal cycles": (200, 1, 1.0), "lengthening": (100, 2, 1.0), "lengthening, sinking": (100, 2, 0.7)}
    kinds = {label: schedules.WarmRestarts(0.1, *given, floor=0.001) for label, given in settings.items()}
    errors = {
        label: furthest(kinds[label].preview(1500), sgdr(0.1, 0.001, *given, 1500)) for label, given in settings.items()
    }
    plots.schedules(out / "l5_sgdr.png", kinds, 800, together=False, ylabel="learning rate")
    restarts = [event.step for event in kinds["lengthening"].events(1501) if event.kind == "restart"]
    return Row(
        "none",
        f"largest relative distance from equation 5 {max(errors.values()):.0e}; restarts at "
        f"{', '.join(map(str, restarts))}",
        verdict(max(errors.values()) < ROUNDING and restarts == [100, 300, 700, 1500]),
        f"Equation 5 of SGDR with its two counters, 1500 steps: {in_words(errors)}. The restarts are those of the "
        "lengthening cycles.",
        [Figure("l5_sgdr.png", "Equal cycles; cycles that double; cycles that double and start lower each time.")],
    )


def by_cycle(cycle: float) -> float:
    return 0.5 * (1 + math.sin(cycle * math.pi / 2))


def by_iteration(it: float) -> float:
    return 5 ** (-0.0005 * it)


def rates_of_groups(ranges: Sequence[schedules.Schedule], steps: int) -> float:
    """Largest distance of what each group moved, at gradient 1, from the sum of its printed rates."""
    params, grads = np.zeros(len(ranges)), np.ones(len(ranges))
    shapes = {f"w{i}": (1,) for i in range(len(ranges))}
    groups = [mn.Group(lambda tensor, i=i: tensor.name == f"w{i}", lr=lr) for i, lr in enumerate(ranges)]
    optimizer = mn.Optimizer.over(params, grads, mn.SGD(), shapes=shapes, groups=groups)
    expected = np.zeros(len(ranges))
    for rates in zip(*(printed_cycle(LOW * 10**i, HIGH * 10**i, 300, steps) for i in range(len(ranges))), strict=True):
        optimizer.step(lr=0.0)
        expected -= rates
    return float(np.max(np.abs(params - expected) / np.abs(expected)))


@claim(
    "C1",
    "the policies of cyclical rates",
    "Cycles may be triangular, triangular2 (amplitude halved after each cycle), exp_range (amplitude times "
    "gamma**iteration), or scaled by a function of one's own, by cycle or by iteration, with one range for each "
    "group of parameters: 0.001 to 0.003, step 300, gamma 0.99994.",
    CYCLES,
)
def cyclical_rates(out: Path, effort: Effort) -> Row:
    kinds: dict[str, tuple[schedules.Schedule, Scale]] = {
        "triangular": (schedules.Triangular(LOW, HIGH, 300), lambda cycle, it: 1.0),
        "triangular2": (schedules.Triangular2(LOW, HIGH, 300), lambda cycle, it: 1 / 2 ** (cycle - 1)),
        "exp_range": (schedules.ExpRange(LOW, HIGH, 300, 0.99994), lambda cycle, it: 0.99994**it),
        "own, by cycle": (schedules.Cyclical(LOW, HIGH, 300, by_cycle), lambda cycle, it: by_cycle(cycle)),
        "own, by iteration": (
            schedules.Cyclical(LOW, HIGH, 300, by_iteration, "iteration"),
            lambda cycle, it: by_iteration(it),
        ),
    }
    errors = compare_cycles(out / "c1_cyclical.png", kinds, 300, 2400)
    ranges = [schedules.Triangular(LOW * 10**i, HIGH * 10**i, 300) for i in range(2)]
    errors["two groups, by what they moved"] = rates_of_groups(ranges, 1500)
    return Row(
        "the formulas",
        f"largest relative distance from the formulas, 2400 steps: {max(errors.values()):.0e}",
        verdict(max(errors.values()) < ROUNDING),
        f"By kind: {in_words(errors)}.",
        [Figure("c1_cyclical.png", "The three policies of the paper and two functions of one's own.")],
    )


def steps_to(target: float, lr: schedules.Schedule | float, seed: int, most: int) -> float:
    """Steps of SGD until the validation accuracy, read every 5 steps, reaches ``target``; ``most`` if it does not."""
    data, validation = range_test.digits()
    net = range_test.build("MLP", seed)
    for record in mn.Trainer(net, data, rule=mn.SGD(), lr=lr, batch_size=range_test.BATCH, steps=most, seed=seed):
        if record.step % 5 == 0 and net.evaluate(*validation)["accuracy"] >= target:
            return record.step
    return most


@claim(
    "C3",
    "a cyclical rate needs fewer iterations",
    "A cyclical rate reaches the same accuracy in fewer iterations than a fixed rate.",
    CYCLES,
)
def fewer_iterations(out: Path, effort: Effort) -> Row:
    """Between bounds of a range test, against fixed rates from the lower to the upper one."""
    found = range_test.test_on_accuracy("MLP")
    if found.base is None or found.max is None:
        return Row("fewer", "the range test found no bounds", verdict(False))
    seeds = effort.repeats(8, 24)
    low, high, target, most = found.base, found.max, 0.9, 600
    half = 2 * math.ceil(len(range_test.digits()[0][0]) / range_test.BATCH)  # two epochs
    rates: dict[str, schedules.Schedule | float] = {
        f"cycles from {low:.2g} to {high:.2g}": schedules.Triangular(low, high, half),
        f"fixed at {low:.2g}": low,
        f"fixed at the mean, {(low + high) / 2:.2g}": (low + high) / 2,
        f"fixed at {high:.2g}": high,
    }
    steps = {
        label: np.array([steps_to(target, lr, seed, most) for seed in range(seeds)]) for label, lr in rates.items()
    }
    cycled, *fixed = steps
    words = [f"{label}: {values.mean():.0f}" for label, values in steps.items()]
    against = {}
    for label in fixed:
        gain, clear = difference(steps[label], steps[cycled], digits=0)
        words.append(f"{label} minus cycles: {gain}")
        against[f"a rate {label.partition(',')[0]}"] = clear
    drawn, (axis,) = plots.figure(width=5.4, height=2.4)
    for place, values in enumerate(steps.values()):
        low_end, high_end = interval(values)
        axis.plot(values, np.full(len(values), place), ".", color="0.6", label=None if place else "one seed")
        axis.plot(
            [low_end, high_end],
            [place, place],
            linewidth=4,
            solid_capstyle="butt",
            color=plots.COLOURS[0],
            label=None if place else "mean, 95 %",
        )
    axis.set(yticks=range(len(steps)), yticklabels=list(steps), ylim=(len(steps) - 0.5, -0.5))
    axis.set(title=f"MLP on digits, SGD: steps to {target:.0%} on validation", xlabel="step", xlim=(0, None))
    plots.legend(axis)
    plots.save(drawn, out / "c3_iterations.png")
    return Row(
        "fewer",
        f"steps to {target:.0%}: cycles {steps[cycled].mean():.0f}, lower bound {steps[fixed[0]].mean():.0f}, mean "
        f"{steps[fixed[1]].mean():.0f}, upper bound {steps[fixed[2]].mean():.0f}",
        verdict_of(against),
        f"Mean steps to validation accuracy {target:.0%} over {seeds} seeds ({most} if not reached), 95 % intervals of "
        "differences: " + "; ".join(words) + ".",
        [
            Figure(
                "c3_iterations.png",
                "Cycles need far fewer steps than the lower bound held fixed, and more than the upper bound held "
                "fixed.",
            )
        ],
    )
