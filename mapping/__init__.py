"""Devices, hardware checks, placement on neural processors, and cost."""

if __name__ != "akida_jax.mapping":
    raise ImportError("mapping is a part of akida_jax: import it as akida_jax.mapping")

from akida_jax.mapping.budgets import QUANTITIES, UNITS, Budget, Quantity, parse_budget
from akida_jax.mapping.checks import MappingError, check
from akida_jax.mapping.cost import Cost, LayerCost, estimate
from akida_jax.mapping.devices import AKD1000, AKD1500, DEVICES, Device, Fact, mesh
from akida_jax.mapping.firing import output_sparsity, shares_of_zeros
from akida_jax.mapping.lagrangian import Multiplier, start_multiplier
from akida_jax.mapping.law import Law, Work
from akida_jax.mapping.learning_cost import LearningCost, estimate_learning
from akida_jax.mapping.placement import MODES, LayerPlacement, Mode, Placement, place
from akida_jax.mapping.plans import Plan, model_figures, plan
from akida_jax.mapping.splits import Split

__all__ = [
    "AKD1000",
    "AKD1500",
    "DEVICES",
    "MODES",
    "QUANTITIES",
    "UNITS",
    "Budget",
    "Cost",
    "Device",
    "Fact",
    "Law",
    "LayerCost",
    "LayerPlacement",
    "LearningCost",
    "MappingError",
    "Mode",
    "Multiplier",
    "Placement",
    "Plan",
    "Quantity",
    "Split",
    "Work",
    "check",
    "estimate",
    "estimate_learning",
    "mesh",
    "model_figures",
    "output_sparsity",
    "parse_budget",
    "place",
    "plan",
    "shares_of_zeros",
    "start_multiplier",
]
