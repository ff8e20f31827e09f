"""The integer model: layers, their integers, and how to run them."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int64, UInt8
from numpy.typing import ArrayLike

from akida_jax.activity import Activity, LayerActivity, count_operations, synaptic_operations
from akida_jax.executors import (
    EXECUTORS,
    NativeNetwork,
    check_name,
    choose_executor,
    dense_potentials,
    run_layers,
)
from akida_jax.executors.batches import (
    device_count,
    filled_size,
    gains_by_splitting,
    jit_on_all_cores,
    piece_size,
    spread,
)
from akida_jax.layers import (
    AnySpecification,
    FullyConnected,
    InputConvolutional,
    InputData,
    Specification,
)
from akida_jax.limits import Fault, ModelError, find_faults
from akida_jax.programs import LayerProgram, Programs
from akida_jax.quant.activations import activation_limit
from akida_jax.quant.architecture import Shape, name_layers
from akida_jax.quant.registers import AKIDA_1, Registers
from akida_jax.summary import Columns, Summary, summarize
from akida_jax.variables import (
    LayerVariables,
    blank_variables,
    find_variable_faults,
    freeze,
    make_program,
)

Inputs = UInt8[np.ndarray, "n h w c"] | UInt8[Array, "n h w c"]


class Model:
    """A sequential network of integers, as the chip runs it. Immutable.

    Attributes:
      layers: specifications in order, each with a name.
      registers: register widths that thresholds and steps must fit.
    """

    def __init__(
        self,
        layers: Sequence[AnySpecification],
        variables: Mapping[str, Mapping[str, np.ndarray]] | None = None,
        *,
        registers: Registers = AKIDA_1,
    ):
        """Check the layers against the chip and hold their variables.

        Args:
          layers: specifications; the first is `InputData` or `InputConvolutional`.
          variables: per layer name what `variables` returns; a layer left out has
            weights and thresholds 0 and steps 1.
          registers: register widths.

        Raises:
          ModelError: with every fault of the layers at once, or every fault of the
            variables at once.
          TypeError: if the variables or registers are of another kind.
        """
        self.layers = _named(layers)
        self.registers = registers
        faults = find_faults(self.layers)
        if not faults and not self._computing():
            faults = [Fault(str(self.layers[0].name), "no layer behind the input", "add one")]
        if faults:
            raise ModelError(faults)
        if not isinstance(registers, Registers):
            raise TypeError(f"registers must be a Registers, got {registers!r}")
        given = {} if variables is None else _check_mapping(variables, "variables")
        self._variables = self._check_variables(given)

    def __setattr__(self, name: str, value: object) -> None:
        """Set what is not set yet: a model never changes."""
        if name in self.__dict__:
            raise AttributeError(
                f"a Model is immutable, {name} cannot be set; build a new one or use with_variables"
            )
        super().__setattr__(name, value)

    @property
    def input_shape(self) -> Shape:
        """Height, width and channels of the input."""
        return self._input.input_shape

    @property
    def input_bits(self) -> int:
        """Inputs lie in ``[0, 2**input_bits - 1]``."""
        return self._input.input_bits

    @property
    def output_shape(self) -> Shape:
        """Height, width and channels of the output."""
        return [spec.out_shape(shape) for spec, shape, _ in self._computing()][-1]

    @property
    def variables(self) -> dict[str, LayerVariables]:
        """Read-only arrays by layer and variable name.

        ``kernel`` int8 in HWIO order (``kh kw 1 c`` for the depthwise kernel of a
        separable layer, ``1 1 inputs units`` for a fully connected one), ``pointwise``
        int8 (IO), ``threshold`` int32 and ``step`` float32 per filter. Steps are what
        the register holds: truncated to 1/16.
        """
        return {name: dict(layer) for name, layer in self._variables.items()}

    @functools.cached_property
    def programs(self) -> Programs:
        """What is loaded onto the chip: pytrees, for use inside other jitted functions."""
        return tuple(
            make_program(spec, shape, bits, self._variables[str(spec.name)], self.registers)
            for spec, shape, bits in self._computing()
        )

    def with_variables(self, variables: Mapping[str, Mapping[str, np.ndarray]]) -> "Model":
        """Return a model in which the given variables replace the present ones.

        Raises:
          ModelError: for an unknown name, a wrong shape or dtype, or a value out of
            range; all of them at once.
        """
        merged: dict[str, Any] = {name: dict(layer) for name, layer in self._variables.items()}
        for name, layer in _check_mapping(variables, "variables").items():
            merged[name] = {**merged.get(name, {}), **_check_mapping(layer, f"layer {name!r}")}
        return Model(self.layers, merged, registers=self.registers)

    def up_to(self, name: str) -> "Model":
        """Return the model whose last layer is the one of that name.

        ``model.up_to("spike_generator")`` is a network without its classifier: what an
        `EdgeLearner` learns from and is attached to.

        Raises:
          ValueError: if there is no such layer.
          ModelError: if the layer is the input alone.
        """
        names = [str(spec.name) for spec in self.layers]
        if name not in names:
            raise ValueError(f"no layer {name!r}; the layers are {', '.join(names)}")
        kept = names[: names.index(name) + 1]
        variables = {layer: values for layer, values in self._variables.items() if layer in kept}
        return Model(self.layers[: len(kept)], variables, registers=self.registers)

    def forward(self, x: Inputs, executor: str = "auto") -> np.ndarray:
        """Return the last layer's integers, (n, h, w, c).

        Args:
          x: unsigned integers in ``[0, 2**input_bits - 1]``.
          executor: "native", "dense", "event" or "auto"; every one gives the same integers.
            "auto" is the quickest on this machine.

        Returns:
          int32 potentials if the last layer has no activation, else uint8 levels.

        Raises:
          ValueError: for a wrong shape, dtype or range, or an unknown executor.
        """
        potentials = self._potentials(x, executor)
        last = self.programs[-1]
        if not last.spec.activation:
            return potentials
        return np.asarray(_fire(last, potentials)).astype(np.uint8)

    def predict(self, x: Inputs, executor: str = "auto") -> Float32[np.ndarray, "n ..."]:
        """Return logits: ``(potential - threshold) / step`` of the last layer.

        Shape (n, units) if the output is 1x1, else (n, h, w, c).
        """
        potentials = self._potentials(x, executor)
        last = self._variables[str(self.layers[-1].name)]
        logits = (potentials - last["threshold"]).astype(np.float32) / last["step"]
        return logits[:, 0, 0] if logits.shape[1:3] == (1, 1) else logits

    def predict_classes(self, x: Inputs, executor: str = "auto") -> Int64[np.ndarray, " n"]:
        """Return the class of the largest logit of each input; the first, if equal.

        It is the index of the output, divided by the last layer's ``neurons_per_class`` where
        that is more than 1, rounded down.

        Raises:
          ValueError: if the output is a map, which has no one class; or as `forward`.
        """
        if self.output_shape[:2] != (1, 1):
            shape = "x".join(map(str, self.output_shape))
            raise ValueError(
                f"layer {self.layers[-1].name!r} returns a map of {shape}, no classes; use "
                "predict, or end with a FullyConnected layer"
            )
        return self.predict(x, executor).argmax(-1) // self._neurons_per_class

    def evaluate(self, x: Inputs, labels: ArrayLike, executor: str = "auto") -> float:
        """Return the share of inputs whose predicted class is the label.

        Args:
          x: inputs, as for `forward`.
          labels: integers in ``[0, classes - 1]``, one for each input.
          executor: as for `forward`.

        Raises:
          ValueError: if there are no inputs, not one label for each, or a label that is no
            class.
        """
        labels = self._check_labels(labels, len(x))
        return float((self.predict_classes(x, executor) == labels).mean())

    def confusion(
        self, x: Inputs, labels: ArrayLike, executor: str = "auto"
    ) -> Int64[np.ndarray, "classes classes"]:
        """Return how often each class (row) was taken for each (column).

        Args:
          x: inputs, as for `forward`.
          labels: integers in ``[0, classes - 1]``, one for each input.
          executor: as for `forward`.

        Raises:
          ValueError: as `evaluate`.
        """
        labels = self._check_labels(labels, len(x))
        counts = np.zeros((self._classes, self._classes), np.int64)
        np.add.at(counts, (labels, self.predict_classes(x, executor)), 1)
        return counts

    def outputs(self, x: Inputs, executor: str = "auto") -> dict[str, np.ndarray]:
        """Return the integers that every layer puts out, by name, in layer order.

        All of them are held at once; give few inputs of a large model at a time.

        Args:
          x: inputs, as for `forward`.
          executor: as for `activity`.

        Returns:
          Per layer (n, h, w, c): uint8 levels; int32 potentials of a layer without activation.

        Raises:
          ValueError: as `forward`.
        """
        potentials = _layerwise(executor)
        parts = []
        for piece, count in self._pieces(x):
            values = _run_and_keep(self.programs, piece, potentials)
            parts.append([np.asarray(one)[:count] for one in values])
        return {
            str(spec.name): np.concatenate(one).astype(np.uint8 if spec.activation else np.int32)
            for (spec, _, _), one in zip(self._computing(), zip(*parts, strict=True), strict=True)
        }

    def activity(self, x: Inputs, executor: str = "auto") -> Activity:
        """Count events and synaptic operations of every layer, exactly.

        The native executor does not show what happens between layers; the dense one counts in
        its place.
        """
        potentials = _layerwise(executor)
        events: list[int] = []
        operations = [0] * len(self.programs)
        for piece, count in self._pieces(x):
            counted, last = _count(self.programs, piece, potentials)
            totals = [int(np.asarray(e)[:count].astype(np.int64).sum()) for e, _ in counted]
            totals.append(int((np.asarray(last)[:count] != 0).sum()))
            events = [a + b for a, b in zip(events or [0] * len(totals), totals, strict=True)]
            for i, (program, (_, taps)) in enumerate(zip(self.programs, counted, strict=True)):
                operations[i] += synaptic_operations(program, np.asarray(taps)[:count])
        layers = {}
        for i, (spec, shape, _) in enumerate(self._computing()):
            layers[str(spec.name)] = LayerActivity(
                samples=len(x),
                events_in=events[i],
                events_out=events[i + 1],
                values_out=len(x) * int(np.prod(spec.out_shape(shape))),
                synaptic_operations=operations[i],
                macs=len(x) * spec.macs(shape),
            )
        return Activity(layers)

    def summary(self, *columns: Columns) -> Summary:
        """Return a table of the layers: shapes, bits, weights, operations.

        Args:
          *columns: a `mapping.Placement`, and a `mapping.Cost` of it, whose columns take
            the place of weights and operations.
        """
        return summarize(self._computing(), self._input, columns)

    def __repr__(self) -> str:
        return f"Model({len(self.layers)} layers, input {self.input_shape})"

    @property
    def _neurons_per_class(self) -> int:
        last = self.layers[-1]
        return last.neurons_per_class if isinstance(last, FullyConnected) else 1

    @property
    def _classes(self) -> int:
        return self.output_shape[2] // self._neurons_per_class

    @property
    def _input(self) -> InputData | InputConvolutional:
        first = self.layers[0]
        assert isinstance(first, InputData | InputConvolutional)
        return first

    def _computing(self) -> list[tuple[Specification, Shape, int]]:
        """Return each computing layer with the shape and bits of its input."""
        shape, bits = self.input_shape, self.input_bits
        result = []
        for spec in self.layers:
            if not isinstance(spec, InputData):
                result.append((spec, shape, bits))
                shape, bits = spec.out_shape(shape), spec.act_bits
        return result

    def _check_variables(self, given: Mapping[str, Mapping[str, Any]]) -> dict[str, LayerVariables]:
        layers = {str(spec.name): (spec, shape, bits) for spec, shape, bits in self._computing()}
        faults = [
            Fault(str(name), "no such layer", f"the layers are {', '.join(layers)}")
            for name in given
            if name not in layers
        ]
        checked = {}
        for name, (spec, shape, bits) in layers.items():
            blank = blank_variables(spec, shape)
            layer = _check_mapping(given.get(name, {}), f"layer {name!r}")
            arrays = {key: np.asarray(value) for key, value in layer.items()}
            values = {**blank, **arrays}
            found = find_variable_faults(spec, shape, bits, values, self.registers)
            faults += found
            if not found:
                checked[name] = freeze(values, self.registers)
        if faults:
            raise ModelError(faults)
        return checked

    def _check_labels(self, labels: ArrayLike, n: int) -> np.ndarray:
        labels = np.asarray(labels)
        if labels.shape != (n,) or not n:
            raise ValueError(f"need one label for each of {n} inputs, got {labels.shape}")
        classes = self._classes
        if labels.dtype.kind not in "iu":
            raise ValueError(f"labels must be integers in 0..{classes - 1}, got {labels.dtype}")
        if labels.min() < 0 or labels.max() >= classes:
            raise ValueError(
                f"labels must lie in 0..{classes - 1}, got {labels.min()} to {labels.max()}"
            )
        return labels

    def _potentials(self, x: Inputs, executor: str) -> np.ndarray:
        name = choose_executor(executor)
        if name == "native":
            return np.asarray(self._native(self._check_input(x)))
        if name == "dense":
            return self._dense(x)
        pieces = [
            np.asarray(_run(self.programs, piece, EXECUTORS[name]))[:count]
            for piece, count in self._pieces(x)
        ]
        return np.concatenate(pieces)

    def _dense(self, x: Inputs) -> np.ndarray:
        """Run on all devices."""
        devices = device_count()
        result = []
        for piece, count in self._pieces(x, devices=devices):
            split = gains_by_splitting(self.programs, -(-len(piece) // devices))
            run = _run_split() if split else _run
            potentials = run(self.programs, spread(piece), dense_potentials)
            result.append(np.asarray(potentials)[:count])
        return np.concatenate(result)

    def __getstate__(self) -> dict:
        """Leave out what was compiled; a copy compiles anew."""
        return {name: value for name, value in self.__dict__.items() if name != "_native"}

    @functools.cached_property
    def _native(self) -> NativeNetwork:
        return NativeNetwork(self.programs)

    def _pieces(self, x: Inputs, *, devices: int = 1) -> Iterator[tuple[np.ndarray, int]]:
        """Yield batches of few distinct sizes, filled up with zeros, and their counts."""
        x = self._check_input(x)
        most = piece_size(self.programs) * devices
        for start in range(0, max(len(x), 1), most):
            piece = x[start : start + most]
            filled = np.zeros((filled_size(len(piece), devices), *x.shape[1:]), x.dtype)
            filled[: len(piece)] = piece
            yield filled, len(piece)

    def _check_input(self, x: Inputs) -> np.ndarray:
        x = np.asarray(x)
        name, limit = self.layers[0].name, activation_limit(self.input_bits)
        if x.ndim != 4 or x.shape[1:] != tuple(self.input_shape):
            shape = ", ".join(map(str, self.input_shape))
            raise ValueError(f"layer {name!r} takes inputs of shape (n, {shape}), got {x.shape}")
        if x.dtype != np.uint8:
            raise ValueError(f"layer {name!r} takes uint8 inputs, got {x.dtype}; cast them")
        if x.size and x.max() > limit:
            raise ValueError(
                f"layer {name!r} takes {self.input_bits}-bit inputs in 0..{limit}, "
                f"got {x.max()}; clip or rescale them"
            )
        return x


def _named(layers: Sequence[AnySpecification]) -> tuple[AnySpecification, ...]:
    """Return the layers with their names, if each is a layer and no two share a name."""
    items = [layers] if isinstance(layers, str) else list(layers)
    if not items:
        raise ModelError([Fault("model", "no layers", "begin with an input layer")])
    faults = [
        Fault(f"number {index}", f"{item!r} is no layer specification",
              "use InputData, InputConvolutional, Convolutional, SeparableConvolutional or "
              "FullyConnected of akida_jax")
        for index, item in enumerate(items)
        if not isinstance(item, AnySpecification)
    ]  # fmt: skip
    if faults:
        raise ModelError(faults)
    try:
        return name_layers(items)
    except ValueError as error:
        raise ModelError([Fault("model", str(error), "name each layer")]) from error


def _check_mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} must be a dict of arrays by name, got {value!r}")
    return value


def _run_all(programs: Programs, x: Array, potentials: Callable) -> Array:
    return run_layers(programs, x, potentials)[1]


_run = jax.jit(_run_all, static_argnums=2)


@functools.cache
def _run_split() -> Callable:
    return jit_on_all_cores(_run_all, static_argnums=2)


@jax.jit
def _fire(program: LayerProgram, potentials: Array) -> Array:
    return program.fire(jnp.asarray(potentials))


def _layerwise(executor: str) -> Callable:
    """Return an executor that goes layer by layer: the dense one in place of the native."""
    check_name(executor)
    return EXECUTORS["event" if executor == "event" else "dense"]


@functools.partial(jax.jit, static_argnums=2)
def _count(programs: Programs, x: Array, potentials: Callable) -> tuple[list, Array]:
    inputs, last = run_layers(programs, x, potentials)
    counted = [count_operations(p, levels) for p, levels in zip(programs, inputs, strict=True)]
    return counted, _finish(programs, last)


@functools.partial(jax.jit, static_argnums=2)
def _run_and_keep(programs: Programs, x: Array, potentials: Callable) -> list[Array]:
    inputs, last = run_layers(programs, x, potentials)
    return [*inputs[1:], _finish(programs, last)]


def _finish(programs: Programs, last: Array) -> Array:
    """Return the levels of the last layer, or its potentials if it has no activation."""
    return programs[-1].fire(last) if programs[-1].spec.activation else last
