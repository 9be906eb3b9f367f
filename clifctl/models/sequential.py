"""A net of synaptic layers in a row with a linear read-out."""

from torch import Tensor, nn

from clifctl.models.layers import LayerState, SharedDropout, SynapticLayer, fold_time

NetState = tuple[LayerState, ...]


class SequentialNet(nn.Module):
    """Synaptic layers, then flatten, dropout and a linear layer: logits at every time step."""

    def __init__(
        self, layers: list[SynapticLayer], *, features: int, classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.features = nn.ModuleList(layers)
        self.dropout = SharedDropout(dropout)
        self.classifier = nn.Linear(features, classes)

    def forward(
        self, x: Tensor, state: NetState | None = None, repeat: int = 1
    ) -> tuple[Tensor, NetState]:
        """Logits `[T, N, classes]` and the final state of every layer.

        `x` is `[T, N, *]`; with `repeat` = T it is `[1, N, *]`, an input that is equal at every
        step (a static image). `state` continues a sequence that is fed in pieces; None starts anew.
        """
        finals = []
        for index, layer in enumerate(self.features):
            x, final = layer(x, None if state is None else state[index], repeat)
            finals.append(final)
            repeat = 1
        return fold_time(self.classifier, self.dropout(x.flatten(2))), tuple(finals)
