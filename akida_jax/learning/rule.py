"""How a fully connected layer of binary weights learns, one sample at a time.

The vendor says what the rule does, not how (docs/hardware.md#learning). This one is our own,
docs/learning.md states it as an algorithm. A neuron has exactly as many ones among its
weights before and after. A sample, a set of inputs that spike, is learned by one neuron:

1. Of the neurons that may compete, the one with the highest potential wins: active inputs
   that meet a weight of 1. Neurons that never learned go before those that have, unless one
   of these recognises the sample (`Rule.competition`).
2. The winner moves weights from silent inputs to active ones that it has no weight on. How
   many follows from its plasticity; which ones, a hash of seed, neuron and input decides.
3. Its plasticity falls, down to a floor. Its threshold becomes the potential it now has.

Sources: Thorpe, Masquelier, Martin, Yousefzadeh, Linares-Barranco, patent application
WO 2018/091706 (potential as the number of common events, a neuron's events are swapped for
those of the input, their number stays); Yousefzadeh et al., doi:10.3389/fnins.2018.00665 (1-bit
weights changed at random instead of a little); Masquelier and Thorpe,
doi:10.1371/journal.pcbi.0030031 (the first to fire learns and keeps others from learning).

Weights and spikes are packed, 32 to a word. All is integer arithmetic, the same on every
device: int32 and uint32, fixed point with 16 fraction bits.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, UInt8, UInt32

FRACTION_BITS = 16
ONE = 2**FRACTION_BITS
"""Fixed-point 1.0 of plasticities and of the competition."""
UNLABELLED = -1
"""Label of a sample for which all neurons compete."""
WORD = 32
_RECOGNISED, _FRESH = 2, 1
_TIER = 2**20
_HALF = 2 ** (FRACTION_BITS - 1)
_GOLDEN = 0x9E3779B9
_N_DRAWN = 12
"""Drawn bits by which inputs are chosen; where they are equal their number decides."""


class Rule(NamedTuple):
    """Parameters of the rule, fixed point with 16 fraction bits.

    Attributes:
      min_plasticity: floor of every plasticity.
      decay: what a plasticity loses at each sample that its neuron learns.
      competition: 0: a neuron that has learned never keeps others of its class from learning.
        Above: it does if its potential reaches its threshold times (1 - competition).
    """

    min_plasticity: UInt32[Array, ""]
    decay: UInt32[Array, ""]
    competition: UInt32[Array, ""]


class LearningState(NamedTuple):
    """Everything that learning changes or depends on; a pytree.

    Many learners at once share one state whose arrays have further axes at their end; that
    is several times quicker on a CPU than `jax.vmap`, which works as well.

    Attributes:
      weights: packed, see `pack`; each row holds the same number of ones for ever.
      plasticity: share of the weights on silent inputs that a neuron moves, fixed point
        with 16 fraction bits.
      threshold: potential of a neuron right after it last learned; 0 if it never has.
      classes: of the neurons.
      learned: samples that each neuron has learned.
      seed: of all that is drawn.
      rule: parameters.
    """

    weights: UInt32[Array, "neurons words ..."]
    plasticity: UInt32[Array, "neurons ..."]
    threshold: Int32[Array, "neurons ..."]
    classes: Int32[Array, "neurons ..."]
    learned: UInt32[Array, "neurons ..."]
    seed: UInt32[Array, "..."]
    rule: Rule


def pack(bits: UInt8[Array, "inputs ..."]) -> UInt32[Array, "words ..."]:
    """Return bits 32 to a word, the first in the lowest place, the last word filled up with 0.

    Args:
      bits: 0 or 1; inputs along the first axis.
    """
    padded = jnp.pad(bits, [(0, -len(bits) % WORD)] + [(0, 0)] * (bits.ndim - 1))
    words = padded.reshape(-1, WORD, *bits.shape[1:]).astype(jnp.uint32)
    return jnp.sum(words << _places(bits.ndim), 1, dtype=jnp.uint32)


def unpack(words: UInt32[Array, "words ..."], n_inputs: int) -> UInt8[Array, "inputs ..."]:
    """Return the bits of packed words, the inverse of `pack`."""
    bits = (words[:, None] >> _places(words.ndim)) & jnp.uint32(1)
    return bits.reshape(-1, *words.shape[1:])[:n_inputs].astype(jnp.uint8)


def _places(ndim: int) -> UInt32[Array, "places ..."]:
    return jnp.arange(WORD, dtype=jnp.uint32).reshape(-1, *[1] * (ndim - 1))


def draw_weights(
    seed: UInt32[Array, "..."], neurons: range, n_inputs: int, num_weights: int
) -> UInt32[Array, "neurons words ..."]:
    """Return the first weights: for each neuron as many ones, drawn at random.

    Args:
      seed: of the learner.
      neurons: their numbers; a neuron's weights depend on its number and the seed alone.
      n_inputs: inputs of a neuron.
      num_weights: ones of each neuron, at most ``n_inputs``.
    """
    every = pack(jnp.ones((n_inputs, *[1] * seed.ndim), jnp.uint8))
    every = jnp.broadcast_to(every, (len(every), *seed.shape))
    count = jnp.full(seed.shape, num_weights, jnp.int32)

    def draw(neuron: Array) -> Array:
        order = _order(seed, neuron, jnp.zeros_like(seed), len(every))
        return _choose(every[None], count, order)[0]

    return jax.lax.map(draw, jnp.arange(neurons.start, neurons.stop, dtype=jnp.uint32))


def potentials(
    weights: UInt32[Array, "neurons words ..."], spikes: UInt32[Array, "words ..."]
) -> Int32[Array, "neurons ..."]:
    """Return how many active inputs meet a weight of 1, for each neuron."""
    return _count(weights & spikes, 1)


def learn(
    state: LearningState, spikes: UInt32[Array, "words ..."], label: Int32[Array, "..."]
) -> tuple[LearningState, Int32[Array, "..."]]:
    """Learn one sample.

    Args:
      state: before.
      spikes: packed, see `pack`.
      label: class whose neurons compete; `UNLABELLED` for all neurons.

    Returns:
      The state after, and the neuron that learned. It is -1, and nothing has changed, if no
      input is active, no neuron has that class, or the winner has no plasticity.
    """
    score = _score(state, potentials(state.weights, spikes), label)
    winner = jnp.argmax(score, 0).astype(jnp.int32)
    numbers = jnp.arange(len(score), dtype=jnp.int32).reshape(-1, *[1] * winner.ndim)
    is_winner = numbers == winner
    plasticity = _pick(state.plasticity, is_winner)
    changes = (score.max(0) >= 0) & (plasticity > 0) & (spikes > 0).any(0)
    row = _pick(state.weights, is_winner[:, None])
    count = _pick(state.learned, is_winner) + 1
    order = _order(state.seed, winner.astype(jnp.uint32), count, len(row))
    row = _move(row, spikes, plasticity, order)
    reached = jnp.maximum(_count(row & spikes, 0), jnp.int32(1))
    lower = jnp.maximum(plasticity, state.rule.decay) - state.rule.decay
    lower = jnp.maximum(lower, state.rule.min_plasticity)
    learns = is_winner & changes
    return state._replace(
        weights=jnp.where(learns[:, None], row, state.weights),
        plasticity=jnp.where(learns, lower, state.plasticity),
        threshold=jnp.where(learns, reached, state.threshold),
        learned=state.learned + learns.astype(jnp.uint32),
    ), jnp.where(changes, winner, jnp.int32(-1))


def learn_stream(
    state: LearningState, spikes: UInt32[Array, "t words ..."], labels: Int32[Array, "t ..."]
) -> tuple[LearningState, Int32[Array, "t ..."]]:
    """Learn samples one after another.

    Args:
      state: before.
      spikes: packed, see `pack`.
      labels: as of `learn`.

    Returns:
      The state after all, and the neuron that learned each sample, -1 for none.
    """
    return jax.lax.scan(lambda state, sample: learn(state, *sample), state, (spikes, labels))


def _score(
    state: LearningState, potential: Int32[Array, "neurons ..."], label: Int32[Array, "..."]
) -> Int32[Array, "neurons ..."]:
    """Return the potential with its precedence in the higher bits; -1 bars a neuron."""
    # Below 2**16 * 2**16: thresholds are at most the number of weights.
    slack = (state.threshold.astype(jnp.uint32) * state.rule.competition) >> FRACTION_BITS
    near = potential >= state.threshold - slack.astype(jnp.int32)
    fresh = state.threshold == 0
    recognised = near & ~fresh & (state.rule.competition > 0)
    tier = jnp.where(recognised, jnp.int32(_RECOGNISED), jnp.where(fresh, _FRESH, 0))
    allowed = (state.classes == label) | (label == UNLABELLED)
    return jnp.where(allowed, tier * _TIER + potential, jnp.int32(-1))


def _pick(values: Array, is_winner: Array) -> Array:
    """Return the winner's value: quicker than an index where many learners each have one."""
    zero = jnp.zeros((), values.dtype)
    return jnp.sum(jnp.where(is_winner, values, zero), 0, dtype=values.dtype)


