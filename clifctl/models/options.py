"""What the recipe's `model` section holds for every net."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from clifctl.models.norm import NormMode, TemporalBatchNorm
from clifctl.neurons import Neuron
from clifctl.strict import Strict

# Where the net decides over what batch norm takes its statistics.
OWN_NORM = "own"


class NetOptions(Strict):
    """Base of every net's options."""

    if TYPE_CHECKING:  # a row of the table is called with the keys of its own class

        def __init__(self, **values: Any) -> None: ...

    def notices(self, neuron: Neuron) -> tuple[str, ...]:
        """What a person should know of these options with `neuron`."""
        return ()

    @property
    def norm_mode(self) -> str:
        """Over what batch norm takes its statistics, for tables."""
        return str(getattr(self, "batch_norm", OWN_NORM))


class ModelOptions(NetOptions):
    """Base of the options of a net of the table."""

    batch_norm: NormMode = Field(
        "per_step", description="batch norm statistics: of each time step, or of all together"
    )
    fuse_norm: bool = Field(
        True, description="run batch norm inside the neuron's kernel, where its target has one"
    )
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="dropout before the read-out")

    def norm(self, channels: int) -> TemporalBatchNorm:
        """A batch norm of the net."""
        return TemporalBatchNorm(channels, self.batch_norm, fused=self.fuse_norm)
