"""On-chip learning: the last layer learns new classes from a few samples.

`rule` is what happens at one sample, in integers; `planes` how it counts and chooses inputs;
`states` what learning begins with; `learner` what users call; `suggestions` how many weights a
neuron should have.
"""

from akida_jax.learning.files import LearnerFileError
from akida_jax.learning.learner import EdgeLearner, LearningStatistics
from akida_jax.learning.planes import pack, unpack
from akida_jax.learning.rule import (
    UNLABELLED,
    LearningState,
    count_swaps,
    learn,
    learn_stream,
    potentials,
    taught_potentials,
)
from akida_jax.learning.states import LearningSettings, add_neurons, first_state
from akida_jax.learning.suggestions import num_weights_for, suggest_num_weights

__all__ = [
    "UNLABELLED",
    "EdgeLearner",
    "LearnerFileError",
    "LearningSettings",
    "LearningState",
    "LearningStatistics",
    "add_neurons",
    "count_swaps",
    "first_state",
    "learn",
    "learn_stream",
    "num_weights_for",
    "pack",
    "potentials",
    "suggest_num_weights",
    "taught_potentials",
    "unpack",
]