def _move(
    row: UInt32[Array, "words ..."],
    spikes: UInt32[Array, "words ..."],
    plasticity: UInt32[Array, "..."],
    order: UInt32[Array, "planes words ..."],
) -> UInt32[Array, "words ..."]:
    """Return a neuron's weights, some of them moved from silent inputs to active ones."""
    gains_and_losses = jnp.stack([spikes & ~row, row & ~spikes])
    movable = _count(gains_and_losses, 1).min(0).astype(jnp.uint32)
    # Rounded to nearest, half up. Gains and losses are different inputs, so the smaller set is
    # at most half of them, and the product below 2**16 * 2**15.
    count = (plasticity * movable + jnp.uint32(_HALF)) >> FRACTION_BITS
    gained, lost = _choose(gains_and_losses, count.astype(jnp.int32), order)
    return (row | gained) & ~lost


def _count(words: UInt32[Array, "..."], axis: int) -> Int32[Array, "..."]:
    """Return the number of ones along an axis of words."""
    return jnp.sum(jax.lax.population_count(words).astype(jnp.int32), axis, dtype=jnp.int32)


def _order(
    seed: UInt32[Array, "..."],
    neuron: UInt32[Array, "..."],
    count: UInt32[Array, "..."],
    n_words: int,
) -> UInt32[Array, "planes words ..."]:
    """Return the order in which inputs are chosen, as planes of bits, the highest first.

    The bits of an input in all planes are its key, all keys differ: drawn bits, then those
    of the input's own number.
    """
    start = _mix(_mix(_mix(seed) + neuron * jnp.uint32(_GOLDEN)) + count)
    one = [1] * seed.ndim
    place = jnp.arange(_N_DRAWN * n_words, dtype=jnp.uint32).reshape(_N_DRAWN, n_words, *one)
    drawn = _mix(start + place * jnp.uint32(_GOLDEN))
    number = jnp.asarray(_index_planes(n_words)).reshape(-1, n_words, *one)
    return jnp.concatenate([drawn, jnp.broadcast_to(number, (len(number), *drawn.shape[1:]))])


