"""How PyTorch, Keras, scikit-learn and CS231n define each rule, and the parameters that reproduce their forms.

``print(mn.rules.conventions())`` shows all of them; docs/conventions.md in the repository shows them as a table.
"""

from dataclasses import dataclass

LIBRARIES = ("PyTorch", "Keras", "scikit-learn", "CS231n")
SOURCES = "PyTorch 2.13, Keras 3, scikit-learn's MLPClassifier, and the notes and first assignments of CS231n"


@dataclass(frozen=True)
class Convention:
    """The form of a rule in one library.

    Attributes:
        library: name of the library.
        theirs: how the rule is written there.
        lr: default learning rate there.
        differs: differences from the defaults of minnet.
        ours: how the same is written here.
        exact: whether both are equal except for rounding.
    """

    library: str
    theirs: str
    lr: str
    differs: str
    ours: str
    exact: bool = True


_SAME = "nothing"
_LR_OUTSIDE = "lr is not a factor in the velocity, so a change of lr also rescales earlier steps"
_EPS_IN_ROOT = "eps under the root"
_EPS_HAT = "eps is added to the uncorrected root, as at the end of section 2 of the paper"
_SMALL_BATCH = 'MLPClassifier(solver="sgd", {})'

ROWS: dict[str, tuple[Convention, ...]] = {
    "SGD": (
        Convention("PyTorch", "SGD()", "0.001", _SAME, "SGD()"),
        Convention("Keras", "SGD()", "0.01", _SAME, "SGD()"),
        Convention("scikit-learn", _SMALL_BATCH.format("momentum=0"), "0.001", _SAME, "SGD()"),
        Convention("CS231n", "sgd", "0.01", _SAME, "SGD()"),
    ),
    "Momentum": (
        Convention("PyTorch", "SGD(momentum=0.9)", "0.001", _LR_OUTSIDE, "Momentum(lr_in_velocity=False)"),
        Convention(
            *("PyTorch", "SGD(momentum=0.9, dampening=0.5)", "0.001"),
            "the same, and from the second step the gradient is multiplied by 1 - dampening",
            "Momentum(lr_in_velocity=False, dampening=0.5)",
        ),
        Convention("Keras", "SGD(momentum=0.9)", "0.01", _SAME, "Momentum()"),
        Convention("scikit-learn", _SMALL_BATCH.format("nesterovs_momentum=False"), "0.001", _SAME, "Momentum()"),
        Convention("CS231n", "sgd_momentum", "0.01", _SAME, "Momentum()"),
    ),
    "Nesterov": (
        Convention(
            *("PyTorch", "SGD(momentum=0.9, nesterov=True)", "0.001", _LR_OUTSIDE),
            "Nesterov(lr_in_velocity=False)",
        ),
        Convention("Keras", "SGD(momentum=0.9, nesterov=True)", "0.01", _SAME, "Nesterov()"),
        Convention("scikit-learn", _SMALL_BATCH.format("momentum=0.9"), "0.001", _SAME, "Nesterov()"),
        Convention("CS231n", "nesterov, rewritten", "", "written with the previous and the new velocity", "Nesterov()"),
    ),
    "NesterovLookAhead": (
        Convention(
            *("CS231n", "nesterov, first form", ""),
            "its parameters are the iterate; ours are the look-ahead point, at which the gradient is computed",
            "NesterovLookAhead()",
        ),
    ),
    "Adagrad": (
        Convention("PyTorch", "Adagrad()", "0.01", "eps 1e-10", "Adagrad(eps=1e-10)"),
        Convention(
            *("Keras", "Adagrad()", "0.001"),
            f"{_EPS_IN_ROOT}, 1e-7; the sum of squares starts at 0.1",
            "Adagrad(eps=1e-7, eps_in_root=True, initial=0.1)",
        ),
        Convention("CS231n", "Adagrad", "", _SAME, "Adagrad()"),
    ),
    "RMSprop": (
        Convention("PyTorch", "RMSprop()", "0.01", _SAME, "RMSprop()"),
        Convention(
            *("Keras", "RMSprop()", "0.001", f"{_EPS_IN_ROOT}, 1e-7; rho 0.9"),
            "RMSprop(rho=0.9, eps=1e-7, eps_in_root=True)",
        ),
        Convention("CS231n", "rmsprop", "0.01", _SAME, "RMSprop()"),
    ),
    "RMSpropMomentum": (
        Convention("PyTorch", "RMSprop(momentum=0.9)", "0.01", _SAME, "RMSpropMomentum()"),
        Convention(
            *(
                "Keras",
                "RMSprop(momentum=0.9)",
                "0.001",
                f"lr is a factor in the velocity; {_EPS_IN_ROOT}, 1e-7; rho 0.9",
            ),
            "RMSpropMomentum(rho=0.9, eps=1e-7, eps_in_root=True, lr_in_velocity=True)",
        ),
    ),
    "RMSpropCentred": (
        Convention(
            *("PyTorch", "RMSprop(centered=True)", "0.01"),
            "its variance is a difference of two means: lost in rounding, or NaN, if the gradient varies little",
            "RMSpropCentred()",
        ),
        Convention(
            *("Keras", "RMSprop(centered=True)", "0.001", f"{_EPS_IN_ROOT}, 1e-7; rho 0.9"),
            "RMSpropCentred(rho=0.9, eps=1e-7, eps_in_root=True)",
        ),
    ),
    "RMSpropCentredMomentum": (
        Convention(
            *("PyTorch", "RMSprop(centered=True, momentum=0.9)", "0.01"),
            "its variance is a difference of two means: lost in rounding, or NaN, if the gradient varies little",
            "RMSpropCentredMomentum()",
        ),
        Convention(
            *("Keras", "RMSprop(centered=True, momentum=0.9)", "0.001"),
            f"lr is a factor in the velocity; {_EPS_IN_ROOT}, 1e-7; rho 0.9",
            "RMSpropCentredMomentum(rho=0.9, eps=1e-7, eps_in_root=True, lr_in_velocity=True)",
        ),
    ),
    "Adadelta": (
        Convention("PyTorch", "Adadelta()", "1", "rho 0.9", "Adadelta(rho=0.9)"),
        Convention("Keras", "Adadelta()", "0.001", "eps 1e-7; the paper's rate is 1", "Adadelta(eps=1e-7)"),
    ),
    "Adam": (
        Convention("PyTorch", "Adam()", "0.001", _SAME, "Adam()"),
        Convention("Keras", "Adam()", "0.001", f"eps 1e-7; {_EPS_HAT}", "Adam(eps=1e-7, eps_on_corrected=False)"),
        Convention("scikit-learn", 'MLPClassifier(solver="adam")', "0.001", _EPS_HAT, "Adam(eps_on_corrected=False)"),
        Convention("CS231n", "adam", "0.001", _SAME, "Adam()"),
        Convention("CS231n", "Adam, the short form", "", "no bias correction", "Adam(bias_correction=False)"),
    ),
    "AMSGrad": (
        Convention(
            *("PyTorch", "Adam(amsgrad=True)", "0.001", "bias correction of the largest uncorrected squares"),
            "AMSGrad(bias_correction=True)",
        ),
        Convention(
            *("Keras", "Adam(amsgrad=True)", "0.001", f"the same; eps 1e-7; {_EPS_HAT}"),
            "AMSGrad(bias_correction=True, eps=1e-7, eps_on_corrected=False)",
        ),
    ),
    "AdaMax": (
        Convention("PyTorch", "Adamax()", "0.002", _SAME, "AdaMax()"),
        Convention(
            *("Keras", "Adamax()", "0.001", "eps 1e-7, added to the norm when it divides, not within the maximum"),
            "AdaMax(eps=1e-7, eps_in_norm=False)",
        ),
    ),
    "NAdam": (
        Convention(
            *(
                "PyTorch",
                "NAdam()",
                "0.002",
                "the running mean uses beta1, and only the step uses the increasing momentum; "
                "the product of momenta has the default dtype",
            ),
            "NAdam(mu_in_mean=False)",
        ),
        Convention(
            *("Keras", "Nadam()", "0.001", "the same; the momentum increases 250 times as fast; eps 1e-7"),
            "NAdam(momentum_decay=1, eps=1e-7, mu_in_mean=False)",
        ),
    ),
    "RAdam": (
        Convention(
            *("PyTorch", "RAdam()", "0.001", "adapts if rho_t is above 5; above 4 in the paper"),
            "RAdam(threshold=5)",
        ),
    ),
    "Lion": (Convention("Keras", "Lion()", "0.001", _SAME, "Lion()"),),
    "ScheduleFreeSGD": (),
    "ScheduleFreeAdamW": (),
    "LARS": (),
    "LAMB": (
        Convention(
            *("Keras", "Lamb()", "0.001"),
            "eps 1e-7; biases and gains have a ratio too; decay is applied before the update",
            "LAMB(eps=1e-7, exempt=False, decay_in_ratio=False)",
        ),
    ),
    "Adafactor": (
        Convention(
            *("PyTorch", "Adafactor()", "0.01"),
            "nothing is added to g^2; the eps of the dtype and its square are lower bounds of means and products; "
            "kernels of convolutions have another order of axes, so other axes are factored",
            "Adafactor(eps=numpy.finfo(dtype).eps, eps_as_floor=True)",
        ),
        Convention("Keras", "Adafactor()", "0.001", _SAME, "Adafactor()"),
    ),
    "Muon": (
        Convention(
            *("PyTorch", "Muon()", "0.001"),
            "divides by max(norm, eps); iterates in bfloat16; takes matrices only, so other tensors need a second "
            "optimizer; its default decay is 0.1",
            "Muon(eps_as_floor=True)",
            False,
        ),
        Convention(
            *("Keras", "Muon()", "0.001"),
            "its momentum has no factor 0.05, which matters relative to eps; 6 iterations; inputs and outputs are "
            "exchanged in the scale; a tenth of the learning rate for tensors that Adam updates (here lr_factor of a "
            "group); its default decay is 0.1; it leaves convolutions of images to Adam",
            'Muon(eps=5e-9, scale="keras", steps=6, fallback=Adam(eps=1e-7, eps_on_corrected=False))',
        ),
    ),
    "LBFGS": (
        Convention(
            *("PyTorch", 'LBFGS(line_search_fn="strong_wolfe", history_size=10, max_iter=1)', "1"),
            "its search keeps another distance from the ends of an interval; it keeps pairs with s y > 1e-10, which "
            "depends on units; without line_search_fn, the length of a step is lr",
            "LBFGS()",
            False,
        ),
        Convention(
            *("scikit-learn", 'MLPClassifier(solver="lbfgs")', "1"),
            "SciPy's L-BFGS-B, with another line search",
            "LBFGS(history=10)",
            False,
        ),
    ),
    "LookAhead": (),
    "Accumulate": (
        Convention(
            *("PyTorch", "backward() of loss / k, k times", ""),
            "done by hand; the program decides what schedules count",
            "Accumulate(rule, k)",
        ),
        Convention(
            *("Keras", "gradient_accumulation_steps=k", ""),
            "schedules count steps, ours count micro-batches; the mean is clipped, as by a combinator inside",
            "Accumulate(rule, k)",
        ),
    ),
    "CoupledDecay": (
        Convention(
            *("PyTorch", "SGD(weight_decay=0.1)", "0.001"),
            "also decays biases and gains",
            "CoupledDecay(SGD(), 0.1, spare=False)",
        ),
        Convention(
            *("PyTorch", "Adam(weight_decay=0.1)", "0.001"),
            "the same; the decay of AdamW is weight_decay of the Optimizer",
            "CoupledDecay(Adam(), 0.1, spare=False)",
        ),
    ),
    "GradientNoise": (),
    "ClipValue": (
        Convention("PyTorch", "clip_grad_value_(parameters, 0.5)", "", _SAME, "ClipValue(rule, 0.5)"),
        Convention("Keras", "clipvalue=0.5", "", _SAME, "ClipValue(rule, 0.5)"),
    ),
    "ClipTensorNorm": (Convention("Keras", "clipnorm=1.0", "", _SAME, "ClipTensorNorm(rule, 1.0)"),),
    "ClipNorm": (
        Convention(
            *("PyTorch", "clip_grad_norm_(parameters, 1.0)", ""),
            "divides by the norm + 1e-6, so a clipped gradient is shorter by a millionth over its norm",
            "ClipNorm(rule, 1.0)",
            False,
        ),
        Convention("Keras", "global_clipnorm=1.0", "", _SAME, "ClipNorm(rule, 1.0)"),
    ),
    "AdaptiveClip": (),
}

