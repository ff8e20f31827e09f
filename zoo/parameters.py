"""How many numbers a network learns."""

from akida_jax.model import Model


def count_parameters(model: Model) -> int:
    """Return the parameters of the float network behind an integer model.

    Weights, and per filter a bias, or behind a layer with an activation the four numbers of
    batch norm: the convention of the published 483,392, 1,384,856 and 4,445,000 of AkidaNet
    (the vendor's public model zoo and its package akida-models).
    """
    return sum(
        p.spec.n_weights(p.in_shape) + p.spec.neurons * (4 if p.spec.activation else 1)
        for p in model.programs
    )
