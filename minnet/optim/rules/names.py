"""Checks of the names of hyper-parameters, with hints for names that other libraries use."""

from collections.abc import Mapping, Sequence
from dataclasses import fields

_RATE = "the rate comes with the step: fit(net, data, rule={rule}(...), lr={rate}), or optimizer.step({rate})"
_MOMENTUM = "rules with momentum are Momentum(0.9) and Nesterov(0.9), and RMSpropMomentum() with RMSprop's squares"
_DECAY = "decay is the optimizer's: fit(..., weight_decay=...), or CoupledDecay(rule, ...) for one inside the gradient"
_CLIP = "clipping is the optimizer's: fit(..., clip_norm=...), or a combinator such as ClipNorm(rule, bound)"
_BETAS = "both are hyper-parameters: {rule}(beta1=0.9, beta2=0.999)"

ELSEWHERE = {
    **dict.fromkeys(("lr", "learning_rate", "rate", "step_size"), _RATE),
    **dict.fromkeys(("momentum", "mu"), _MOMENTUM),
    "nesterov": "Nesterov momentum is a rule of its own: Nesterov(0.9)",
    **dict.fromkeys(("weight_decay", "decay", "l2"), _DECAY),
    **dict.fromkeys(("clip_norm", "clipnorm", "global_clipnorm", "clipvalue"), _CLIP),
    "betas": _BETAS,
    "beta_1": "it is called beta1 here",
    "beta_2": "it is called beta2 here",
    "epsilon": "it is called eps here",
    "alpha": "the share that RMSprop remembers is called rho here",
    "centered": "the centred forms are rules of their own: RMSpropCentred() and RMSpropCentredMomentum()",
    "amsgrad": "it is a rule of its own: AMSGrad(bias_correction=True) is PyTorch's and Keras'",
    "params": "the optimizer has the parameters: Optimizer(net, {rule}()), or Optimizer.over(params, grads, {rule}())",
}


def check_names(rule: type, values: Sequence[object], named: Mapping[str, object]) -> None:
    """Raise TypeError for a hyper-parameter that the rule does not have, or for a number that may be a learning rate.

    Args:
        rule: class of the rule.
        values: positional arguments of its constructor.
        named: keyword arguments of its constructor.
    """
    who, known = rule.__name__, {field.name: field for field in fields(rule)}
    for name in named:
        if name not in known:
            has = f"hyper-parameters among {', '.join(known)}" if known else "no hyper-parameters"
            hint = "; " + ELSEWHERE[name].format(rule=who, rate=0.01) if name in ELSEWHERE else ""
            raise TypeError(f"{who}: expected {has}; got {name}{hint}")
    if not values:
        return
    first, value = next(iter(known), ""), values[0]
    if not known:
        raise TypeError(f"{who}: expected no hyper-parameters; got {value!r}; {_RATE.format(rule=who, rate=value)}")
    # Momentum(0.9) has one that everybody knows, but Momentum(0.1) may be meant as a rate. Momenta are 0.5 or more.
    small = isinstance(value, float) and 0 < value < 0.5
    if known[first].kw_only or (first == "momentum" and small):
        raise TypeError(
            f"{who}: expected hyper-parameters by name; got {value!r} without one. If it is the rate: "
            f"{_RATE.format(rule=who, rate=value)}. If not, write {who}({first}={value!r})"
        )
