"""What the paper published: every number of its tables, as data with table, row and column.

The paper is Huang et al., "CLIF: Complementary Leaky Integrate-and-Fire Neuron for Spiking Neural
Networks", ICML 2024. The numbers stand in `published/`, one YAML file a table, in the order of
print; data sets and nets go by clifctl's names. Where the paper contradicts itself, or a cell had
to be restored from another source, a `note` says so. Nothing here computes: everything that these
functions return is the paper's, but for `ExactCounts`, which says so.
"""

from clifctl.paper.accuracy import (
    PublishedAccuracy,
    PublishedDeployment,
    PublishedTruncation,
    accuracies,
    deployment,
    truncation,
)
from clifctl.paper.cost import (
    ExactCounts,
    MemoryLayer,
    PublishedEnergy,
    PublishedFiringRates,
    PublishedMemory,
    counts,
    energy,
    firing_rates,
    memory,
    memory_layers,
)
from clifctl.paper.items import PaperGrid, PaperItem, paper_items
from clifctl.paper.recipes import PaperRecipe, paper_recipe, paper_recipes
from clifctl.paper.tables import (
    TABLES,
    PublishedRow,
    PublishedTable,
    figure_note,
    table,
)

__all__ = [
    "TABLES",
    "ExactCounts",
    "MemoryLayer",
    "PaperGrid",
    "PaperItem",
    "PaperRecipe",
    "PublishedAccuracy",
    "PublishedDeployment",
    "PublishedEnergy",
    "PublishedFiringRates",
    "PublishedMemory",
    "PublishedRow",
    "PublishedTable",
    "PublishedTruncation",
    "accuracies",
    "counts",
    "deployment",
    "energy",
    "figure_note",
    "firing_rates",
    "memory",
    "memory_layers",
    "paper_items",
    "paper_recipe",
    "paper_recipes",
    "table",
    "truncation",
]
