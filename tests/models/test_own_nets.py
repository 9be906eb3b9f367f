"""A person's own net: what it is built of, what it may do, and SpikingJelly's nodes in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clifctl.errors import ModelError, RecipeError
from clifctl.models import MODELS, NeuronChoice, firing_modules
from clifctl.models.own.loading import FOREIGN_MODELS
from clifctl.models.own.net import OwnNet
from clifctl.models.own.options import options_of
from clifctl.neurons import NEURONS
from clifctl.recipe.load import load_recipe

HEAD = """
import torch
from torch import nn
from clifctl.nn import CLIF, FoldTime

class Base(nn.Module):
    def __init__(self, input_shape, classes, timesteps, neuron, *, width: int = 6):
        super().__init__()
        self.fc, self.sn, self.out = nn.Linear(16, width), neuron(width), nn.Linear(width, classes)
        self.register_buffer("seen", torch.zeros(width))
        self.plain, self.calls = torch.ones(width), 0

    def hidden(self, x):
        return self.sn(self.fc(x.flatten(2)))

"""
JELLY = """
import torch
from torch import nn
from spikingjelly.activation_based import layer, neuron as sj, surrogate

"""
STEPS, CLASSES = 4, 3


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., OwnNet]:
    """Build the net `Net` of a file with this text."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(FOREIGN_MODELS, "of_files", {})

    def built(
        text: str, neuron: str = "clif", shape: tuple[int, ...] = (1, 4, 4), **options: Any
    ) -> OwnNet:
        (tmp_path / "net.py").write_text(text)
        FOREIGN_MODELS.of_files.clear()
        model = FOREIGN_MODELS.load("net.py:Net", MODELS)
        torch.manual_seed(0)
        chosen = NEURONS[neuron]
        net = model.build(
            model.options(**options),
            input_shape=shape,
            classes=CLASSES,
            timesteps=STEPS,
            neuron=NeuronChoice(chosen, chosen.with_values(), target="reference"),
        )
        assert isinstance(net, OwnNet)
        return net

    return built


def images(*shape: int, seed: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64) * 2


def net(body: str) -> str:
    return f"{HEAD}class Net(Base):\n    def forward(self, x):\n        {body}\n"


def test_a_net_of_torchs_layers_is_one_of_ours(build: Callable[..., OwnNet]) -> None:
    own = build(net("return self.out(self.hidden(x))"), width=5).double()
    assert list(firing_modules(own)) == ["net.sn.neurons"]
    assert own.net.fc.out_features == 5
    x = images(1, 2, 1, 4, 4)
    logits, final = own(x, repeat=STEPS)
    assert (logits.shape, final) == ((STEPS, 2, CLASSES), ())
    with torch.no_grad():
        hidden = own.net.fc(x.flatten(2)).expand(STEPS, -1, -1)
        spikes = firing_modules(own)["net.sn.neurons"](hidden)[0]
    torch.testing.assert_close(logits, own.net.out(spikes), rtol=1e-12, atol=1e-12)


