"""The call: all checks in their order."""

from collections.abc import Callable
from typing import Any

from ... import checks
from ...data import Data
from ...net.net import Net
from ...optim.rules import Rule
from .case import Case
from .data import batches, class_balance, samples, targets
from .losses import first_loss, regularisation
from .report import FAILED, SKIPPED, Finding, Preflight
from .scales import first_update_ratio, variances
from .training import gradients, overfitting, shuffled_labels

# What can be checked of data that the net can take.
_CHECKS: dict[str, Callable[[Case], Finding]] = {
    "batches": batches,
    "class balance": class_balance,
    "first loss": first_loss,
    "regularisation": regularisation,
    "gradients": gradients,
    "overfitting": overfitting,
    "shuffled labels": shuffled_labels,
    "variance by layer": variances,
    "first update ratio": first_update_ratio,
}


def preflight(
    net: Net,
    data: Data,
    *surplus: Any,
    rule: Rule | None = None,
    lr: float = 1e-3,
    few: int = 20,
    seed: int = 0,
    batch_size: int = 100,
    drop_last: bool = False,
    progress: bool | None = None,
) -> Preflight:
    """Look a network and its data over before training. Twins do the work: the net stays as it is, to the last bit.

    The checks: input (finite, standardised, features that do not vary), labels (range, classes that do not occur),
    batches (large enough for batch norm), class balance, first loss against that of chance, loss with and without
    penalties, gradients after a burn-in of 10 steps, overfitting ``few`` samples without penalties, dropout and label
    smoothing, a control with shuffled labels, variance by layer, and the ratio of the first update to the weights. Up
    to 2,000 samples are looked at. Bad numbers and labels make a finding; what is no data at all raises TypeError or
    ValueError.

    Args:
        net: a network built with a loss, before training.
        data: training data (x, y), as ``fit`` takes them.
        rule, lr: with which it is to be trained: Adam at 1e-3 unless told. Burn-in, control and update ratio use
            them; overfitting has rates of its own.
        few: samples to overfit.
        seed: of the choice of samples, and of what is shuffled.
        batch_size, drop_last: of the batches that it is to be trained with, as in ``Trainer``; only their sizes are
            looked at.
        progress: True shows a progress bar, False none, None one on a terminal only.
    """
    from tqdm import tqdm

    checks.pair("preflight", surplus)
    case = Case.checked(net, data, rule, lr, few, seed, batch_size, drop_last)
    findings = [samples(case), targets(case)]
    fit_to_run = all(finding.verdict != FAILED or finding.values for finding in findings)
    with tqdm(_CHECKS.items(), unit="check", disable=None if progress is None else not progress) as bar:
        for name, check in bar:
            bar.set_postfix_str(name, refresh=True)
            findings.append(check(case) if fit_to_run else Finding(name, SKIPPED, "the net cannot take these data"))
    return Preflight(tuple(findings), str(case))
