"""What `gradients` returns."""

from dataclasses import dataclass
from typing import ClassVar

from clifctl.results.result import Result


@dataclass(frozen=True, kw_only=True)
class LagRow:
    """What a layer's gradient has from `lag` time steps later. `norm` is a 2-norm over all steps,
    samples and neurons, `share` that norm over the sum of all lags' norms, `projection` the part
    along the whole gradient (both add up to 1 over lags, `projection` may be negative).

    `membrane_norm` and `complementary_norm` separate what passes through the membrane potential
    alone; `vanished_share` is the share of neurons and steps whose part II (Eq. 14) is zero. They
    are None for neurons without such a split, and for lag 0."""

    lag: int
    norm: float
    share: float | None
    projection: float | None
    membrane_norm: float | None
    complementary_norm: float | None
    vanished_share: float | None


@dataclass(frozen=True, kw_only=True)
class SplitResult:
    """Norms of the spatial, M1 and M2 part and of the whole gradient, an entry a time step, and how
    far their sum is from the whole: at most, and in the 2-norm relative to it."""

    spatial_norm_per_step: tuple[float, ...]
    m1_norm_per_step: tuple[float, ...]
    m2_norm_per_step: tuple[float, ...]
    whole_norm_per_step: tuple[float, ...]
    error_max: float
    error_relative: float | None


@dataclass(frozen=True, kw_only=True)
class LayerGradients:
    """One layer of neurons. `reach` is the norm of the gradient of the last step's loss alone with
    respect to the layer's input current so many steps before (entry 0: at the last step itself),
    relative to entry 0, through the whole net."""

    layer: str
    neurons: int
    norm: float
    temporal_share: float | None
    lags: tuple[LagRow, ...]
    reach: tuple[float | None, ...]
    split: SplitResult | None


@dataclass(frozen=True, kw_only=True)
class WindowRow:
    """The gradient of all weights with window k in every layer against full BPTT: cosine, and
    relative distance |W_k - W| / |W|; `cosine_of_weights` is that of each weight tensor."""

    window: int
    cosine: float | None
    distance_relative: float | None
    cosine_of_weights: dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class GradientsResult(Result):
    """`gradients`. `temporal_share` is the mean over layers; `notes` say what was looked at."""

    schema: ClassVar[str] = "clifctl.gradients/1"

    source: str
    trained: bool
    recipe: str
    data: str
    input: str
    model: str
    neuron: str
    timesteps: int
    epoch: int | None
    samples: int
    seed: int
    batch_norm: str
    dtype: str
    formula: str | None
    temporal_share: float | None
    layers: tuple[LayerGradients, ...]
    windows: tuple[WindowRow, ...]
    seconds: float
    device: str
    target: str
    connections: str = "dense"
    notes: tuple[str, ...]