def test_logits_of_the_whole_sequence_stand_for_all_steps(build: Callable[..., OwnNet]) -> None:
    own = build(net("return self.out(self.hidden(x)).mean(0)")).double()
    assert not own.logits_of_steps
    assert own(images(STEPS, 2, 1, 4, 4))[0].shape == (1, 2, CLASSES)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return self.hidden(x)", r"returns \[4, 2, 6\] for T = 4, N = 2 and 3 classes"),
        ("return self.out(self.hidden(x)), 1", "returns a tuple, and not a tensor"),
        ("return self.out(self.fc(x.flatten(2)))", "runs no layer of neurons"),
        ("self.last = self.hidden(x); return self.out(self.last)", "calls: 'last' is another one"),
        ("self.calls += 1; return self.out(self.hidden(x))", "between calls: 'calls'"),
        ("self.seen += 1; return self.out(self.hidden(x))", "between calls: 'seen'"),
        ("x += 1; return self.out(self.hidden(x))", "changes its input in place"),
        (
            "return self.out(self.hidden(x if x.sum() > 0 else -x))",
            r"\(line 18\) asks for the value of a tensor",
        ),
        (
            "return self.out(self.sn(self.fc(x)))",
            r"\(line 18\): layer 'fc' \(Linear\) fails for an input \[4, 2, 1, 4, 4\]",
        ),
        ("return self.out(self.sn(self.hidden(x)))", "layer of neurons 'sn' runs twice"),
        (
            "return self.out(self.sn(self.fc(x.flatten(0, 1).flatten(1))))",
            r"'sn' gets \[8, 6\], where T = 4 and N = 2: it needs \[T, N, \*\]",
        ),
        ("return self.out(self.hidden(x) * self.plain)", "a tensor is not where the input is"),
        ("raise SystemExit(0)", "SystemExit: 0"),
    ],
)
def test_what_a_net_must_not_do_is_told(build: Callable[..., OwnNet], body: str, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        build(net(body))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Net = 3", "is 3, and not a class"),
        ("class Net: pass", "is the class Net, and not one of torch.nn.Module"),
        ("import torch\nNet = torch.nn.Linear(2, 3)", "a module that is built already"),
        ("def Net(**given): return 3", "gives a int, and not a torch.nn.Module"),
        ("def Net(**given): raise KeyError('a')", "cannot be built: KeyError: 'a'"),
        ("import sys\nsys.exit(0)", "cannot be loaded: SystemExit: 0"),
        ("x = 1", "has no 'Net'"),
        ("import torch\nclass Net(torch.nn.Module):\n def __init__(self, depth): pass", "'depth'"),
        ("def Net(*, nodes=3): pass", "'nodes', which is taken"),
        ("def Net(*, width: int = 'a'): pass", "the default 'a' of 'width'"),
        (
            f"{HEAD}class Net(Base):\n    def __init__(self, **given):\n"
            "        super().__init__(**given); self.sn = given['neuron'](9)\n"
            "    def forward(self, x): return self.out(self.hidden(x))",
            r"'sn' gets \[4, 2, 6\]: it was built for 9 channels",
        ),
        (
            f"{HEAD}class Net(Base):\n    def __init__(self, **given):\n"
            "        super().__init__(**given); self.more = CLIF()\n"
            "    def forward(self, x): return self.out(self.hidden(x))",
            "does not run its layer of neurons 'more'",
        ),
    ],
)
def test_what_is_no_net_is_told(build: Callable[..., OwnNet], text: str, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        build(text)


def test_keywords_with_a_default_are_keys() -> None:
    def make(  # type: ignore[no-untyped-def]
        input_shape,
        *,
        width: int = 3,
        rate=0.5,
        kinds=("a",),
        sizes: list[int] = [1, 2],  # noqa: B006, as people write it
        norm=nn.ReLU,
    ):
        pass

    options: Any = options_of(make, "net")
    assert list(options.model_fields) == ["nodes", "width", "rate", "kinds", "sizes"]
    given = options(width=4, kinds=["b"], sizes=[3])
    assert (given.width, given.rate, given.kinds, given.sizes) == (4, 0.5, ("b",), [3])
    for wrong in ({"width": 1.5}, {"width": "4"}, {"sizes": [1.5]}, {"kinds": [1]}, {"depth": 1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            options(**wrong)


def test_a_wrong_key_of_a_net_is_told_as_every_other(
    build: Callable[..., OwnNet],
) -> None:
    build(net("return self.out(self.hidden(x))"))
    named = ["model.name=net.py:Net", "timesteps=2"]
    assert load_recipe("digits_snn5", [*named, "model.width=5"]).recipe.document["model"] == {
        "name": "net.py:Net", "nodes": "recipe", "width": 5
    }  # fmt: skip
    with pytest.raises(RecipeError, match=r"model.widht.*did you mean .*width"):
        load_recipe("digits_snn5", [*named, "model.widht=5"])


# What SpikingJelly's own nodes do with the same weights, called step by step.

STEPWISE = f"""{JELLY}
class Net(nn.Module):
    def __init__(self, input_shape, classes):
        super().__init__()
        self.conv = layer.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.sn = sj.LIFNode(tau=1.7, v_reset=None, surrogate_function=surrogate.ATan())
        self.more = nn.Sequential(sj.IFNode(detach_reset=True), nn.Conv2d(4, 4, 1), sj.KLIFNode())
        self.block = nn.Sequential(nn.Conv2d(4, 5, 3), layer.BatchNorm2d(5), sj.ParametricLIFNode())
        self.drop = layer.Dropout(0.4)
        self.out = nn.Linear(20, classes)

    def forward(self, x):
        x = self.block(self.more(self.sn(self.norm(self.conv(x)))))
        return self.out(self.drop(x.flatten(1)))
"""


def by_hand(net: nn.Module, x: Tensor) -> Tensor:
    from spikingjelly.activation_based import functional

    functional.reset_net(net)
    return torch.stack([net(step) for step in x])


@pytest.mark.parametrize("training", [False, True])
def test_a_net_of_single_steps_gives_what_it_gives_step_by_step(
    build: Callable[..., OwnNet], tmp_path: Path, training: bool
) -> None:
    own = build(STEPWISE, nodes="own").double().train(training)
    assert own.single
    space: dict[str, Any] = {}
    exec(compile((tmp_path / "net.py").read_text(), "net.py", "exec"), space)
    plain = space["Net"]((1, 4, 4), CLASSES).double().train(training)
    theirs_of = {
        key: f"{own.authors_names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}"
        for key in own.state_dict()
    }
    renamed = {theirs_of[key]: value for key, value in own.state_dict().items()}
    assert plain.load_state_dict(renamed, strict=True)
    x = images(STEPS, 3, 1, 4, 4)
    for _ in range(2):  # nothing is left over of a call
        torch.manual_seed(5)
        ours = own(x)[0]
        torch.manual_seed(5)
        theirs = by_hand(plain, x)
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    assert ours.abs().sum() > 0
    ours.square().sum().backward()
    theirs.square().sum().backward()
    gradients = dict(plain.named_parameters())
    for name, parameter in own.net.named_parameters():
        theirs_gradient = gradients[name.replace(".neurons.", ".")].grad
        torch.testing.assert_close(parameter.grad, theirs_gradient, rtol=1e-8, atol=1e-9)
    buffers = dict(plain.named_buffers())
    for name, buffer in own.net.named_buffers():
        torch.testing.assert_close(buffer, buffers[name], rtol=1e-12, atol=1e-12)


@pytest.mark.exhaustive  # half a minute of a C++ compiler
@pytest.mark.parametrize("text", [STEPWISE, net("return self.out(self.hidden(x)).mean(0)")])
def test_a_compiled_net_has_the_same_gradients(build: Callable[..., OwnNet], text: str) -> None:
    """As torch traces it, without inductor, whose compiling takes minutes."""
    graphs: list[Any] = []

    def backend(graph: Any, examples: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    own = build(text).double()
    compiled = torch.compile(own, backend=backend)
    x = images(STEPS, 3, 1, 4, 4)
    found = []
    for run in (own, compiled, compiled):
        own.zero_grad()
        torch.manual_seed(5)
        logits = run(x)[0]
        logits.square().sum().backward()
        found.append([logits.detach(), *(p.grad for p in own.parameters())])
    assert graphs
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            torch.testing.assert_close(two, one, rtol=1e-9, atol=1e-9)


MULTISTEP = f"""{JELLY}
class Net(nn.Module):
    def __init__(self, input_shape, classes):
        super().__init__()
        self.conv = layer.SeqToANNContainer(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.sn = sj.IFNode(step_mode="m")
        self.held = layer.MultiStepContainer(nn.Conv2d(4, 2, 3), sj.LIFNode(), nn.BatchNorm2d(2))
        self.out = layer.Linear(8, classes, step_mode="m")

    def forward(self, x):
        return self.out(self.held(self.sn(self.conv(x))).flatten(2))
"""


def test_the_recipes_neuron_takes_the_place_of_every_node(build: Callable[..., OwnNet]) -> None:
    own = build(MULTISTEP, "glif_channel").double()
    layers = firing_modules(own)
    assert list(layers) == ["net.sn.neurons", "net.held.1.neurons"]
    assert {layer.neuron.name for layer in layers.values()} == {"glif_channel"}
    assert [len(layer.learnables()["tau"]) for layer in layers.values()] == [4, 2]
    x = images(STEPS, 3, 1, 4, 4)
    own.eval()
    with torch.no_grad():
        first = layers["net.sn.neurons"](own.net.conv(x))[0]
        held = torch.stack([own.net.held[0](step) for step in first])
        second = layers["net.held.1.neurons"](held)[0]
        normed = torch.stack([own.net.held[2](step) for step in second])
        expected = own.net.out(normed.flatten(2))
    torch.testing.assert_close(own(x)[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("sj.IFNode(", "sj.QIFNode("), "'sn' is a QIFNode, for which"),
        (('IFNode(step_mode="m")', "LIFNode(surrogate_function=surrogate.Erf())"), "Erf"),
    ],
)
def test_a_node_that_clifctl_does_not_have_is_told(
    build: Callable[..., OwnNet], change: tuple[str, str], told: str
) -> None:
    with pytest.raises(ModelError, match=told):
        build(MULTISTEP.replace(*change), nodes="own")


def test_nets_that_cannot_run_layer_by_layer_are_told(build: Callable[..., OwnNet]) -> None:
    mixed = MULTISTEP.replace("layer.MultiStepContainer", "nn.Sequential")
    with pytest.raises(ModelError, match=r"step_mode of 'sn' is m, that of 'held.1' is s"):
        build(mixed)
    fed_back = STEPWISE.replace(
        "self.sn = ", "self.sn = layer.ElementWiseRecurrentContainer("
    ).replace("surrogate.ATan())", "surrogate.ATan()), torch.add)")
    with pytest.raises(
        ModelError, match=r"'sn' \(ElementWiseRecurrentContainer\) feeds the spikes"
    ):
        build(fed_back)


def test_a_node_of_clifctls_in_spikingjellys_words_is_taken_too(
    build: Callable[..., OwnNet],
) -> None:
    text = MULTISTEP.replace("sj.IFNode(", "CLIFNode(tau=3.0, ").replace(
        "sj.LIFNode()", "CLIFNode()"
    )
    own = build(f"from clifctl.spikingjelly import CLIFNode\n{text}", "lif", nodes="own")
    kept = [(one.neuron.name, one.hyperparameters.tau) for one in firing_modules(own).values()]  # type: ignore[attr-defined]
    assert kept == [("clif", 3.0), ("clif", 2.0)]


ZOO = """
from spikingjelly.activation_based import functional, neuron as sj
from spikingjelly.activation_based.model.sew_resnet import sew_resnet18

def Net(input_shape, classes):
    net = sew_resnet18(spiking_neuron=sj.ParametricLIFNode, cnf="ADD", num_classes=classes)
    functional.set_step_mode(net, "m")
    return net
"""


def test_spikingjellys_sew_resnet_is_a_net_of_ones_own(
    build: Callable[..., OwnNet], tmp_path: Path
) -> None:
    from spikingjelly.activation_based import functional

    own = build(ZOO, shape=(3, 32, 32), nodes="own").double()
    assert len(firing_modules(own)) == 20
    space: dict[str, Any] = {}
    exec(compile((tmp_path / "net.py").read_text(), "net.py", "exec"), space)
    plain = space["Net"]((3, 32, 32), CLASSES).double()
    plain.load_state_dict({k.replace(".neurons.", "."): v for k, v in own.net.state_dict().items()})
    x = images(STEPS, 2, 3, 32, 32)
    functional.reset_net(plain)
    ours, theirs = own(x)[0], plain(x)
    torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-9)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    gradients = {name: p.grad for name, p in plain.named_parameters()}
    for name, parameter in own.net.named_parameters():
        expected = gradients[name.replace(".neurons.", ".")]
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-6, atol=1e-8)
    assert float(own.net.layer1[0].conv1.weight.grad.norm()) > 0
