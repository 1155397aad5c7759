"""What people write who know other libraries, and what to write in minnet.

A name or an argument that minnet does not have raises an error of Python, which says that it is missing. ``Guided`` and
``guided`` add what to write instead, where these tables or a similar name of minnet tell.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

_FIT = "fit(net, (x, y), rule=Adam(), lr=0.001, epochs=10)"
_SOFTMAX = "SoftmaxCrossEntropy(), which takes scores: the softmax is in the loss"
_SCHEDULE = "lr takes a schedule, such as schedules.Cosine(0.1, steps=450)"
_NORM = "BatchNorm(), for features and for images"
_MODE = "forward(x, training=True) sets the mode of a pass; predict and evaluate never train"
_NOTHING = "nothing is needed: every backward pass overwrites net.grads"
_WEIGHTS = "net.params is one flat vector, net.named_parameters() has views by name, such as '0.W'"
_DEVICE = "minnet runs on the CPU; set_num_threads(n) chooses the number of threads"
_OWN_LAYER = "no such layer; docs/tour.md shows how to write a layer of your own"
_ATTENTION = "SelfAttention(heads), or CrossAttention(heads, memory) if keys and values are another sequence"
_SPLIT = "data.split((x, y), (0.8, 0.2)) makes the parts"
_INPUTS = "a layer finds out the size of its input; Net(layers, input_shape) has that of a sample"
_RECORDED = "fit returns a History: history['loss'], history['val_accuracy'], history.steps['loss']"

# Names of other libraries in minnet itself or as attributes of its objects, without case and underscores.
NAMES: Mapping[str, Mapping[str, str]] = {
    "minnet": {
        **dict.fromkeys(("linear", "affine", "fullyconnected", "fc", "innerproduct"), "Dense(units)"),
        **dict.fromkeys(("crossentropyloss", "crossentropy", "softmaxloss", "softmax", "logsoftmax"), _SOFTMAX),
        **dict.fromkeys(("categoricalcrossentropy", "sparsecategoricalcrossentropy", "nllloss"), _SOFTMAX),
        **dict.fromkeys(("bceloss", "bcewithlogitsloss", "binarycrossentropy"), "Logistic(), which takes scores"),
        **dict.fromkeys(("mseloss", "mse", "meansquarederror"), "SquaredError(), a sum over the outputs"),
        **dict.fromkeys(("l1loss", "mae", "meanabsoluteerror"), "AbsoluteError(), a sum over the outputs"),
        **dict.fromkeys(("smoothl1loss", "huberloss"), "Huber(delta)"),
        **dict.fromkeys(("svmloss", "hingeloss", "hinge", "multimarginloss"), "MulticlassHinge()"),
        **dict.fromkeys(("batchnorm1d", "batchnorm2d", "batchnormalization", "spatialbatchnorm"), _NORM),
        **dict.fromkeys(("instancenorm1d", "instancenorm2d"), "InstanceNorm()"),
        "layernormalization": "LayerNorm()",
        "groupnormalization": "GroupNorm(groups)",
        "conv2dtranspose": "ConvTranspose2D(filters, kernel)",
        **dict.fromkeys(("maxpooling2d", "maxpool"), "MaxPool2D(size)"),
        **dict.fromkeys(("averagepooling2d", "avgpooling2d"), "AvgPool2D(size)"),
        **dict.fromkeys(("globalaveragepooling2d", "adaptiveavgpool2d"), "GlobalAvgPool2D()"),
        **dict.fromkeys(("dropout2d", "spatialdropout2d"), "SpatialDropout(rate)"),
        "upsampling2d": "Upsample(factor)",
        **dict.fromkeys(("zeropadding2d", "zeropad2d"), "ZeroPad(padding)"),
        "swish": "SiLU()",
        **dict.fromkeys(("simplernn", "elman"), "RNN(units)"),
        **dict.fromkeys(
            ("timedistributed", "temporalaffine"), "Dense(units), which acts on each position of (n, time, d)"
        ),
        **dict.fromkeys(("multiheadattention", "scaleddotproductattention"), _ATTENTION),
        **dict.fromkeys(("conv1d", "conv3d"), _OWN_LAYER),
        "activation": "ReLU(), Tanh(), Sigmoid() and others, as layers of their own",
        "sequential": "Net([layer, ...], input_shape, loss); Chain([layer, ...]) makes one layer of several",
        **dict.fromkeys(("model", "network", "module"), "Net(layers, input_shape, loss); a layer is a Layer"),
        **dict.fromkeys(("input", "inputlayer"), "Net(layers, input_shape) has the shape of a sample"),
        **dict.fromkeys(("nn", "functional"), "layers and losses are in minnet itself: Dense(100), ReLU()"),
        "optimizers": "rules are in minnet itself: Adam(); Optimizer(net, Adam())",
        "callbacks": "callbacks are in minnet itself: EarlyStopping(), Checkpoint(folder)",
        "adamw": "Adam() with decoupled decay: fit(..., rule=Adam(), weight_decay=0.01)",
        **dict.fromkeys(("sgdmomentum", "heavyball"), "Momentum(0.9)"),
        "nesterovmomentum": "Nesterov(0.9)",
        "lrscheduler": _SCHEDULE,
        "learningratescheduler": _SCHEDULE,
        "cosineannealinglr": "schedules.Cosine(lr, steps)",
        "cosinedecay": "schedules.Cosine(lr, steps)",
        "cosineannealingwarmrestarts": "schedules.WarmRestarts",
        "steplr": "schedules.Step",
        "multisteplr": "schedules.Piecewise",
        **dict.fromkeys(("exponentiallr", "exponentialdecay"), "schedules.Exponential"),
        "linearlr": "schedules.Linear",
        "onecyclelr": "schedules.OneCycle",
        "cycliclr": "schedules.Triangular",
        "reducelronplateau": "ReduceOnPlateau(monitor)",
        "modelcheckpoint": "Checkpoint(folder, best='val_accuracy')",
        **dict.fromkeys(("tensorboard", "summarywriter"), "training.Tracker(training.TensorBoard(folder))"),
        **dict.fromkeys(("wandblogger", "wandbmetricslogger"), "training.Tracker(training.WandB(project))"),
        "csvlogger": "fit returns a History, whose save(path) writes CSV or JSON",
        "imagefolder": "datasets.image_folder(folder)",
        **dict.fromkeys(("dataloader", "dataset", "tensordataset"), "data.Batches((x, y), batch_size)"),
        **dict.fromkeys(("traintestsplit", "randomsplit"), _SPLIT),
        **dict.fromkeys(("standardscaler", "normalize", "normalization"), "data.Standardizer.fit(x)"),
        **dict.fromkeys(("randomcrop", "randomhorizontalflip", "transforms"), "data.Augment(flip=True, crop=4)"),
        **dict.fromkeys(("clipgradnorm", "clipbyglobalnorm"), "fit(..., clip_norm=1.0)"),
        **dict.fromkeys(("solver", "train"), _FIT),
        "gradcheckdense": "check_gradient(f, x, analytic) or check_net(net, x, y)",
        "evalnumericalgradient": "numerical_gradient(f, x) or check_gradient(f, x, analytic)",
        "evalnumericalgradientarray": "check_backward(forward, backward, x, ...)",
        "relerror": "relative_error(analytic, numeric)",
        "load": "load_weights(net, path)",
        "save": "save_weights(net, path)",
        "nograd": "predict and evaluate compute no gradients",
        **dict.fromkeys(("manualseed", "setseed"), "Net(..., seed=0), fit(..., seed=0)"),
        "cuda": _DEVICE,
        "device": _DEVICE,
    },
    "Net": {
        **dict.fromkeys(("fit", "train", "trainonbatch", "eval"), f"minnet.{_FIT}; {_MODE}"),
        "compile": "Net(layers, input_shape, loss) has the loss, fit the rule and the rate",
        **dict.fromkeys(("parameters", "weights", "getweights", "trainablevariables"), _WEIGHTS),
        "setweights": "net.params = values, or load_weights(net, path)",
        "statedict": "minnet.to_torch(net) for PyTorch; named_parameters(), named_buffers(); save_weights(net, path)",
        "loadstatedict": "minnet.from_torch(net, state) of PyTorch's; load_weights(net, path)",
        "save": "save_weights(net, path)",
        "load": "load_weights(net, path)",
        "zerograd": _NOTHING,
        "add": "Net([layer, ...], input_shape) takes all layers",
        "score": "evaluate(x, y)['accuracy']",
        **dict.fromkeys(("predictclasses", "predictproba"), "predict(x) has the scores; predict(x).argmax(1)"),
        **dict.fromkeys(("to", "cuda", "cpu", "device"), _DEVICE),
    },
    "Optimizer": {
        "zerograd": _NOTHING,
        "paramgroups": "groups",
        **dict.fromkeys(("lr", "learningrate"), "step(lr) takes the rate"),
        **dict.fromkeys(("minimize", "applygradients"), "step(lr)"),
        **dict.fromkeys(("statedict", "loadstatedict"), "named_state(); Trainer.save writes a whole run"),
    },
    "Trainer": {
        **dict.fromkeys(("fit", "train"), "run()"),
        **dict.fromkeys(("predict", "evaluate"), "trainer.net has predict and evaluate"),
        **dict.fromkeys(("losshistory", "trainacchistory", "valacchistory"), _RECORDED),
    },
    "History": dict.fromkeys(("history", "losshistory", "trainacchistory", "valacchistory", "loss"), _RECORDED),
    "Layer": {
        **dict.fromkeys(("w", "b", "weight", "bias", "weights", "kernel", "getweights", "params"), _WEIGHTS),
    },
    "Loss": dict.fromkeys(("backward", "gradient", "grad"), "value_and_gradient(scores, targets, dscores)"),
    "Rule": {
        **dict.fromkeys(("lr", "learningrate"), "the rate comes with the step: fit(..., lr=0.01)"),
        **dict.fromkeys(("step", "zerograd", "update"), "Optimizer(net, rule) applies a rule: optimizer.step(0.01)"),
    },
}

# Arguments of other libraries, and what minnet calls them where it has them.
SAME: Mapping[str, Sequence[str]] = {
    **dict.fromkeys(("learningrate", "learningrateinit", "eta", "stepsize", "rate"), ("lr", "every")),
    **dict.fromkeys(("numepochs", "nepochs", "maxepochs", "nbepoch", "epoch"), ("epochs",)),
    **dict.fromkeys(("maxiter", "niter", "numiters", "numiterations", "iterations", "numsteps"), ("steps", "epochs")),
    **dict.fromkeys(("bs", "minibatch", "batch"), ("batch_size",)),
    **dict.fromkeys(("validationdata", "valdata", "val", "evalset"), ("validation",)),
    **dict.fromkeys(("optimizer", "updaterule", "update", "solver", "optim"), ("rule",)),
    **dict.fromkeys(("gradclip", "clipnorm", "maxgradnorm", "clip", "gradientclipval"), ("clip_norm",)),
    **dict.fromkeys(("randomstate", "randomseed", "rng"), ("seed",)),
    "stratify": ("stratified",),
    **dict.fromkeys(("trainsize", "testsize", "sizes", "lengths"), ("fractions",)),
    **dict.fromkeys(("verbose", "progressbar"), ("progress",)),
    **dict.fromkeys(("transform", "augmentation"), ("augment",)),
    "droplastbatch": ("drop_last",),
    **dict.fromkeys(("reg", "weightdecay", "regularization", "l2reg", "kernelregularizer", "alpha"), ("l2", "slope")),
    **dict.fromkeys(("criterion", "lossfn", "lossfunction"), ("loss",)),
    **dict.fromkeys(("inputdim", "inputsize"), ("input_shape",)),
    **dict.fromkeys(("outfeatures", "outputdim", "hiddensize"), ("units",)),
    **dict.fromkeys(("outchannels", "numfilters", "channels"), ("filters",)),
    **dict.fromkeys(("kernelsize", "filtersize", "poolsize"), ("kernel", "size")),
    "strides": ("stride",),
    "pad": ("padding",),
    "dilationrate": ("dilation",),
    "usebias": ("bias",),
    **dict.fromkeys(("kernelinitializer", "initializer", "weightscale", "std"), ("init",)),
    **dict.fromkeys(("p", "prob"), ("rate",)),
    "negativeslope": ("slope",),
    "epsilon": ("eps",),
    "numgroups": ("groups",),
    "scalefactor": ("factor",),
    "ignoreindex": ("ignored",),
    **dict.fromkeys(("weight", "weights", "classweight"), ("class_weights", "sample_weight")),
    **dict.fromkeys(("restorebestweights", "restorebest"), ("restore",)),
    **dict.fromkeys(("filepath", "dirpath", "directory", "path"), ("folder",)),
    **dict.fromkeys(("monitor", "savebestonly"), ("best",)),
    **dict.fromkeys(("period", "every", "interval", "savefreq"), ("at", "every")),
    "minlr": ("floor",),
    "mindelta": ("min_delta", "threshold"),
    **dict.fromkeys(("totalsteps", "tmax", "decaysteps"), ("steps",)),
    **dict.fromkeys(("layer", "hiddenlayersizes"), ("layers",)),
    "niternochange": ("patience",),
    **dict.fromkeys(("beta", "momentum"), ("decay",)),
}

# Arguments of other libraries that belong elsewhere in minnet.
PLACES: Mapping[str, str] = {
    **dict.fromkeys(("x", "y", "xtrain", "ytrain", "labels"), "data are one pair, (x, y)"),
    **dict.fromkeys(("xval", "yval"), "validation data are one pair, validation=(x, y)"),
    "validationsplit": _SPLIT,
    **dict.fromkeys(("loss", "lossfn", "criterion"), "Net(layers, input_shape, loss) has the loss"),
    "metrics": "accuracy is recorded for every loss that classifies; help(History) lists the columns",
    "shuffle": "a run shuffles in every epoch, unless its net carries states on (LSTM(units, streams=batch_size)); "
    "data.Batches(..., shuffle=False) does not, in a loop of your own",
    "stateful": "streams=batch_size carries the state on from one training pass to the next",
    **dict.fromkeys(("momentum", "betas", "nesterov", "optimconfig"), "it belongs to the rule: rule=Momentum(0.9)"),
    **dict.fromkeys(("l2", "l1", "reg", "regularization"), "Net(..., l2=1e-4) has the penalties"),
    **dict.fromkeys(("rule", "optimizer", "lr", "learningrate", "epochs", "batchsize"), _FIT),
    **dict.fromkeys(("lrdecay", "learningratedecay", "scheduler", "schedule", "lrschedule"), _SCHEDULE),
    **dict.fromkeys(("classweight", "classweights"), "SoftmaxCrossEntropy(class_weights=...) has them"),
    "earlystopping": "callbacks=[EarlyStopping()]",
    **dict.fromkeys(("device", "numworkers", "workers", "pinmemory"), _DEVICE),
    **dict.fromkeys(("infeatures", "inchannels", "inputshape", "inputdim", "numfeatures", "numchannels"), _INPUTS),
    "activation": "an activation is a layer of its own: Dense(100), ReLU()",
    "keepprob": "rate is the share that is dropped, 1 - keep_prob",
    "reduction": "the value is the mean over the samples",
    "inplace": "a ReLU works in place by itself, where that changes no result",
    "fromlogits": "every loss takes scores",
    "name": "layers are named by their place, such as '0.W'",
    "dropout": "Dropout(0.5) is a layer",
    "batchnorm": "BatchNorm() is a layer",
}

# Values of arguments that must be given.
EXAMPLES: Mapping[str, str] = {
    "rule": "rule=Adam()",
    "lr": "lr=0.001 or lr=schedules.Cosine(0.01, steps=1000)",
    "batch_size": "batch_size=100",
    "data": "(x, y)",
    "fractions": "(0.8, 0.2)",
    "input_shape": "input_shape=784 or (32, 32, 3), the shape of one sample",
    "net": "net=Net(layers, input_shape, loss)",
}

P = ParamSpec("P")
R = TypeVar("R")


def plain(name: str) -> str:
    """Return a name without case and underscores."""
    return name.replace("_", "").lower()


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def similar(name: str, known: Iterable[str], cutoff: float = 0.75) -> str | None:
    """Return the most similar of the known names, without case and underscores; None below ``cutoff``, from 0 to 1."""
    names = {plain(_last(other)): other for other in known if not other.startswith("_")}
    from difflib import get_close_matches

    found = get_close_matches(plain(name), names, n=1, cutoff=cutoff)
    return names[found[0]] if found else None


def no_attribute(owner: str, kinds: Iterable[str], name: str, known: Iterable[str]) -> AttributeError:
    """Return the error for a name that an object does not have, with what to write instead.

    Args:
        owner: what lacks the name, for the error.
        kinds: tables of ``NAMES`` to look into.
        name: the name.
        known: names that the object has, or that are found in one of its modules, such as "schedules.Cosine".
    """
    known = list(known)
    exact = next((other for other in known if plain(_last(other)) == plain(name)), None)
    table = next((NAMES[kind][plain(name)] for kind in kinds if plain(name) in NAMES.get(kind, {})), None)
    both = [hint for hint in (table, exact) if hint]  # PyTorch's Linear is Dense, and a schedule is called Linear
    hint = ", or ".join(both) or similar(name, known)
    return AttributeError(f"{owner} has no attribute {name!r}" + (f"; in minnet: {hint}" if hint else ""))


def check_call(who: str, function: Callable[..., Any], values: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Raise TypeError, with what to write instead, if a call does not fit the signature of a function."""
    if _fits(function, values, named):
        return
    signature = _signature(function)
    try:
        signature.bind(*values, **named)
    except TypeError as error:
        raise TypeError(f"{who}: {_misfit(who, signature, values, named) or error}") from None


