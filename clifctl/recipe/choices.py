"""What a recipe chooses of the tables of data sets and nets."""

from dataclasses import dataclass

from clifctl.data import DataOptions, Dataset
from clifctl.models import Model, NetOptions


@dataclass(frozen=True)
class DataChoice:
    """A data set and its options, which decide its shape; no file is read for that."""

    dataset: Dataset
    options: DataOptions

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.dataset.shape(self.options).classes

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one time step of one sample."""
        return self.dataset.shape(self.options).input_shape

    @property
    def static(self) -> bool:
        """Whether the same input is shown at every time step."""
        return self.dataset.shape(self.options).static


@dataclass(frozen=True)
class ModelChoice:
    """A network and its options."""

    model: Model
    options: NetOptions
