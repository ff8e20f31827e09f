"""PyTorch: the network in float32, eager and compiled."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from benchmarks.peers.steps import Peer, Step


def make_call(
    peer: Peer, x: np.ndarray, *, compiled: bool, threads: int
) -> Callable[[], np.ndarray]:
    """Return a call that runs the network on levels (n, h, w, c) and returns logits."""
    torch.set_num_threads(threads)
    network = nn.Sequential(*map(_Layer, peer.steps)).eval().to(memory_format=torch.channels_last)
    given = torch.from_numpy(x.astype(np.float32) - peer.zero).permute(0, 3, 1, 2)
    given = given.contiguous(memory_format=torch.channels_last)
    run = torch.compile(network) if compiled else network

    def call() -> np.ndarray:
        with torch.inference_mode():
            return run(given).numpy()

    return call


class _Layer(nn.Module):
    """One step."""

    def __init__(self, step: Step):
        super().__init__()
        self.step = step
        kernel = (step.kernel * step.scale).transpose(3, 2, 0, 1)
        outputs, inputs, *size = kernel.shape
        self.linear: nn.Module
        if step.kind == "dense":
            kernel = kernel.reshape(outputs, -1)
            self.linear = nn.Linear(kernel.shape[1], outputs)
        else:
            groups = outputs if step.kind == "depthwise" else 1
            self.linear = nn.Conv2d(inputs * groups, outputs, size, step.stride, groups=groups)
        self.linear.weight = nn.Parameter(torch.tensor(kernel.astype(np.float32)))
        self.linear.bias = nn.Parameter(torch.tensor(step.bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        step = self.step
        if step.kind == "dense":
            return self.linear(x.flatten(1))
        x = self.linear(_pad(x, step.pads, 0.0))
        if step.pool == "mean":
            x = x.mean((2, 3), keepdim=True)
        if step.low == 0:
            x = x.clamp(0, step.high)
        if isinstance(step.pool, tuple):
            window, stride, pads = step.pool
            x = nn.functional.max_pool2d(_pad(x, pads, 0.0), window, stride)
        return x


def _pad(x: torch.Tensor, pads: tuple[int, int, int, int], value: float) -> torch.Tensor:
    top, left, bottom, right = pads
    if not any(pads):
        return x
    return nn.functional.pad(x, (left, right, top, bottom), value=value)
