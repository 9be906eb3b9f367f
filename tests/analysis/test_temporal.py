"""Temporal gradients of whole nets in float64, random and trained."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from clifctl.analysis.observing import observed
from clifctl.analysis.splits import Paths, paths_of, split
from clifctl.analysis.temporal import analyse
from clifctl.convert.folding import fold_net
from clifctl.convert.graph import read_net
from clifctl.data import batches
from clifctl.experiments.build import build_net, load_data, loss_of, repeat_of
from clifctl.kernels import scan
from clifctl.models import SpikingLayer, SpikingNet, batch_statistics
from clifctl.recipe.load import load_recipe
from clifctl.recipe.schema import Recipe

EXACT = 1e-12
ROWS = ["digits_rows_mlp", "model.hidden=[12,7]"]
STATIC = ["digits_snn5", "model.channels=[2,3,2,3,4]"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """More would wait for each other over tensors of this size."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def built(source: list[str], *overrides: str) -> tuple[Recipe, SpikingNet]:
    recipe = load_recipe(source[0], [*source[1:], *overrides]).recipe
    torch.manual_seed(7)
    net = build_net(recipe).double()
    for layer in net.modules():
        if isinstance(layer, SpikingLayer):
            layer.target = "reference"
    return recipe, net


def batch(recipe: Recipe, samples: int) -> tuple[Tensor, Tensor]:
    inputs, targets = next(batches(load_data(recipe).train, samples))
    return inputs.double(), targets


