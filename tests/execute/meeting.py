"""A layer to be run by two threads at once."""

from threading import Barrier

from torch import Tensor, nn


class Meeting(nn.Linear):
    """A layer that two threads are in at once."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.barrier = Barrier(2, timeout=20)

    def forward(self, x: Tensor) -> Tensor:
        self.barrier.wait()
        told = super().forward(x)
        self.barrier.wait()
        return told