NOTES = (
    "Weight decay. Optimizer(weight_decay=d) applies decoupled weight decay: p *= 1 - lr * d before the update. It "
    "leaves out biases and gains. Other libraries do the same, but for all parameters: PyTorch's weight_decay of "
    "AdamW, Adafactor and Muon, and Keras' weight_decay of every optimizer. PyTorch's weight_decay of all other "
    "optimizers adds d * p to the gradient, for all parameters; CoupledDecay(rule, d, spare=False) reproduces this.",
    "Weight decay in float32. Where the gradient moves a parameter, the decay is exact up to the rounding of the sum. "
    "Where the gradient is 0, a decay lr * d below 3e-8 is less than half a unit in the last place of the parameter "
    "and is lost; a decay above 6e-8 is never lost. PyTorch rounds 1 - lr * d itself, so it loses such a decay also "
    "where the gradient is not 0.",
    "Spikes. Every rule except LBFGS raises a FloatingPointError at a gradient that is not finite, or whose squares "
    "overflow when added (elements above 1.8e16 in float32, 1.3e151 in float64). LBFGS is the exception because its "
    "line search sees the loss first. A smaller spike has its published effect: after one gradient of 1e15, a "
    "parameter of Adam hardly moves for some 60,000 steps, as in all libraries. clip_norm prevents both.",
    "L2 and clipping. The net's l2=d is a penalty of the objective. Its gradient d * p leaves out biases and gains, "
    "and is clipped together with the gradient of the loss. PyTorch clips the gradient of the loss (clip_grad_norm_) "
    "and adds weight_decay * p afterwards, in the optimizer; clip_norm and CoupledDecay reproduce this. Without "
    "clipping, the two differ only in biases and gains. Keras' regularizers.L2(d) is l2=2 * d; scikit-learn's alpha "
    "is l2=alpha / batch_size; the notes' 0.5 * reg * sum(W * W) is l2=reg. Those three are clipped together with the "
    "loss, if clipping is used.",
    "Averages of weights. EMA(d) corrects the bias of its start. EMA(d, corrected=False) takes the first point in "
    "full; it is PyTorch's AveragedModel with get_ema_multi_avg_fn(d), and Keras' use_ema with ema_momentum=d.",
    "PyTorch's NAdam and RAdam have an argument decoupled_weight_decay. If it is True, their weight decay is "
    "decoupled, as the Optimizer's is here. By default it is added to the gradient, as CoupledDecay does.",
    "Learning rates belong to a step and not to a rule. The table gives the default learning rate of each library, so "
    "that its runs can be repeated.",
    "A tilde (~) marks forms that differ by more than round-off. The table gives the reason.",
)


