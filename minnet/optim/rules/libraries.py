"""What PyTorch, Keras, scikit-learn and CS231n do differently for each rule, and the parameters that reproduce it.

``print(mn.rules.conventions())`` shows it all; docs/conventions.md in the repository shows it as a table.
"""

from dataclasses import dataclass

LIBRARIES = ("PyTorch", "Keras", "scikit-learn", "CS231n")
SOURCES = "PyTorch 2.13, Keras 3, scikit-learn's MLPClassifier, and the notes and first assignments of CS231n"


@dataclass(frozen=True)
class Convention:
    """One library's form of a rule.

    ``theirs`` is how it is written there, ``lr`` the rate there unless told, ``differs`` what is different from our
    defaults, ``ours`` what gives the same here; ``exact`` is whether that is the same to round-off.
    """

    library: str
    theirs: str
    lr: str
    differs: str
    ours: str
    exact: bool = True


_SAME = "nothing"
_LR_OUTSIDE = "lr stands outside of the velocity: a change of rate rescales old steps too"
_EPS_IN_ROOT = "eps under the root"
_EPS_HAT = "eps is added to the root before its correction, the reordered form at the end of the paper's section 2"
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
            "the same, and from the second step on the gradient counts 1 - dampening",
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
        Convention("CS231n", "nesterov, rewritten", "", "written with the old and the new velocity", "Nesterov()"),
    ),
    "NesterovLookAhead": (
        Convention(
            *("CS231n", "nesterov, first form", ""),
            "its parameters are the iterate, ours the point ahead of it, where the gradient is taken",
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
            *("Keras", "RMSprop(momentum=0.9)", "0.001", f"lr inside the velocity; {_EPS_IN_ROOT}, 1e-7; rho 0.9"),
            "RMSpropMomentum(rho=0.9, eps=1e-7, eps_in_root=True, lr_in_velocity=True)",
        ),
    ),
    "RMSpropCentred": (
        Convention(
            *("PyTorch", "RMSprop(centered=True)", "0.01"),
            "its variance, a difference of two means, is round-off or NaN where the gradient hardly varies",
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
            "its variance, a difference of two means, is round-off or NaN where the gradient hardly varies",
            "RMSpropCentredMomentum()",
        ),
        Convention(
            *("Keras", "RMSprop(centered=True, momentum=0.9)", "0.001"),
            f"lr inside the velocity; {_EPS_IN_ROOT}, 1e-7; rho 0.9",
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
            *("PyTorch", "Adam(amsgrad=True)", "0.001", "bias correction, of the largest of the uncorrected squares"),
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
            *("Keras", "Adamax()", "0.001", "eps 1e-7, added to the norm as it divides, not within the maximum"),
            "AdaMax(eps=1e-7, eps_in_norm=False)",
        ),
    ),
    "NAdam": (
        Convention(
            *(
                "PyTorch",
                "NAdam()",
                "0.002",
                "the running mean keeps beta1, only the step has the rising momentum; "
                "the product of momenta has the default dtype",
            ),
            "NAdam(mu_in_mean=False)",
        ),
        Convention(
            *("Keras", "Nadam()", "0.001", "the same; momentum rises 250 times as fast; eps 1e-7"),
            "NAdam(momentum_decay=1, eps=1e-7, mu_in_mean=False)",
        ),
    ),
    "RAdam": (
        Convention(
            *("PyTorch", "RAdam()", "0.001", "adapts where rho_t is above 5, the paper above 4"),
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
            "eps 1e-7; every tensor has a ratio, biases and gains too; decay stands in front of the update",
            "LAMB(eps=1e-7, exempt=False, decay_in_ratio=False)",
        ),
    ),
    "Adafactor": (
        Convention(
            *("PyTorch", "Adafactor()", "0.01"),
            "nothing is added to g^2; means and products have the dtype's eps and its square as floors; the axes of a "
            "convolution lie in another order, and so other ones are factored",
            "Adafactor(eps=numpy.finfo(dtype).eps, eps_as_floor=True)",
        ),
        Convention("Keras", "Adafactor()", "0.001", _SAME, "Adafactor()"),
    ),
    "Muon": (
        Convention(
            *("PyTorch", "Muon()", "0.001"),
            "divides by max(norm, eps); iterates in bfloat16; takes matrices only, so a second optimizer has the rest; "
            "decays by 0.1 unless told",
            "Muon(eps_as_floor=True)",
            False,
        ),
        Convention(
            *("Keras", "Muon()", "0.001"),
            "its momentum lacks the factor 0.05, which counts beside eps; 6 iterations; the scale has inputs for "
            "outputs; a tenth of the rate for what goes to Adam (here a group's lr_factor); decays by 0.1 unless told; "
            "leaves convolutions of images to Adam",
            'Muon(eps=5e-9, scale="keras", steps=6, fallback=Adam(eps=1e-7, eps_on_corrected=False))',
        ),
    ),
    "LBFGS": (
        Convention(
            *("PyTorch", 'LBFGS(line_search_fn="strong_wolfe", history_size=10, max_iter=1)', "1"),
            "a search that keeps its distance from the ends of an interval in another way; "
            "keeps pairs by s y > 1e-10, which depends on units; without line_search_fn it takes steps of lr "
            "unsearched",
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
            "by hand; schedules count what one makes them count",
            "Accumulate(rule, k)",
        ),
        Convention(
            *("Keras", "gradient_accumulation_steps=k", ""),
            "schedules count steps, ours micro-batches; clipping is of the mean, as by a combinator inside",
            "Accumulate(rule, k)",
        ),
    ),
    "CoupledDecay": (
        Convention(
            *("PyTorch", "SGD(weight_decay=0.1)", "0.001"),
            "decays biases and gains too",
            "CoupledDecay(SGD(), 0.1, spare=False)",
        ),
        Convention(
            *("PyTorch", "Adam(weight_decay=0.1)", "0.001"),
            "the same; AdamW's is the Optimizer's weight_decay",
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
    """The conventions of other libraries as text.

    Args:
        markdown: whether to return notes and one table in Markdown instead of plain text with one block per rule.
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