def draw_order(
    seed: UInt32[Array, ""], neuron: UInt32[Array, ""], count: UInt32[Array, ""], n_inputs: int
) -> Int32[Array, " inputs"]:
    """Return the place of each input in the order in which a neuron chooses them.

    Learning needs no sort and does not call it; it shows what the planes stand for.

    Args:
      seed: of the learner.
      neuron: its number.
      count: which sample it learns, from 1; 0 for its first weights.
      n_inputs: inputs of a neuron.
    """
    planes = _order(seed, neuron, count, -(-n_inputs // WORD))
    bits = jax.vmap(lambda words: unpack(words, n_inputs))(planes)
    # Keys hold more than 32 bits: sort by the lowest plane first, each sort keeping the last.
    ranked = jnp.lexsort(1 - bits[::-1].astype(jnp.int32))
    return jnp.zeros(n_inputs, jnp.int32).at[ranked].set(jnp.arange(n_inputs, dtype=jnp.int32))


def _index_planes(n_words: int) -> UInt32[np.ndarray, "planes words"]:
    """Return the bits of every input's number, the highest first."""
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


def _choose(
    candidates: UInt32[Array, "sets words ..."],
    count: Int32[Array, "..."],
    order: UInt32[Array, "planes words ..."],
) -> UInt32[Array, "sets words ..."]:
    """Return from each set the candidates with the largest keys, so many.

    Plane by plane: those with a 1 are all taken if they are not too many; else the others
    are dropped. That needs no sort.
    """

    def decide(
        state: tuple[Array, Array, Array], plane: UInt32[Array, "words ..."]
    ) -> tuple[tuple[Array, Array, Array], None]:
        taken, candidates, missing = state
        ones = candidates & plane
        n_ones = _count(ones, 1)[:, None]
        fit = n_ones <= missing
        taken = jnp.where(fit, taken | ones, taken)
        candidates = jnp.where(fit, candidates & ~plane, ones)
        return (taken, candidates, jnp.where(fit, missing - n_ones, missing)), None

    missing = jnp.broadcast_to(count, (len(candidates), 1, *count.shape))
    start = (jnp.zeros_like(candidates), candidates, missing)
    (taken, last, missing), _ = jax.lax.scan(decide, start, order)
    return jnp.where(missing > 0, taken | last, taken)
