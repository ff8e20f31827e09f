"""How large a file of a model may become."""

from akida_jax.programs import Programs

LARGEST_BYTES = 2**31 - 2**24
"""What the weights may take: FlatBuffers and protocol buffers hold 2 GiB."""


def check_size(programs: Programs) -> None:
    """Refuse weights that no file holds, before anything is traced.

    Raises:
      ValueError: naming the largest layer.
    """
    sizes = {str(p.spec.name): sum(k.nbytes for k in p.kernels.values()) for p in programs}
    if sum(sizes.values()) > LARGEST_BYTES:
        largest = max(sizes, key=lambda name: sizes[name])
        raise ValueError(
            f"the weights take {sum(sizes.values()):,} bytes, of which layer {largest!r} "
            f"{sizes[largest]:,}; a file holds {LARGEST_BYTES:,}; use fewer filters or units"
        )
