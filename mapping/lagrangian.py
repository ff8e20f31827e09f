"""A constraint in training: an augmented Lagrangian whose multiplier climbs while it is broken.

With the relative excess ``g = cost / limit - 1`` a step adds to the loss::

    (max(0, m + k * g)**2 - m**2) / (2 * k)

whose gradient is ``max(0, m + k * g)`` times that of ``g``, and then moves the multiplier to
``m + rate * g``, within [0, most]. ``k`` damps what the multiplier alone would overshoot.

Source: Rockafellar, "The multiplier method of Hestenes and Powell applied to convex
programming", 1973, equation 5, for the inequality.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Multiplier(NamedTuple):
    """The price of a constraint, a pytree that is checkpointed with the weights.

    Attributes:
      value: loss per relative excess; never negative.
      limit: of the cost, positive; in its unit.
    """

    value: Float[Array, ""]
    limit: Float[Array, ""]

    def excess(self, cost: Float[Array, ""]) -> Float[Array, ""]:
        """Return how far a cost is beyond the limit, relative to it; negative within."""
        return cost / self.limit - 1

    def term(self, cost: Float[Array, ""], *, stiffness: float) -> Float[Array, ""]:
        """Return what the constraint adds to the loss.

        Args:
          cost: differentiable.
          stiffness: ``k``, positive; gradient per relative excess at once.
        """
        value = jax.lax.stop_gradient(self.value)
        pull = jnp.maximum(0.0, value + stiffness * self.excess(cost))
        return (pull**2 - value**2) / (2 * stiffness)

    def ascend(self, cost: Float[Array, ""], *, rate: float, most: float) -> "Multiplier":
        """Return the multiplier after a step.

        Args:
          cost: of the step.
          rate: rise per relative excess, positive.
          most: upper bound, beyond which a budget that cannot be met shall not press.
        """
        moved = self.value + rate * self.excess(jax.lax.stop_gradient(cost))
        return self._replace(value=jnp.clip(moved, 0.0, most))


def start_multiplier(limit: float) -> Multiplier:
    """Return the multiplier that training begins with: the constraint costs nothing yet."""
    return Multiplier(jnp.float32(0), jnp.float32(limit))
