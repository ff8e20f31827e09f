"""Sets of inputs as bits of 32-bit words, and numbers of inputs as planes of such words.

The input is a place in a word; a plane holds one bit of every input's number, so that
counting and choosing inputs needs no sort and no arithmetic per input. All is uint32 and
int32, the same on every device. Further axes, such as one of many learners, stand at the end.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, UInt8, UInt32

WORD = 32
_GOLDEN = 0x9E3779B9
_N_DRAWN = 12
"""Drawn bits by which inputs are chosen; where they are equal their number decides."""


def pack(bits: UInt8[Array, "inputs ..."]) -> UInt32[Array, "words ..."]:
    """Return bits 32 to a word, the first in the lowest place, the last word filled up with 0.

    Args:
      bits: 0 or 1; inputs along the first axis. Inside of jit, where values cannot be looked
        at, all but 0 counts as 1.

    Raises:
      ValueError: for other values.
    """
    ones = bits != 0
    if not isinstance(bits, jax.core.Tracer) and (ones & (bits != 1)).any():
        raise ValueError(f"bits must be 0 or 1, got {bits.min()} to {bits.max()}")
    padded = jnp.pad(ones, [(0, -len(bits) % WORD)] + [(0, 0)] * (bits.ndim - 1))
    words = padded.reshape(len(padded) // WORD, WORD, *bits.shape[1:]).astype(jnp.uint32)
    return jnp.sum(words << _places(bits.ndim), 1, dtype=jnp.uint32)


def unpack(words: UInt32[Array, "words ..."], n_inputs: int) -> UInt8[Array, "inputs ..."]:
    """Return the bits of packed words, the inverse of `pack`."""
    bits = (words[:, None] >> _places(words.ndim)) & jnp.uint32(1)
    return bits.reshape(-1, *words.shape[1:])[:n_inputs].astype(jnp.uint8)


def every_input(n_inputs: UInt32[Array, ""], n_words: int) -> UInt32[Array, " words"]:
    """Return words with a 1 for each input that there is; the last word may have others.

    Args:
      n_inputs: more than 32 for each word but the last.
      n_words: of a set of inputs.
    """
    before = jnp.arange(n_words, dtype=jnp.uint32) * jnp.uint32(WORD)
    in_word = jnp.minimum(n_inputs - before, jnp.uint32(WORD))
    return jnp.uint32(2**WORD - 1) >> (jnp.uint32(WORD) - in_word)


def _places(ndim: int) -> UInt32[Array, "places ..."]:
    return jnp.arange(WORD, dtype=jnp.uint32).reshape(-1, *[1] * (ndim - 1))


def count_ones(words: UInt32[Array, "..."], axis: int | tuple[int, ...]) -> Int32[Array, "..."]:
    """Return the number of ones along an axis of words, or several."""
    return jnp.sum(jax.lax.population_count(words).astype(jnp.int32), axis, dtype=jnp.int32)


def add_up(rows: UInt32[Array, "rows words ..."]) -> UInt32[Array, "planes words ..."]:
    """Return in how many rows each input has a 1, as planes, the highest first.

    Args:
      rows: at least one.
    """
    n_planes = len(rows).bit_length()
    numbers = [rows]
    while len(numbers[0]) > 1:
        numbers = _add_halves(numbers)
    return jnp.concatenate(numbers[:n_planes][::-1])


def _add_halves(numbers: list[Array]) -> list[Array]:
    """Return the sums of the first half and the second, one plane more; lowest plane first."""
    half = -(-len(numbers[0]) // 2)
    carry = jnp.zeros_like(numbers[0][:half])
    sums = []
    for plane in numbers:
        first, second = plane[:half], plane[half:]
        if len(second) < half:
            second = jnp.concatenate([second, jnp.zeros_like(plane[:1])])
        sums.append(first ^ second ^ carry)
        carry = (first & second) | (carry & (first ^ second))
    return [*sums, carry]


def draw_planes(
    seed: UInt32[Array, "..."],
    neuron: UInt32[Array, "..."],
    count: UInt32[Array, "..."],
    n_words: int,
) -> UInt32[Array, "planes words ..."]:
    """Return drawn numbers of all inputs, no two alike, as planes, the highest first.

    Args:
      seed: of the learner.
      neuron: its number.
      count: which sample it learns, from 1; 0 for its first weights.
      n_words: words of a set of inputs.
    """
    start = _mix(_mix(_mix(seed) + neuron * jnp.uint32(_GOLDEN)) + count)
    one = [1] * seed.ndim
    place = jnp.arange(_N_DRAWN * n_words, dtype=jnp.uint32).reshape(_N_DRAWN, n_words, *one)
    drawn = _mix(start + place * jnp.uint32(_GOLDEN))
    number = jnp.asarray(_index_planes(n_words)).reshape(-1, n_words, *one)
    return jnp.concatenate([drawn, jnp.broadcast_to(number, (len(number), *drawn.shape[1:]))])


def _index_planes(n_words: int) -> UInt32[np.ndarray, "planes words"]:
    """Return the bits of every input's own number, the highest first."""
    number = np.arange(n_words * WORD, dtype=np.uint64).reshape(n_words, WORD)
    weight = np.uint64(1) << np.arange(WORD, dtype=np.uint64)
    n_planes = int(number.max()).bit_length()
    planes = [((number >> np.uint64(bit) & np.uint64(1)) * weight).sum(1)
              for bit in reversed(range(n_planes))]  # fmt: skip
    return np.stack(planes).astype(np.uint32)