def train(recipe: Recipe, net: SpikingNet, steps: int) -> None:
    inputs, targets = batch(recipe, 64)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of(recipe)(net(inputs, repeat=repeat_of(recipe))[0], targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def gradients(recipe: Recipe, net: SpikingNet, inputs: Tensor, targets: Tensor) -> list[Tensor]:
    loss = loss_of(recipe)(net(inputs, repeat=repeat_of(recipe))[0], targets)
    return list(torch.autograd.grad(loss, list(net.parameters())))


@pytest.mark.parametrize(
    ("neuron", "trained", "formula"),
    [
        ("lif", False, "exact"), ("clif", False, "exact-xi"),
        ("lif", True, "exact"), ("clif", True, "exact"),
    ],
)  # fmt: skip
def test_splits_of_a_net_are_exact(neuron: str, trained: bool, formula: str) -> None:
    recipe, net = built(ROWS, f"neuron.name={neuron}")
    if trained:
        train(recipe, net, 25)
    inputs, targets = batch(recipe, 9)
    net.eval()
    with batch_statistics(net):
        found = analyse(
            net, inputs, lambda logits: loss_of(recipe)(logits, targets),
            repeat=1, formula=formula, windows=False,
        )  # fmt: skip
    assert [layer.layer for layer in found.layers] == ["features.0.neuron", "features.1.neuron"]
    for layer in found.layers:
        assert layer.split is not None
        assert layer.split.error_max < EXACT
        assert layer.split.whole_max > 1e-5
        assert sum(lag.projection or 0.0 for lag in layer.lags) == pytest.approx(1, abs=EXACT)
        assert sum(share or 0.0 for share in layer.shares) == pytest.approx(1, abs=EXACT)
        assert layer.norm == pytest.approx(layer.split.whole_norm, rel=EXACT)
        assert len(layer.lags) == len(layer.reach) == 8
        assert 0 <= layer.reach[7] < layer.reach[0]


@pytest.mark.parametrize(
    ("neuron", "trained"),
    [
        ("clif", True),
        *(
            pytest.param(*one, marks=pytest.mark.exhaustive)
            for one in (("lif", True), ("lif neuron.reset=hard", False), ("clif", False))
        ),
    ],
)
def test_twenty_steps_against_autograd_of_the_net_itself(
    neuron: str, trained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said of each layer, from the input currents and spikes of the unobserved net: the
    parts, and what every lag adds, sum up to what autograd finds at that current."""
    steps = 20
    recipe, net = built(STATIC, *f"neuron.name={neuron} timesteps={steps}".split())
    if trained:
        train(recipe, net, 20)
    inputs, targets = batch(recipe, 5)
    currents: list[Tensor] = []
    spikes: list[Tensor] = []

    def recording(current: Tensor, *args: Any, **options: Any) -> Any:
        # A copy of its own: in a static net the expanded current is a view of one step.
        current = current.clone()
        found = scan(current, *args, **options)
        currents.append(current)
        spikes.append(found[0])
        return found

    def loss(logits: Tensor) -> Tensor:
        return loss_of(recipe)(logits, targets)

    net.eval()
    with batch_statistics(net):
        found = analyse(net, inputs, loss, repeat=steps, windows=False)
        monkeypatch.setattr("clifctl.models.layers.scan", recording)
        of_net = torch.autograd.grad(
            loss(net(inputs, repeat=steps)[0]), [*currents, *spikes], materialize_grads=True
        )
    layers = [module for module in net.modules() if isinstance(module, SpikingLayer)]
    assert len(layers) == len(currents) == 5
    for number, (said, layer) in enumerate(zip(found.layers, layers, strict=True)):
        gradient, g_spikes = of_net[number], of_net[5 + number]
        paths = paths_of(layer.neuron, layer.hyperparameters, currents[number].detach())
        for formula in ("exact", "exact-xi"):
            whole = split(paths, g_spikes, formula).whole
            assert float((whole - gradient).abs().max()) < EXACT
        by_lag = from_each_lag(paths, g_spikes)
        assert float((by_lag.sum(0) - gradient).abs().max()) < EXACT
        assert said.norm == pytest.approx(float(gradient.norm()), rel=1e-9)
        assert said.norm > 1e-6
        for lag, part in zip(said.lags, by_lag, strict=True):
            assert lag.norm == pytest.approx(float(part.norm()), rel=1e-9, abs=EXACT)
            along = float((part * gradient).sum() / (gradient * gradient).sum())
            assert lag.projection == pytest.approx(along, rel=1e-9, abs=1e-9)


def from_each_lag(paths: Paths, g_spikes: Tensor) -> Tensor:
    """What each step's gradient has from `lag` steps later, `[lag, T, N, *]`: the gradient of one
    step's spikes alone, carried back step by step."""
    steps = len(g_spikes)
    found = g_spikes.new_zeros(steps, *g_spikes.shape)
    for later in range(steps):
        du = g_spikes[later] * paths.h[later]
        dm = torch.zeros_like(du)
        for t in range(later, -1, -1):
            if t < later and paths.psi is not None and paths.phi is not None:
                assert paths.rho is not None
                dm = paths.phi[t] * du + paths.rho[t + 1] * dm
                du = paths.eps[t] * du + paths.psi[t] * dm
            elif t < later:
                du = paths.eps[t] * du
            found[later - t, t] = du
    return found


@pytest.mark.parametrize(
    ("source", "neuron"), [(ROWS, "clif"), (STATIC, "plif")], ids=["mlp", "static-snn5"]
)
def test_an_observed_net_has_the_gradient_of_the_net(source: list[str], neuron: str) -> None:
    """With every window, of learnable parameters too; and the net is left as it was."""
    recipe, net = built(source, f"neuron.name={neuron}")
    inputs, targets = batch(recipe, 6)
    net.eval()
    layers = [module for module in net.modules() if isinstance(module, SpikingLayer)]
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with batch_statistics(net):
        expected = {}
        for window in (1, 3, None):
            for layer in layers:
                layer.window = window
            expected[window] = gradients(recipe, net, inputs, targets)
            for layer in layers:
                layer.window = None
        parameters = list(net.parameters())
        with observed(net) as watched:
            logits = net(inputs, repeat=repeat_of(recipe))[0]
            loss = loss_of(recipe)(logits, targets)
            for window, of_net in expected.items():
                watched.window = window
                found = torch.autograd.grad(loss, parameters, retain_graph=True)
                for ours, theirs in zip(found, of_net, strict=True):
                    assert float((ours - theirs).abs().max()) < EXACT
    assert [module for module in net.modules() if isinstance(module, SpikingLayer)] == layers
    after = net.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_norm_folded_into_the_weights_is_left_as_it_is() -> None:
    """Batch statistics would normalise anew what needs it no more."""
    recipe, net = built(STATIC, "neuron.name=lif", "timesteps=3")
    train(recipe, net, 12)  # running averages that are no longer 0 and 1
    inputs, targets = batch(recipe, 6)
    net.eval()

    def looked_at() -> list[list[float]]:
        found = analyse(net, inputs, lambda z: loss_of(recipe)(z, targets), repeat=3, windows=False)
        return [[lag.norm for lag in layer.lags] for layer in found.layers]

    with_averages = looked_at()
    assert fold_net(net, read_net(net, recipe.data.input_shape))[1] == ()
    with batch_statistics(net):
        folded = looked_at()
    # The current is the same; to float32's digits, as running averages are.
    for ours, expected in zip(folded, with_averages, strict=True):
        assert ours == pytest.approx(expected, rel=1e-3)


def test_windows_of_a_net() -> None:
    recipe, net = built(STATIC, "neuron.name=clif", "timesteps=3")
    inputs, targets = batch(recipe, 8)
    net.eval()
    with batch_statistics(net):
        found = analyse(net, inputs, lambda z: loss_of(recipe)(z, targets), repeat=3)
        full = gradients(recipe, net, inputs, targets)
        for layer in net.modules():
            if isinstance(layer, SpikingLayer):
                layer.window = 2
        truncated = gradients(recipe, net, inputs, targets)
    weights = [
        (name, a, b)
        for (name, _), a, b in zip(net.named_parameters(), truncated, full, strict=True)
        if a.dim() > 1
    ]
    flat = [torch.cat([pair[i].flatten() for pair in weights]) for i in (1, 2)]
    two = found.windows[1]
    assert [row.window for row in found.windows] == [1, 2, 3]
    cosine = float(torch.cosine_similarity(flat[0], flat[1], dim=0))
    assert two.cosine == pytest.approx(cosine, abs=EXACT)
    assert two.distance == pytest.approx(float((flat[0] - flat[1]).norm() / flat[1].norm()))
    for name, a, b in weights:
        cosine = float(torch.cosine_similarity(a.flatten(), b.flatten(), dim=0))
        assert two.cosine_of_weights[name] == pytest.approx(cosine, abs=EXACT)
    assert found.windows[-1].cosine == pytest.approx(1.0, abs=EXACT)
    assert found.windows[-1].distance == 0.0
    distances = [row.distance or 0.0 for row in found.windows]
    assert distances == sorted(distances, reverse=True)
    assert found.temporal_share == pytest.approx(
        sum(layer.temporal_share or 0.0 for layer in found.layers) / 5
    )


def test_some_layers_and_one_step() -> None:
    recipe, net = built(STATIC, "neuron.name=lif", "timesteps=1")
    inputs, targets = batch(recipe, 4)
    net.eval()
    with batch_statistics(net):
        found = analyse(
            net, inputs, lambda z: loss_of(recipe)(z, targets), repeat=1,
            layers=["features.2.neuron"],
        )  # fmt: skip
    (layer,) = found.layers
    assert layer.layer == "features.2.neuron"
    assert layer.neurons == 2 * 4 * 4
    assert layer.temporal_share == found.temporal_share == 0.0
    assert [row.cosine for row in found.windows] == [pytest.approx(1.0)]
