"""PyTorch: a training step of the quantized network, eager or compiled.

The same arithmetic in float32: symmetric weights by the largest magnitude of a filter, rounded;
activations rounded up to levels of a learned step; straight-through gradients; Adam. This
project's step also derives the chip's thresholds and steps from the parameters, exactly; this one
leaves that out.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from akida_jax import quant
from akida_jax.quant.activations import activation_limit
from akida_jax.quant.architecture import Conv
from akida_jax.quant.operations import same_padding
from akida_jax.quant.weights import weight_limit


def make_step(
    twin: quant.Sequential,
    x: np.ndarray,
    labels: np.ndarray,
    *,
    rate: float,
    compiled: bool,
    threads: int,
) -> Callable[[], float]:
    """Return a call that trains one step on a batch and returns its loss.

    Args:
      twin: quantized network whose input is event frames; its parameters are copied.
      x: levels (n, h, w, c), as they are given.
      labels: (n,) classes.
      rate: of Adam.
      compiled: whether the loss goes through torch.compile.
      threads: that it may use.
    """
    torch.set_num_threads(threads)
    layers = [_Layer(layer) for layer in twin.layers]
    network = nn.Sequential(*layers).to(memory_format=torch.channels_last)
    given = torch.from_numpy(x.astype(np.float32)).permute(0, 3, 1, 2)
    given = given.contiguous(memory_format=torch.channels_last)
    targets = torch.from_numpy(labels.astype(np.int64))
    optimizer = torch.optim.Adam(network.parameters(), lr=rate, fused=True)

    def loss() -> torch.Tensor:
        y, step = given, torch.ones(())
        for layer in layers:
            y = layer(y, step)
            step = layer.step
        return nn.functional.cross_entropy(y.flatten(1), targets)

    run = torch.compile(loss) if compiled else loss

    def call() -> float:
        optimizer.zero_grad()
        value = run()
        value.backward()
        optimizer.step()
        return value.item()

    return call


class _Layer(nn.Module):
    """A quantized layer; levels in, levels or logits out."""

    def __init__(self, layer: Any):
        super().__init__()
        self.spec = layer.spec
        self.in_shape = layer.in_shape
        self.weight_limit = weight_limit(layer.precision.weight_bits)
        self.limit = activation_limit(layer.precision.act_bits)
        for name in self.spec.kernel_shapes(self.in_shape):
            kernel = np.array(getattr(layer, name)[...])
            if kernel.ndim == 4 and isinstance(self.spec, Conv):  # HWIO; depthwise: (kh, kw, 1, c)
                kernel = kernel.transpose(3, 2, 0, 1)
            else:
                kernel = kernel.reshape(-1, kernel.shape[-1]).T
            setattr(self, name, nn.Parameter(torch.tensor(kernel)))
        self.bias = nn.Parameter(torch.tensor(np.array(layer.bias[...])))
        self.step = nn.Parameter(torch.tensor(float(layer.step[...])))

    def forward(self, x: torch.Tensor, input_step: torch.Tensor) -> torch.Tensor:
        """Return levels, or logits of the last layer."""
        spec = self.spec
        separable = spec.kind == "separable"
        levels, scale = self._quantized(self.kernel, whole=separable)
        if not isinstance(spec, Conv):
            y = nn.functional.linear(x.flatten(1), levels)[:, :, None, None]
        else:
            pads = [p for size in self.in_shape[1::-1]
                    for p in same_padding(size, spec.kernel_size, spec.stride)]  # fmt: skip
            groups = x.shape[1] if separable else 1
            y = nn.functional.conv2d(
                nn.functional.pad(x, pads), levels, stride=spec.stride, groups=groups
            )
            if separable:
                pointwise, by_filter = self._quantized(self.pointwise[:, :, None, None])
                y, scale = nn.functional.conv2d(y, pointwise), scale * by_filter
            y = self._pooled(y)
        y = y / scale.reshape(-1, 1, 1) * input_step + self.bias[:, None, None]
        if not spec.activation:
            return y
        u = torch.clamp(y / self.step - 0.5, -1.0, float(self.limit))
        return u + (torch.clamp(torch.ceil(u), 0, self.limit) - u).detach()

    def _quantized(
        self, w: torch.Tensor, *, whole: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        largest = w.detach().abs().amax() if whole else w.detach().abs().flatten(1).amax(1)
        scale = self.weight_limit / largest.clamp_min(2.0**-60)
        scaled = w * scale.reshape(-1, *[1] * (w.ndim - 1))
        return scaled + (torch.round(scaled) - scaled).detach(), scale

    def _pooled(self, y: torch.Tensor) -> torch.Tensor:
        spec = self.spec
        if spec.pool == "global_average":
            return y.mean((2, 3), keepdim=True)
        if spec.pool == "max":
            return nn.functional.max_pool2d(y, spec.pool_size, spec.pool_stride)
        return y