def _mix(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """Return a bijective hash: the finalizer of MurmurHash3 (Appleby, public domain)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def draw_order(
    seed: UInt32[Array, ""], neuron: UInt32[Array, ""], count: UInt32[Array, ""], n_inputs: int
) -> Int32[Array, " inputs"]:
    """Return the place of each input when all are ordered by their drawn numbers, largest first.

    Learning needs no sort and does not call it; it shows what the planes stand for.

    Args:
      seed: as of `draw_planes`, like the next two.
      neuron: its number.
      count: which sample it learns.
      n_inputs: inputs of a neuron.
    """
    planes = draw_planes(seed, neuron, count, -(-n_inputs // WORD))
    bits = jax.vmap(lambda words: unpack(words, n_inputs))(planes)
    # The numbers have more than 32 bits: sort by the lowest plane first, each sort keeping
    # the last.
    ranked = jnp.lexsort(1 - bits[::-1].astype(jnp.int32))
    return jnp.zeros(n_inputs, jnp.int32).at[ranked].set(jnp.arange(n_inputs, dtype=jnp.int32))


def choose_largest(
    candidates: UInt32[Array, "sets words ..."],
    count: Int32[Array, "..."],
    *numbers: UInt32[Array, "planes sets_or_1 words ..."],
) -> UInt32[Array, "sets words ..."]:
    """Return from each set the candidates with the largest numbers, so many.

    Plane by plane: those with a 1 are all taken if they are not too many; else the others
    are dropped.

    Args:
      candidates: sets of inputs.
      count: how many of each set, at most all.
      *numbers: of all inputs, the highest plane first; the later ones decide where the earlier
        are equal. All together, no two of a set are alike.
    """

    def decide(
        state: tuple[Array, Array, Array], plane: UInt32[Array, "sets_or_1 words ..."]
    ) -> tuple[tuple[Array, Array, Array], None]:
        taken, candidates, missing = state
        ones = candidates & plane
        n_ones = count_ones(ones, 1)[:, None]
        fit = n_ones <= missing
        taken = jnp.where(fit, taken | ones, taken)
        candidates = jnp.where(fit, candidates & ~plane, ones)
        return (taken, candidates, jnp.where(fit, missing - n_ones, missing)), None

    missing = jnp.broadcast_to(count, (len(candidates), 1, *count.shape))
    state = (jnp.zeros_like(candidates), candidates, missing)
    for planes in numbers:
        state, _ = jax.lax.scan(decide, state, planes)
    taken, last, missing = state
    return jnp.where(missing > 0, taken | last, taken)
