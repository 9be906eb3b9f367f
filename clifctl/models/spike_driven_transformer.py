"""The Spike-Driven Transformer (Yao et al., NeurIPS 2023), as its authors train it on DVS Gesture.

Nothing but spikes meets a weight, and what a shortcut adds are sums (membrane shortcuts). With D
channels, C the neurons of the recipe, B a batch norm:

    embedding   four times convolution 3x3 without bias, B, C, to D/8, D/4, D/2 and D channels; the
                last `pools` of them are followed by a maximum over 3x3 with stride 2, in the fourth
                before its neurons: its sums f;  x = f + B(convolution 3x3(C(f)))
    attention   s = C(x);  q, k, v = C(B(convolution 1x1(s))) without bias
                m = C'(sum of k * v over all tokens);  x = x + B(convolution 1x1(q * m))
    MLP         x = x + B(convolution 1x1(C(B(convolution 1x1(C(x))))))
    head        C(mean of x over all tokens), dropout, linear

m `[T, N, D]` is a mask of the channels: attention is two masks and a sum of columns, without a
product of matrices. The published 8 heads split D channels of which none meets another, so their
number changes nothing and is no option here.

C' are the neurons of the recipe with `kv_threshold` in the place of `v_threshold`: 0.5 beside 1 in
the authors' code. A neuron without `v_threshold` (GLIF learns its own, ReLU has none) keeps what it
has, and loading such a recipe says so. Every other constant of C and C' is the recipe's. The
authors' own neurons are LIF with tau = 2, a hard reset to 0 through which no gradient passes, the
input divided by tau, and a sigmoid surrogate (`OWN_NEURON`).

Weights start with a normal distribution of deviation 0.02 cut off at 2, biases of convolutions with
0, the linear layer as PyTorch's. The authors' code declares 64 weights a block (`talking_heads`)
and layers of neurons that it never uses; they are not here.
"""

from pydantic import Field
from torch import Tensor, nn

from clifctl.errors import RecipeError
from clifctl.models.convolution import Convolution
from clifctl.models.layers import (
    LayerStates,
    NetState,
    NeuronChoice,
    Pool,
    SharedDropout,
    SpikingNet,
    SynapticLayer,
    fold_time,
    masked,
)
from clifctl.models.options import ModelOptions
from clifctl.neurons import Neuron
from clifctl.strict import Count, Width

STAGES = 4
# Channels of the four stages in multiples of the width; the last is the embedding's.
MULTIPLES = (1, 2, 4, 8)
KV_THRESHOLD = 0.5
# The LIF of the authors' code, by the keys of the recipe's neuron.
OWN_NEURON = {
    "tau": 2.0, "v_threshold": 1.0, "reset": "hard", "v_reset": 0.0, "decay_input": True,
    "detach_reset": True, "surrogate": "sigmoid", "surrogate_width": 1.0,
}  # fmt: skip


class SpikeDrivenTransformerOptions(ModelOptions):
    """Size of the net; its `batch_norm` was `folded` in its authors' code."""

    width: Width = Field(32, description="output channels of the first convolution; D is 8 times")
    depth: Count = Field(2, le=64, description="blocks of attention and MLP")
    mlp_ratio: Count = Field(4, ge=2, le=64, description="hidden channels of the MLP in D")
    pools: int = Field(3, ge=0, le=STAGES, description="how many of the last stages pool")
    kv_threshold: float = Field(
        KV_THRESHOLD, gt=0.0, description="v_threshold of the neurons behind k * v"
    )

    def notices(self, neuron: Neuron) -> tuple[str, ...]:
        """The notice that `neuron` has no threshold to set, where it has none."""
        if _has_threshold(neuron):
            return ()
        return (
            f"neuron.name={neuron.name} has no v_threshold: model.kv_threshold does not apply, the "
            "neurons behind k * v are as all others",
        )


