"""How a fully connected layer of binary weights learns, one sample at a time.

The vendor says what the rule does, not how (docs/hardware.md#learning). This one is our own,
docs/learning.md states it as an algorithm. A neuron has exactly as many ones among its
weights before and after. A sample, a set of inputs that spike, is learned by one neuron:

1. Of the neurons that may compete, the one with the highest potential wins: active inputs
   that meet a weight of 1. Neurons that never learned go before those that have, unless one
   of these recognises the sample (`Rule.competition`). Of neurons that have learned, with a
   label, those of the highest plasticity go first: else the one that is ahead wins ever more,
   and the others of its class keep the peculiarities of a sample or two. Without a label a
   neuron that holds the sample, with a potential of at least its threshold, goes before all
   others: else a neuron that knows nothing, of any class, would take what one knows.
2. The winner moves weights from silent inputs to active ones that it has no weight on. How
   many follows from its plasticity. It takes first the inputs that most other neurons of its
   class have learned, and gives up first those that fewest have; among equals a hash of seed,
   neuron and input decides.
3. Its plasticity falls, down to a floor. Its threshold becomes the potential it now has.

Sources: Thorpe, Masquelier, Martin, Yousefzadeh, Linares-Barranco, patent application
WO 2018/091706 (potential as the number of common events, a neuron's events are swapped for
those of the input, their number stays); Yousefzadeh et al., doi:10.3389/fnins.2018.00665 (1-bit
weights changed at random instead of a little); Masquelier and Thorpe,
doi:10.1371/journal.pcbi.0030031 (the first to fire learns and keeps others from learning). What
the other neurons of the class do to the choice is our own.

Weights and spikes are packed, 32 to a word. All is integer arithmetic, the same on every
device: int32 and uint32, fixed point with 16 fraction bits.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, UInt32

from akida_jax.learning.planes import (
    WORD,
    add_up,
    choose_largest,
    count_ones,
    draw_planes,
    every_input,
)

FRACTION_BITS = 16
ONE = 2**FRACTION_BITS
"""Fixed-point 1.0 of plasticities and of the competition."""
UNLABELLED = -1
"""Label of a sample for which all neurons compete."""
_FRESH, _RECOGNISED, _HELD = ONE + 1, ONE + 2, ONE + 3
"""Precedence over every plasticity."""
_HALF = 2 ** (FRACTION_BITS - 1)


class Rule(NamedTuple):
    """Parameters of the rule; shares in fixed point with 16 fraction bits.

    Attributes:
      min_plasticity: floor of every plasticity.
      decay: what a plasticity loses at each sample that its neuron learns.
      competition: 0: a neuron that has learned never keeps others of its class from learning
        a sample with a label. Above: it does if its potential reaches its threshold times
        (1 - competition).
      turns: whether the plastic neurons of a class learn in turns. Every learner's do; false
        shows what that brings.
      mates: whether the weights of class-mates decide which inputs a winner takes and gives
        up; as above.
    """

    min_plasticity: UInt32[Array, ""]
    decay: UInt32[Array, ""]
    competition: UInt32[Array, ""]
    turns: Bool[Array, ""]
    mates: Bool[Array, ""]


class LearningState(NamedTuple):
    """Everything that learning changes or depends on; a pytree.

    Many learners at once share one state whose arrays have further axes at their end; that
    is several times quicker on a CPU than `jax.vmap`, which works as well.

    Attributes:
      weights: packed, see `planes.pack`; each row holds the same number of ones for ever.
      plasticity: share of the weights on silent inputs that a neuron moves, fixed point
        with 16 fraction bits.
      threshold: potential of a neuron right after it last learned; 0 if it never has.
      classes: of the neurons.
      learned: samples that each neuron has learned.
      seed: of all that is drawn.
      n_inputs: of a sample; the last word may have room for more.
      rule: parameters.
    """

    weights: UInt32[Array, "neurons words ..."]
    plasticity: UInt32[Array, "neurons ..."]
    threshold: Int32[Array, "neurons ..."]
    classes: Int32[Array, "neurons ..."]
    learned: UInt32[Array, "neurons ..."]
    seed: UInt32[Array, "..."]
    n_inputs: UInt32[Array, ""]
    rule: Rule


def draw_weights(
    seed: UInt32[Array, "..."],
    neurons: UInt32[Array, " neurons"],
    n_inputs: int,
    num_weights: Int32[Array, ""],
) -> UInt32[Array, "neurons words ..."]:
    """Return the first weights: for each neuron as many ones, drawn at random.

    Args:
      seed: of the learner.
      neurons: their numbers; a neuron's weights depend on its number and the seed alone.
      n_inputs: inputs of a neuron.
      num_weights: ones of each neuron, at most ``n_inputs``.
    """
    n_words = -(-n_inputs // WORD)
    every = every_input(jnp.uint32(n_inputs), n_words).reshape(-1, *[1] * seed.ndim)
    every = jnp.broadcast_to(every, (n_words, *seed.shape))
    count = jnp.broadcast_to(num_weights, seed.shape)

    def draw(neuron: Array) -> Array:
        numbers = draw_planes(seed, neuron, jnp.zeros_like(seed), n_words)
        return choose_largest(every[None], count, numbers[:, None])[0]

    return jax.lax.map(draw, neurons)


def potentials(
    weights: UInt32[Array, "neurons words ..."], spikes: UInt32[Array, "words ..."]
) -> Int32[Array, "neurons ..."]:
    """Return how many active inputs meet a weight of 1, for each neuron."""
    return count_ones(weights & spikes, 1)


def taught_potentials(
    state: LearningState, spikes: UInt32[Array, "words ..."]
) -> Int32[Array, "neurons ..."]:
    """Return the potentials of the neurons that have learned, 0 for those that never have.

    Weights that were only drawn answer for no class.
    """
    return jnp.where(state.threshold > 0, potentials(state.weights, spikes), jnp.int32(0))


def learn(
    state: LearningState, spikes: UInt32[Array, "words ..."], label: Int32[Array, "..."]
) -> tuple[LearningState, Int32[Array, "..."]]:
    """Learn one sample.

    Args:
      state: before.
      spikes: packed, see `planes.pack`; what the last word has beyond the inputs is ignored.
      label: class whose neurons compete; `UNLABELLED` for all neurons, of which those that
        hold the sample go first.

    Returns:
      The state after, and the neuron that learned. It is -1, and nothing has changed, if no
      input is active, no neuron has that class, or the winner has no plasticity.

    Raises:
      ValueError: if the sample has another number of words than a neuron, or of another type.
    """
    spikes = _check_spikes(state, spikes)
    score = _score(state, potentials(state.weights, spikes), label)
    winner = jnp.argmax(score, 0).astype(jnp.int32)
    numbers = jnp.arange(len(score), dtype=jnp.int32).reshape(-1, *[1] * winner.ndim)
    is_winner = numbers == winner
    plasticity = _pick(state.plasticity, is_winner)
    changes = (score.max(0) >= 0) & (plasticity > 0) & (spikes > 0).any(0)
    row = _pick(state.weights, is_winner[:, None])
    count = _pick(state.learned, is_winner) + 1
    drawn = draw_planes(state.seed, winner.astype(jnp.uint32), count, len(row))
    row = _move(row, spikes, plasticity, _support(state, is_winner), drawn)
    reached = jnp.maximum(count_ones(row & spikes, 0), jnp.int32(1))
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
      spikes: packed, see `planes.pack`.
      labels: as of `learn`.

    Returns:
      The state after all, and the neuron that learned each sample, -1 for none.
    """
    return jax.lax.scan(lambda state, sample: learn(state, *sample), state, (spikes, labels))


