"""``preflight``: all checks in their order."""

from collections.abc import Callable

from ...base.guide import guided
from ...data import Data
from ...net.net import Net
from ...optim.rules import Rule
from .case import Case
from .data import batches, class_balance, samples, targets
from .losses import first_loss, regularisation
from .report import FAILED, SKIPPED, Finding, Preflight
from .scales import first_update_ratio, variances
from .training import gradients, overfitting, shuffled_labels

# The checks that need data which the net can take.
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


@guided
def preflight(
    net: Net,
    data: Data,
    *,
    rule: Rule | None = None,
    lr: float = 1e-3,
    few: int = 20,
    seed: int = 0,
    batch_size: int = 100,
    drop_last: bool = False,
    progress: bool | None = None,
) -> Preflight:
    """Check a network and its data before training.

    All checks work on twins; the net does not change. They check the input (finite, standardised, constant features),
    the labels (range, missing classes), batches (large enough for batch norm), class balance, the first loss compared
    with chance, the loss with and without penalties, gradients after a burn-in of 10 steps, overfitting of ``few``
    samples without penalties, dropout and label smoothing, a control with shuffled labels, the variance by layer, and
    the ratio of the first update to the weights. They use at most 2,000 samples.

    Args:
        net: network built with a loss, before training. If it carries states on from pass to pass (``streams``), a twin
            is checked that starts every pass from the state 0, since the checks draw samples.
        data: training data (x, y), as ``fit`` takes them.
        rule, lr: update rule and learning rate of the training; Adam with 1e-3 by default. Burn-in, control and update
            ratio use them. Overfitting has its own learning rates.
        few: number of samples to overfit.
        seed: seed of the choice of samples and of the shuffling.
        batch_size, drop_last: as in ``Trainer``. Only the sizes of the batches are checked.
        progress: whether to show a progress bar; None shows one on a terminal and in a
            notebook.

    Returns:
        A ``Preflight`` with one ``Finding`` for each check, also for bad values and labels.

    Raises:
        TypeError, ValueError: for bad arguments, such as data that are not a pair of arrays.
    """
    from tqdm.auto import tqdm

    case = Case.checked(net, data, rule, lr, few, seed, batch_size, drop_last)
    findings = [samples(case), targets(case)]
    fit_to_run = all(finding.verdict != FAILED or finding.values for finding in findings)
    with tqdm(_CHECKS.items(), unit="check", disable=None if progress is None else not progress) as bar:
        for name, check in bar:
            bar.set_postfix_str(name, refresh=True)
            findings.append(check(case) if fit_to_run else Finding(name, SKIPPED, "the net cannot take these data"))
    return Preflight(tuple(findings), str(case))