class Embedding(nn.Module):
    """Images `[T, N, C, H, W]` to sums `[T, N, D, H', W']`; every pool halves H and W, rounding
    up."""

    def __init__(
        self,
        options: SpikeDrivenTransformerOptions,
        channels: int,
        timesteps: int,
        neuron: NeuronChoice,
    ) -> None:
        super().__init__()
        *early, dim = (multiple * options.width for multiple in MULTIPLES)
        self.stages = nn.ModuleList()
        self.pools = nn.ModuleList(
            Pool(nn.MaxPool2d(3, 2, 1)) if number >= STAGES - options.pools else nn.Identity()
            for number in range(STAGES)
        )
        for out in early:
            convolution = _convolution(channels, out, 3, bias=False)
            layer = SynapticLayer(convolution, options.norm(out), neuron.layer(out, timesteps))
            self.stages.append(layer)
            channels = out
        self.conv = _convolution(channels, dim, 3, bias=False)
        self.norm = options.norm(dim)
        self.neuron = neuron.layer(dim, timesteps)
        self.position = _convolution(dim, dim, 3, bias=False)
        self.position_norm = options.norm(dim)

    def forward(self, x: Tensor, states: LayerStates, repeat: int) -> Tensor:
        *early, last = self.pools
        for stage, pool in zip(self.stages, early, strict=True):
            x = pool(states.run(stage, x, repeat=repeat))  # type: ignore[arg-type]
            repeat = 1
        x = last(self.norm(fold_time(self.conv, x)))
        spikes = states.run(self.neuron, x)
        return x + self.position_norm(fold_time(self.position, spikes))


class Attention(nn.Module):
    """Spike-driven self-attention with its shortcut: sums `[T, N, D, H, W]` to sums."""

    def __init__(
        self,
        options: SpikeDrivenTransformerOptions,
        dim: int,
        timesteps: int,
        neuron: NeuronChoice,
    ) -> None:
        super().__init__()
        self.neuron = neuron.layer(dim, timesteps)
        self.query, self.key, self.value = (
            SynapticLayer(
                _convolution(dim, dim, 1, bias=False),
                options.norm(dim),
                neuron.layer(dim, timesteps),
            )
            for _ in range(3)
        )
        self.kv_neuron = neuron.layer(dim, timesteps, v_threshold=options.kv_threshold)
        self.conv = _convolution(dim, dim, 1)
        self.norm = options.norm(dim)

    def forward(self, x: Tensor, states: LayerStates) -> Tensor:
        spikes = states.run(self.neuron, x)
        q, k, v = (states.run(layer, spikes) for layer in (self.query, self.key, self.value))
        # Under autocast a sum is float32, and spikes of two kinds are not kept as bits.
        columns = masked(k, v).sum((3, 4)).to(k.dtype)
        mask = states.run(self.kv_neuron, columns)
        chosen = masked(q, mask[..., None, None])
        return x + self.norm(fold_time(self.conv, chosen))


class MLP(nn.Module):
    """Two convolutions 1x1 of spikes with their shortcut: sums `[T, N, D, H, W]` to sums."""

    def __init__(
        self,
        options: SpikeDrivenTransformerOptions,
        dim: int,
        timesteps: int,
        neuron: NeuronChoice,
    ) -> None:
        super().__init__()
        hidden = dim * options.mlp_ratio
        self.neuron = neuron.layer(dim, timesteps)
        self.hidden = SynapticLayer(
            _convolution(dim, hidden, 1), options.norm(hidden), neuron.layer(hidden, timesteps)
        )
        self.conv = _convolution(hidden, dim, 1)
        self.norm = options.norm(dim)

    def forward(self, x: Tensor, states: LayerStates) -> Tensor:
        inner = states.run(self.hidden, states.run(self.neuron, x))
        return x + self.norm(fold_time(self.conv, inner))


class TransformerBlock(nn.Module):
    """Attention and MLP."""

    def __init__(
        self,
        options: SpikeDrivenTransformerOptions,
        dim: int,
        timesteps: int,
        neuron: NeuronChoice,
    ) -> None:
        super().__init__()
        self.attention = Attention(options, dim, timesteps, neuron)
        self.mlp = MLP(options, dim, timesteps, neuron)

    def forward(self, x: Tensor, states: LayerStates) -> Tensor:
        return self.mlp(self.attention(x, states), states)


