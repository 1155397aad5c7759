"""A copy of the state of a run: restored if the run diverges, or if a run that was left continues."""

import numpy as np

from ..net.net import Net
from ..optim.optimizer import Optimizer


class State:
    """A copy of everything that a step changes in a net and an optimizer."""

    def __init__(self, net: Net, optimizer: Optimizer) -> None:
        self.params, self.buffers, self.slots = net.params.copy(), net.buffers.copy(), optimizer.state.copy()
        self.numbers = optimizer.numbers.copy()
        self.net_step, self.steps = net.step, optimizer.steps

    def take(self, net: Net, optimizer: Optimizer) -> None:
        """Copy the present state."""
        np.copyto(self.params, net.params)
        np.copyto(self.buffers, net.buffers)
        np.copyto(self.slots, optimizer.state)
        np.copyto(self.numbers, optimizer.numbers)
        self.net_step, self.steps = net.step, optimizer.steps

    def put_back(self, net: Net, optimizer: Optimizer) -> None:
        """Restore the copied state."""
        net.params, net.buffers, net.step = self.params, self.buffers, self.net_step
        optimizer.state, optimizer.numbers, optimizer.steps = self.slots, self.numbers, self.steps