def _fits(function: Callable[..., Any], values: Sequence[Any], named: Mapping[str, Any]) -> bool:
    """Return whether a call certainly fits, in a tenth of the time that ``Signature.bind`` takes."""
    places, names, required = _parameters(function)
    given = {*places[: len(values)], *named}
    return len(given) == len(values) + len(named) and required <= given <= names


@lru_cache(maxsize=256)
def _parameters(function: Callable[..., Any]) -> tuple[list[str], frozenset[str], frozenset[str]]:
    """Return the names of parameters that may be given by place, of all that may be given, and of those that must be.

    What ``*args`` and ``**kwargs`` take is not among them. If a parameter has no name for callers, what must be given
    is something that does not exist, so that no call fits for certain.
    """
    parameters = _signature(function).parameters.values()
    if any(p.kind is p.POSITIONAL_ONLY for p in parameters):
        return [], frozenset(), frozenset({""})
    every = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    names = frozenset(p.name for p in every)
    return (
        [p.name for p in every if p.kind is p.POSITIONAL_OR_KEYWORD],
        names,
        frozenset(p.name for p in every if p.default is p.empty),
    )


@lru_cache(maxsize=256)
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


def _misfit(who: str, signature: inspect.Signature, values: Sequence[Any], named: Mapping[str, Any]) -> str:
    """Return the first reason why a call does not fit, in words; "" for reasons that Python words as well."""
    every = [p for p in signature.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    names = [p.name for p in every if p.name != "self"]
    for name in named:
        if name not in names:
            has = f"arguments among {', '.join(names)}" if names else "no arguments"
            return f"expected {has}; got {name}{_hint(name, names)}"
    places = [p.name for p in every if p.kind is not p.KEYWORD_ONLY]
    if len(values) > len(places):
        more, places = len(values) - len(places), [name for name in places if name != "self"]
        if "data" in names:
            pair = f"{who}({'net, ' if 'net' in names else ''}(x, y), ...)"
            return f"expected data as one pair, {pair}, and all else by name; got {more} more positional arguments"
        return f"expected at most {len(places)} arguments without a name; got {more} more"
    given = [*places[: len(values)], *named]
    missing = [p.name for p in every if p.default is p.empty and p.name not in given]
    if missing:
        examples = ", ".join(EXAMPLES.get(name, f"{name}=...") for name in missing)
        found = ", ".join(name for name in given if name != "self")
        return f"expected {' and '.join(missing)} as well: {examples}; got {found} only"
    return ""


def _hint(name: str, names: Sequence[str]) -> str:
    """Return what to write instead of an unknown argument, for the end of an error; "" if that is not known."""
    exact = next((other for other in names if plain(other) == plain(name)), None)
    called = exact or next((other for other in SAME.get(plain(name), ()) if other in names), None)
    if called is None and plain(name) in PLACES:
        return f"; {PLACES[plain(name)]}"
    called = called or similar(name, names)
    return f"; it is called {called} here" if called else ""


class Guided:
    """Base of public classes: names and arguments that they lack raise errors that say what to write instead."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        if args or kwargs:  # copies are made without arguments
            check_call(cls.__name__, cls.__init__, (cls, *args), kwargs)
        return super().__new__(cls)

    if not TYPE_CHECKING:  # a type checker would take any attribute for one of the class

        def __getattr__(self, name: str) -> Any:
            if hasattr(type(self), name):  # a property has raised AttributeError: raise it again
                return object.__getattribute__(self, name)
            if name.startswith("_"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            kinds = [kind.__name__ for kind in type(self).__mro__]
            raise no_attribute(f"{type(self).__name__!r} object", kinds, name, dir(self))


def guided(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function: a call that does not fit its signature raises an error that says what to write instead."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        check_call(function.__name__, function, args, kwargs)
        return function(*args, **kwargs)

    return call