class SpikeDrivenTransformer(SpikingNet):
    """The net. Its final state is that of every layer of neurons, in forward order."""

    def __init__(
        self,
        options: SpikeDrivenTransformerOptions,
        channels: int,
        classes: int,
        timesteps: int,
        neuron: NeuronChoice,
    ) -> None:
        super().__init__()
        dim = MULTIPLES[-1] * options.width
        self.embedding = Embedding(options, channels, timesteps, neuron)
        self.blocks = nn.ModuleList(
            TransformerBlock(options, dim, timesteps, neuron) for _ in range(options.depth)
        )
        self.neuron = neuron.layer(dim, timesteps)
        self.dropout = SharedDropout(options.dropout)
        self.linear = nn.Linear(dim, classes)
        self.authors_names, self.authors_unused = _names(options.depth)

    def forward(
        self, x: Tensor, state: NetState | None = None, repeat: int = 1
    ) -> tuple[Tensor, NetState]:
        """See `SpikingNet.forward`."""
        states = LayerStates(state)
        x = self.embedding(self.frames(x), states, repeat)
        for block in self.blocks:
            x = block(x, states)
        spikes = states.run(self.neuron, x.flatten(3).mean(3))
        return fold_time(self.linear, self.dropout(spikes)), tuple(states.finals)


def build_spike_driven_transformer(
    options: SpikeDrivenTransformerOptions,
    *,
    input_shape: tuple[int, ...],
    classes: int,
    timesteps: int,
    neuron: NeuronChoice,
) -> SpikeDrivenTransformer:
    """The net for images `[C, H, W]` of any size. Raises RecipeError for anything else, and for a
    threshold behind k * v that the neuron cannot have."""
    if len(input_shape) != 3:
        raise RecipeError(
            "model 'spike_driven_transformer' needs images [C, H, W], the data has shape "
            f"{list(input_shape)}",
            hint="choose model.name=mlp for vectors",
        )
    if options.kv_threshold != KV_THRESHOLD and not _has_threshold(neuron.neuron):
        raise RecipeError(
            f"model.kv_threshold = {options.kv_threshold}: neuron '{neuron.neuron.name}' has no "
            "v_threshold that it could replace",
            hint="leave it out",
        )
    return SpikeDrivenTransformer(options, input_shape[0], classes, timesteps, neuron)


def _has_threshold(neuron: Neuron) -> bool:
    return "v_threshold" in neuron.hyperparameters.model_fields


def _convolution(channels: int, out: int, kernel: int, *, bias: bool = True) -> Convolution:
    convolution = Convolution(channels, out, kernel, 1, kernel // 2, bias=bias)
    nn.init.trunc_normal_(convolution.weight, std=0.02)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
    return convolution


def _names(depth: int) -> tuple[dict[str, str], frozenset[str]]:
    """Our modules -> theirs, and the keys of theirs that nothing uses."""
    names = {"neuron": "head_lif", "linear": "head"}
    for number in range(STAGES - 1):
        ours, end = f"embedding.stages.{number}", str(number or "")
        names |= _layer(ours, "patch_embed.proj", end)
    for ours, theirs in (
        *(("conv", "proj_conv3"), ("norm", "proj_bn3"), ("neuron", "proj_lif3")),
        *(("position", "rpe_conv"), ("position_norm", "rpe_bn")),
    ):
        names[f"embedding.{ours}"] = f"patch_embed.{theirs}"
    unused = {"patch_embed.rpe_lif.w"}
    for number in range(depth):
        attention, mlp = f"blocks.{number}.attention", f"blocks.{number}.mlp"
        block = f"block.{number}"
        for part in ("query", "key", "value"):
            names |= _layer(f"{attention}.{part}", f"{block}.attn.{part[0]}", "")
        names |= {
            f"{attention}.neuron": f"{block}.attn.shortcut_lif",
            f"{attention}.kv_neuron": f"{block}.attn.talking_heads_lif",
            f"{attention}.conv": f"{block}.attn.proj_conv",
            f"{attention}.norm": f"{block}.attn.proj_bn",
            f"{mlp}.neuron": f"{block}.mlp.fc1_lif",
            f"{mlp}.hidden.connection": f"{block}.mlp.fc1_conv",
            f"{mlp}.hidden.norm": f"{block}.mlp.fc1_bn",
            f"{mlp}.hidden.neuron": f"{block}.mlp.fc2_lif",
            f"{mlp}.conv": f"{block}.mlp.fc2_conv",
            f"{mlp}.norm": f"{block}.mlp.fc2_bn",
        }
        unused |= {f"{block}.attn.talking_heads.weight", f"{block}.attn.attn_lif.w"}
    return names, frozenset(unused)


def _layer(ours: str, theirs: str, end: str) -> dict[str, str]:
    """A synaptic layer's three parts."""
    parts = (("connection", "conv"), ("norm", "bn"), ("neuron", "lif"))
    return {f"{ours}.{own}": f"{theirs}_{other}{end}" for own, other in parts}
