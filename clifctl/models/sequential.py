"""A net of synaptic layers in a row with a linear read-out."""

from collections.abc import Sequence

from torch import Tensor, nn

from clifctl.models.layers import (
    NetState,
    Pool,
    SharedDropout,
    SpikingNet,
    SynapticLayer,
    flatten_features,
    fold_time,
)


class SequentialNet(SpikingNet):
    """Synaptic layers, with pools and dropout between them, then flatten, dropout and a linear
    layer: logits at every time step."""

    def __init__(
        self,
        layers: Sequence[SynapticLayer | Pool | SharedDropout],
        *,
        features: int,
        classes: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.features = nn.ModuleList(layers)
        self.dropout = SharedDropout(dropout)
        self.classifier = nn.Linear(features, classes)
        self.authors_names = {"classifier": "classifier"}

    def forward(
        self, x: Tensor, state: NetState | None = None, repeat: int = 1
    ) -> tuple[Tensor, NetState]:
        """See `SpikingNet.forward`."""
        x = self.frames(x)
        finals: list[tuple[Tensor, ...]] = []
        for layer in self.features:
            if isinstance(layer, SynapticLayer):
                x, final = layer(x, None if state is None else state[len(finals)], repeat)
                finals.append(final)
                repeat = 1
            else:
                x = layer(x)
        return fold_time(self.classifier, self.dropout(flatten_features(x))), tuple(finals)
