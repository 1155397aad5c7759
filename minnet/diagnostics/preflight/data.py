"""Checks of the data: input, targets, batches and class balance."""

import numpy as np

from ..chance import classes_that_count
from .case import Case
from .report import FAILED, PASSED, SKIPPED, WARNING, Finding, graded


def samples(case: Case) -> Finding:
    """Check that the input is finite and standardised. The finding has no values if no net can take the input."""
    x = case.data[0]
    if case.net.vocabulary:
        return _words(case)
    if x.dtype.kind != "f" and x.dtype != np.uint8:
        advice = "convert x to float32; only bytes are read as x / 255"
        return Finding("input", FAILED, f"dtype {x.dtype}", "floats or uint8", advice)
    with np.errstate(over="ignore"):
        taken = (
            x.astype(case.net.dtype) if x.dtype.kind == "f" else x
        )  # large numbers may be infinite in the net's dtype
    if not np.isfinite(taken).all():
        bad = np.flatnonzero(~np.isfinite(taken).reshape(len(x), -1).all(axis=1))
        what = f"numbers too large for {case.net.dtype}" if np.isfinite(x).all() else "NaN or infinity"
        measured = f"{what} in {len(bad)} samples, the first {bad[0]}"
        return Finding("input", FAILED, measured, "finite numbers", "mend or drop these samples")
    return _standardised(case.x)


def _words(case: Case) -> Finding:
    """Check that the net takes all words. The finding has no values if it does not."""
    x, expected = case.data[0], f"words from 0 to {case.net.vocabulary - 1}"
    try:
        words = case.net.as_input(x)
    except (TypeError, ValueError) as error:
        return Finding("input", FAILED, f"dtype {x.dtype}, {x.min()} to {x.max()}", expected, str(error))
    different = len(np.unique(words))
    numbers = {"low": int(words.min()), "high": int(words.max()), "different": different}
    measured = f"{numbers['low']} to {numbers['high']}, {different} different words"
    return Finding("input", PASSED, measured, expected, values=numbers)


def _standardised(x: np.ndarray) -> Finding:
    values = x.reshape(len(x), -1).astype(np.float64) / (255 if x.dtype == np.uint8 else 1)
    mean, std = float(values.mean()), float(values.std())
    features = np.where(values.min(axis=0) < values.max(axis=0), values.std(axis=0), 0.0)
    constant, varying = int((features == 0).sum()), features[features > 0]
    spread = float(varying.max() / np.median(varying)) if len(varying) else 1.0
    numbers = {"mean": mean, "std": std, "constant": constant, "features": features.size, "spread": spread}
    measured = f"mean {mean:.3g}, standard deviation {std:.3g}"
    measured += " as x / 255" if x.dtype == np.uint8 else ""
    measured += f", {constant} of {features.size} features constant" if constant else ""
    verdict, advice = WARNING, "standardise: mn.data.Standardizer.fit(x_train)"
    if x.dtype == np.uint8 and x.ndim == 2 and x.max() < 128:
        advice = "these rows of uint8 hardly are pixels: if they count or measure, x.astype(np.float32), standardised"
    if not 0.01 <= std <= 10 or abs(mean) > 10:
        verdict = FAILED
    elif not 0.5 <= std <= 2 or abs(mean) > 0.5 * std:
        pass
    elif spread > 30:
        measured += f", one feature {spread:.0f} times as wide as the median"
    elif 2 * constant > features.size:
        advice = "most features say nothing: is that meant?"
    else:
        verdict, advice = PASSED, ""
    return Finding("input", verdict, measured, "mean 0, standard deviation 1", advice, numbers)


def targets(case: Case) -> Finding:
    """Check that the loss takes the targets and that all classes occur. The finding has no values if it does not."""
    net, y = case.net, case.data[1]
    try:
        known = case.loss.check_targets(y, net.output_shape, net.dtype)
    except (TypeError, ValueError) as error:
        measured = f"{y.min()} to {y.max()}" if y.dtype.kind in "iuf" and y.size else f"dtype {y.dtype}"
        advice = str(error) + _hint(y, net.output_shape[-1])
        return Finding("labels", FAILED, measured, f"what {type(case.loss).__name__} takes", advice)
    if known.dtype.kind != "i":
        low, high = float(known.min()), float(known.max())
        return Finding("labels", PASSED, f"numbers from {low:.3g} to {high:.3g}", values={"low": low, "high": high})
    labels, classes = classes_that_count(case.loss, known), net.output_shape[-1]
    assert labels is not None  # these are integers
    missing = np.flatnonzero(np.bincount(labels, minlength=classes) == 0).tolist()
    numbers = {"low": int(labels.min()), "high": int(labels.max()), "missing": missing}
    advice = f"classes without a sample: {', '.join(map(str, missing))}" if missing else ""
    advice += "; do the labels begin at 1, one too high?" if missing == [0] else ""
    measured, expected = f"{numbers['low']} to {numbers['high']}", f"0 to {classes - 1}, each of them"
    return Finding("labels", WARNING if missing else PASSED, measured, expected, advice, numbers)


def _hint(y: np.ndarray, classes: int) -> str:
    """Return a hint on labels that a loss refuses, or ""."""
    if y.ndim != 1 or y.dtype.kind not in "iuf" or not (y == np.round(y)).all():
        return ""
    hint = "; whole numbers as floats: use y.astype(int)" if y.dtype.kind == "f" else ""
    return hint + ("; do the labels begin at 1? Then use y - 1" if (y.min(), y.max()) == (1, classes) else "")


_SMALL = 8  # in smaller batches, statistics are mostly noise


def batches(case: Case) -> Finding:
    """Check that no batch is too small for a layer with statistics over the batch."""
    name, (least, layer), shortest = "batches", case.net.least_batch, case.batches.shortest
    numbers = {"size": case.batches.batch_size, "shortest": shortest}
    measured = f"{case.batches.batch_size} samples, the last {shortest}"
    if layer is None:
        return Finding(name, PASSED, measured, values=numbers)
    expected = f"at least {_SMALL} for layer {layer}, which takes its statistics from them"
    advice = f"drop_last=True, or another batch_size: in training a batch of {shortest} {{}}"
    if shortest < least:
        return Finding(name, FAILED, measured, expected, advice.format("is refused"), numbers)
    advice = advice.format("moves its running statistics as much as any other")
    return graded(name, measured, expected, advice, numbers, good=shortest >= _SMALL, tolerable=True)


def class_balance(case: Case) -> Finding:
    """Check that no class is much larger than another."""
    name, labels = "class balance", case.labels
    if labels is None:
        return Finding(name, SKIPPED, "no classes")
    counts = np.bincount(labels)
    present = counts[counts > 0]
    share, ratio = float(present.max() / len(labels)), float(present.max() / present.min())
    numbers = {"majority": share, "ratio": ratio, "counts": counts.tolist()}
    if len(present) == 1:
        return Finding(name, FAILED, "one class only", "several", "there is nothing to tell apart", numbers)
    measured = f"largest class {share:.1%}, {ratio:.2g} times the smallest"
    advice = f"guessing the largest class gives {share:.1%}: weigh classes, and look at more than accuracy"
    return graded(name, measured, "at most 10 times", advice, numbers, good=ratio <= 10, tolerable=True)