def count_swaps(before: LearningState, after: LearningState) -> Int32[Array, "..."]:
    """Return how many weights moved from one state to the next, over all neurons."""
    return count_ones(after.weights & ~before.weights, (0, 1))


def _check_spikes(
    state: LearningState, spikes: UInt32[Array, "words ..."]
) -> UInt32[Array, "words ..."]:
    """Return a sample without what lies beyond the inputs."""
    n_words = state.weights.shape[1]
    if spikes.dtype != jnp.uint32 or len(spikes) != n_words:
        raise ValueError(f"a sample must have {n_words} words of uint32, got {len(spikes)} of "
                         f"{spikes.dtype}; pack makes them")  # fmt: skip
    every = every_input(state.n_inputs, n_words)
    return spikes & every.reshape(-1, *[1] * (spikes.ndim - 1))


def _score(
    state: LearningState, potential: Int32[Array, "neurons ..."], label: Int32[Array, "..."]
) -> Int32[Array, "neurons ..."]:
    """Return the potential of the neurons of highest precedence, -1 for all others."""
    # Below 2**16 * 2**16: thresholds are at most the number of weights.
    slack = (state.threshold.astype(jnp.uint32) * state.rule.competition) >> FRACTION_BITS
    near = potential >= state.threshold - slack.astype(jnp.int32)
    fresh = state.threshold == 0
    recognised = near & ~fresh & (state.rule.competition > 0)
    labelled = label != UNLABELLED
    held = (potential >= state.threshold) & ~fresh & ~labelled
    by_turns = labelled & state.rule.turns
    by_plasticity = jnp.where(by_turns, state.plasticity.astype(jnp.int32), jnp.int32(0))
    precedence = jnp.where(fresh, jnp.int32(_FRESH), by_plasticity)
    precedence = jnp.where(recognised, jnp.int32(_RECOGNISED), precedence)
    precedence = jnp.where(held, jnp.int32(_HELD), precedence)
    allowed = (state.classes == label) | ~labelled
    precedence = jnp.where(allowed, precedence, jnp.int32(-1))
    return jnp.where(allowed & (precedence == precedence.max(0)), potential, jnp.int32(-1))


