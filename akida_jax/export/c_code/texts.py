"""The texts of an export: templates filled in, and constants written as C."""

import importlib.metadata
import importlib.resources
import re
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np

from akida_jax.export.c_code.layers import LayerTables
from akida_jax.export.c_code.learning import LearnerTables
from akida_jax.export.c_code.memory import Buffer

_TEMPLATES = importlib.resources.files("akida_jax.export.c_code") / "template"
_TYPES = {"uint8": "uint8_t", "int32": "int32_t", "uint32": "uint32_t"}
_WIDTH = 96


def template(name: str) -> str:
    """Return the text of a file in ``template/``."""
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def fill(name: str, values: Mapping[str, str]) -> str:
    """Return a template with each ``@key@`` replaced by its value.

    Raises:
      KeyError: if the template asks for a value that is not given.
    """
    return re.sub(r"@(\w+)@", lambda found: values[found[1]], template(name))


def version() -> str:
    """Return the version of akida-jax."""
    return importlib.metadata.version("akida-jax")


def array(name: str, values: np.ndarray) -> str:
    """Return the definition of a constant array."""
    flat = np.ascontiguousarray(values).reshape(-1)
    lines = textwrap.wrap(", ".join(map(str, flat.tolist())), _WIDTH)
    body = "\n".join(f"    {line}" for line in lines)
    return f"const {_TYPES[flat.dtype.name]} {name}[{flat.size}] = {{\n{body}\n}};\n"


def declaration(name: str, values: np.ndarray) -> str:
    """Return the declaration of a constant array."""
    return f"extern const {_TYPES[values.dtype.name]} {name}[{values.size}];"


def layer_entries(layers: Sequence[LayerTables], name: str) -> str:
    """Return the elements of the array of layers."""
    entries = []
    for index, layer in enumerate(layers):
        numbers = [f".{key} = {value}" for key, value in layer.fields.items()]
        arrays = [f".{key} = {name}_{key}_{index}" for key in layer.constants]
        # A no-break space keeps a member on one line.
        members = ", ".join(numbers + arrays).replace(" = ", "\u00a0=\u00a0") + ","
        lines = textwrap.wrap(members, _WIDTH - 8)
        body = "\n".join(f"        {line}" for line in lines).replace("\u00a0", " ")
        entries.append(f"    {{   /* {_comment(layer)} */\n{body}\n    }},")
    return "\n".join(entries)


def _comment(layer: LayerTables) -> str:
    """Return what a layer is; its name becomes such that it cannot end the comment."""
    shape = "x".join(map(str, layer.out_shape))
    return f"{re.sub(r'[^A-Za-z0-9_.-]', '_', layer.name)}: {layer.kind}, {shape}"


def memory_fields(buffers: Sequence[Buffer]) -> str:
    """Return the members of the static memory."""
    return "\n".join(
        f"    {buffer.type} {buffer.name}[{buffer.n}];  /* {buffer.what} */" for buffer in buffers
    )


def memory_places(buffers: Sequence[Buffer]) -> str:
    """Return where the runtime finds each part of the memory."""
    there = {buffer.name for buffer in buffers}

    def place(name: str) -> str:
        return f"memory.{name}" if name in there else "NULL"

    levels = ", ".join(place(f"levels_{turn}") for turn in (0, 1))
    names = ("patch", "depthwise_sums", "sums", "totals")
    return "\n".join(
        [f"    .levels = {{{levels}}},", *(f"    .{name} = {place(name)}," for name in names)]
    )


def config(name: str, layers: Sequence[LayerTables], *, skip_zeros: bool, largest: bool) -> str:
    """Return the header that says what of the runtime is compiled, under which names."""
    functions = ("run", "largest", "pack", "add_neurons", "learn", "recall")
    bits = {layer.code_bits for layer in layers}
    switches = {
        **{f"AKIDA_HAS_{n}_BIT{'S' * (n > 1)}": n in bits for n in (1, 2, 4, 8)},
        "AKIDA_HAS_SEPARABLE": any("depthwise" in layer.constants for layer in layers),
        "AKIDA_HAS_LARGEST": largest,
    }
    lines = [
        "/* What this model needs of the runtime, and names that no other model has. */",
        "#ifndef AKIDA_CONFIG_H",
        "#define AKIDA_CONFIG_H",
        "",
        *(f"#define akida_{function} {name}_akida_{function}" for function in functions),
        "",
        *(f"#define {switch} {int(on)}" for switch, on in switches.items()),
        "",
        "/* Whether inputs of 0 are left out: quicker the more there are; the same integers. */",
        "#ifndef AKIDA_SKIP_ZEROS",
        f"#define AKIDA_SKIP_ZEROS {int(skip_zeros)}",
        "#endif",
        "",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def guarded(guard: str, lines: Sequence[str]) -> str:
    """Return a header."""
    return "\n".join([f"#ifndef {guard}", f"#define {guard}", "", *lines, "", "#endif"]) + "\n"


def learner_fields(learner: LearnerTables) -> str:
    """Return the members of ``akida_learner``."""
    return "\n".join(f"    .{key} = {value}u," for key, value in learner.fields.items())


def first_state(name: str, learner: LearnerTables) -> str:
    """Return the statements that make the state in which learning begins."""
    neurons = learner.classes * learner.neurons_per_class
    lines = ["memset(learned.neurons, 0, sizeof learned.neurons);",
             "memset(learned.weights, 0, sizeof learned.weights);"]  # fmt: skip
    if learner.constants:
        lines += [
            f"memcpy(learned.{field}, {name}_first_{field}, sizeof {name}_first_{field});"
            for field in ("neurons", "weights")
        ]
        lines += [f"learned.n_neurons = {neurons};"]
    else:
        lines += ["learned.n_neurons = 0;", f"add_neurons({neurons});"]
    return "\n".join(f"    {line}" for line in lines)