def conventions(markdown: bool = False) -> str:
    """Return the conventions of other libraries as text.

    Args:
        markdown: whether to return notes and one table in Markdown. If False, the text is plain, with one block per
            rule.

    Returns:
        The text, with every rule and every library that minnet is compared with.
    """
    return _markdown() if markdown else _text()


def _lacking(rows: tuple[Convention, ...]) -> str:
    return ", ".join(library for library in LIBRARIES if library not in {row.library for row in rows})


def _text() -> str:
    lines = [f"Compared with {SOURCES}.", ""]
    for rule, rows in ROWS.items():
        lines.append(rule)
        for row in rows:
            rate = f", lr {row.lr}" if row.lr else ""
            lines.append(f"  {row.library + ':':<14}{row.theirs}{rate}")
            lines.append(f"    differs in:   {row.differs}")
            lines.append(f"    here:         {'' if row.exact else '~ '}{row.ours}")
        if _lacking(rows):
            lines.append(f"  not in {_lacking(rows)}")
        lines.append("")
    return "\n".join([*lines, *NOTES, ""])


def _markdown() -> str:
    head = [
        "# Conventions",
        "",
        f"This page lists how {SOURCES} define each update rule, and the parameters with which minnet reproduces them. "
        "`print(mn.rules.conventions())` prints the same.",
        "",
        *(f"* {note}" for note in NOTES),
        "",
        "| rule | library | there | rate there | differs in | here |",
        "|---|---|---|---|---|---|",
    ]
    lines = []
    for rule, rows in ROWS.items():
        for row in rows:
            here = f"{'' if row.exact else '~ '}`{row.ours}`"
            lines.append(f"| {rule} | {row.library} | `{row.theirs}` | {row.lr} | {row.differs} | {here} |")
        if _lacking(rows):
            lines.append(f"| {rule} | {_lacking(rows)} | has none | | | |")
    return "\n".join([*head, *lines, ""])
