"""Patterns that several test files learn."""

import numpy as np
import pytest

from tests.learning.samples import N_INPUTS


@pytest.fixture
def prototypes(rng):
    """Three random patterns, one per class."""
    return (rng.random((4, N_INPUTS)) < 0.3).astype(np.uint8)


@pytest.fixture
def noisy(rng, prototypes):
    """Draw patterns of which a tenth of the inputs is flipped."""

    def draw(n, classes=3):
        labels = rng.integers(0, classes, n)
        flipped = rng.random((n, N_INPUTS)) < 0.1
        return prototypes[labels] ^ flipped.astype(np.uint8), labels

    return draw
