"""Trackers of experiments that ``Tracker`` can write to. Each needs a package of its own, which it imports."""

import time
from pathlib import Path
from typing import Any

from ..base.extras import extra
from ..base.guide import Guided


class TensorBoard(Guided):
    """Write the figures of a run to event files of TensorBoard, with tensorboardX.

    Args:
        folder: folder of the run, made if necessary; TensorBoard calls the run by its name. Each opening adds a file.
            TensorBoard hides the figures of an earlier run in this folder, and those of steps that a resumed run takes
            again.

    Raises:
        ImportError: if tensorboardX is not installed (``pip install 'minnet[tensorboard]'``).
    """

    def __init__(self, folder: str | Path) -> None:
        with extra("TensorBoard", "tensorboardX 2.6 or newer", "tensorboard"):
            import tensorboardX  # noqa: F401
        self.folder = Path(folder).absolute()
        self._writer: Any = None

    @property
    def place(self) -> object:
        """Where the figures go: two stores with the same folder are refused in one run."""
        return "TensorBoard", str(self.folder.resolve())

    def __repr__(self) -> str:
        return f"TensorBoard({str(self.folder)!r})"

    def begin(self, run: str, step: int) -> None:
        """Open an event file that says which steps before it no longer count.

        Args:
            run: name of the run, of which the file's name has the beginning.
            step: the last step that still counts; 0 for a run that begins.

        Raises:
            OSError: the folder cannot be made, or the file cannot be written.
        """
        from tensorboardX import SummaryWriter

        # The name of a file has the second in which it was opened. Files of one second are told apart, and read in
        # their order, by the step.
        self._writer = SummaryWriter(
            str(self.folder), purge_step=step + 1, flush_secs=10, filename_suffix=f".{step:012}.{run[:8]}"
        )

    def __call__(self, step: int, figures: dict[str, float]) -> None:
        """Write the figures of a step."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self, ended: bool) -> None:
        """Write what is left and close the file, which does not say how the run ended.

        Args:
            ended: whether the run came to its end. The file does not depend on it.
        """
        writer, self._writer = self._writer, None
        writer.close()


class MLflow(Guided):
    """Write the figures of a run to a tracking store of MLflow.

    The run of MLflow has the tag ``minnet.run``, by which a resumed run finds it. Steps that it has already are not
    written again. The client has a store of its own, so MLflow's active run and its other settings do not change.

    Args:
        experiment: name of MLflow's experiment, made if necessary.
        store: address of a server, or of files, such as ``"sqlite:///mlflow.db"``, for which the package ``mlflow`` is
            needed. None for the address that MLflow is set to.
        name: name of the run; None for one that MLflow makes up.

    Raises:
        ImportError: if mlflow or mlflow-skinny is not installed (``pip install 'minnet[mlflow]'``).
    """

    def __init__(self, experiment: str, store: str | None = None, name: str | None = None) -> None:
        with extra("MLflow", "mlflow-skinny 3 or newer", "mlflow"):
            import mlflow  # noqa: F401
        self.experiment, self.store, self.name = experiment, store, name
        self._client: Any = None
        self._id = ""
        self._known: dict[str, int] = {}  # last step of each figure that the store has

    @property
    def place(self) -> object:
        """Where the figures go: a run of minnet is one run of an experiment, whatever its name."""
        return "MLflow", self.store, self.experiment

    def __repr__(self) -> str:
        return f"MLflow({self.experiment!r}, {self.store!r}, {self.name!r})"

    def begin(self, run: str, step: int) -> None:
        """Find the run in the store, or make it.

        Args:
            run: name of the run, its tag ``minnet.run`` in the store.
            step: the last step whose figures have been handed over. What the store has already decides instead.
        """
        from mlflow import MlflowClient

        self._client = client = MlflowClient(tracking_uri=self.store)
        found = client.get_experiment_by_name(self.experiment)
        experiment = client.create_experiment(self.experiment) if found is None else found.experiment_id
        runs = client.search_runs([experiment], f"tags.`minnet.run` = '{run}'", max_results=1)
        if runs:
            self._id = runs[0].info.run_id
            client.update_run(self._id, status="RUNNING")
        else:
            self._id = client.create_run(experiment, tags={"minnet.run": run}, run_name=self.name).info.run_id
        names = client.get_run(self._id).data.metrics
        self._known = {name: max(figure.step for figure in client.get_metric_history(self._id, name)) for name in names}

    def __call__(self, step: int, figures: dict[str, float]) -> None:
        """Write the figures of a step in one request."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        new = {name: value for name, value in figures.items() if step > self._known.get(name, 0)}
        self._client.log_batch(self._id, [Metric(name, value, now, step) for name, value in new.items()])

    def close(self, ended: bool) -> None:
        """Mark the run as finished, or as failed if an exception has broken it off.

        Args:
            ended: whether the run came to its end.
        """
        client, self._client = self._client, None
        client.set_terminated(self._id, "FINISHED" if ended else "FAILED")


class WandB(Guided):
    """Write the figures of a run to Weights & Biases.

    The run there has the id of minnet's run, so a resumed run goes on with it as far as the server knows it; steps that
    the server has already are not sent again. Without a server, each opening makes a folder, which ``wandb sync`` sends
    later.

    Args:
        project: name of the project.
        settings: further arguments of ``wandb.init``, such as ``mode="offline"``, ``dir=folder`` or ``name="lr 0.1"``.

    Raises:
        ImportError: if wandb is not installed (``pip install 'minnet[wandb]'``).
    """

    def __init__(self, project: str, **settings: Any) -> None:
        with extra("WandB", "wandb 0.19 or newer", "wandb"):
            import wandb  # noqa: F401
        self.project, self.settings = project, settings
        self._run: Any = None

    @property
    def place(self) -> object:
        """Where the figures go: wandb has one run in a process, unless it is told to make another (``reinit``)."""
        return self if "reinit" in self.settings else "WandB"

    def __repr__(self) -> str:
        given = "".join(f", {name}={value!r}" for name, value in self.settings.items())
        return f"WandB({self.project!r}{given})"

    def begin(self, run: str, step: int) -> None:
        """Begin the run, or go on with it.

        Args:
            run: name of the run, its id there.
            step: the last step whose figures have been handed over. What the server has already decides instead.
        """
        import wandb

        self._run = wandb.init(**{"project": self.project, "id": run, "resume": "allow", **self.settings})

    def __call__(self, step: int, figures: dict[str, float]) -> None:
        """Send the figures of a step."""
        if step >= self._run.starting_step:
            self._run.log(figures, step=step)

    def close(self, ended: bool) -> None:
        """Send what is left, and end the run, as failed if an exception has broken it off.

        Args:
            ended: whether the run came to its end.
        """
        run, self._run = self._run, None
        run.finish(exit_code=0 if ended else 1)