def _pick(values: Array, is_winner: Array) -> Array:
    """Return the winner's value: quicker than an index where many learners each have one."""
    zero = jnp.zeros((), values.dtype)
    return jnp.sum(jnp.where(is_winner, values, zero), 0, dtype=values.dtype)


def _support(
    state: LearningState, is_winner: Bool[Array, "neurons ..."]
) -> UInt32[Array, "planes words ..."]:
    """Return how many others of the winner's class have learned a weight on each input."""
    mates = (state.classes == _pick(state.classes, is_winner)) & (state.threshold > 0)
    mates &= state.rule.mates
    return add_up(jnp.where((mates & ~is_winner)[:, None], state.weights, jnp.uint32(0)))


def _move(
    row: UInt32[Array, "words ..."],
    spikes: UInt32[Array, "words ..."],
    plasticity: UInt32[Array, "..."],
    support: UInt32[Array, "planes words ..."],
    drawn: UInt32[Array, "planes words ..."],
) -> UInt32[Array, "words ..."]:
    """Return a neuron's weights, some of them moved from silent inputs to active ones."""
    gains_and_losses = jnp.stack([spikes & ~row, row & ~spikes])
    movable = count_ones(gains_and_losses, 1).min(0).astype(jnp.uint32)
    # Rounded to nearest, half up. Gains and losses are different inputs, so the smaller set is
    # at most half of them, and the product below 2**16 * 2**15.
    count = (plasticity * movable + jnp.uint32(_HALF)) >> FRACTION_BITS
    gained, lost = choose_largest(
        gains_and_losses,
        count.astype(jnp.int32),
        jnp.stack([support, ~support], 1),
        drawn[:, None],
    )
    return (row | gained) & ~lost
