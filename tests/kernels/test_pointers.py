"""Every place that takes the memory of a tensor: none may get that of spikes, which have none."""

import ast
from pathlib import Path

import pytest
import torch

import clifctl
from clifctl.kernels import Spikes, scan
from clifctl.kernels.cpu.packing import bits_of
from clifctl.neurons import NEURONS, Parameters

PACKAGE = Path(clifctl.__file__).parent
# Where a pointer or an array is taken, and why it is one of floats (or whole numbers) that lie in
# memory. Who adds a place says so here.
KNOWN = {
    "kernels/cpu": "given plain tensors alone by `spikes` and the targets",
    "kernels/spikes/bits.py": "makes bits of what it is given, and floats of bits",
    "kernels/spikes/arithmetic.py": "of a plain tensor",
    "kernels/spikes/operations.py": "what Spikes do when they are asked for their memory",
    "neurons/contract.py": "the state of a random generator",
    "data/contract.py": "data that was read from files",
    "data/augment/policies.py": "images",
    "cli/data.py": "frames to be drawn",
    "convert/nir_graph.py": "weights",
    "convert/nir_nodes.py": "constants of neurons, by channel",
    "data/sets/heidelberg.py": "an order that was drawn",
    "data/simulated_camera.py": "images",
    "experiments/run/connections.py": "weights, as names of layers",
}


def places() -> set[str]:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = node.func if isinstance(node, ast.Call) else node
            if isinstance(called, ast.Attribute) and called.attr in ("data_ptr", "numpy"):
                found.add(path.relative_to(PACKAGE).as_posix())
    return found


def test_every_place_that_takes_memory_is_known() -> None:
    found = places()
    assert len(found) > 5
    unknown = {p for p in found if p not in KNOWN and not p.startswith("kernels/cpu/")}
    assert not unknown, f"see KNOWN of {__file__}"
    for known in KNOWN:
        assert any(place.startswith(known) for place in found), known


def _spikes(*size: int) -> Spikes:
    lif = NEURONS["lif"]
    x = torch.randn(size, generator=torch.Generator().manual_seed(0))
    found = scan(x, None, Parameters(lif, lif.hyperparameters(), {}))[0]
    assert isinstance(found, Spikes)
    return found


@pytest.mark.parametrize("size", [(2, 3, 5), (2, 1, 3, 4, 5)])
def test_memory_of_spikes_is_that_of_floats(size: tuple[int, ...]) -> None:
    """Should spikes come to such a place after all, it works on floats."""
    spikes = _spikes(*size)
    expected = spikes + 0
    flat = spikes.detach().movedim(2, -1) if len(size) == 5 else spikes.detach()
    assert torch.equal(bits_of(flat.reshape(-1)), bits_of((expected.movedim(2, -1)).reshape(-1)))
    assert spikes.detach().numpy().tolist() == expected.tolist()
    assert spikes.data_ptr() == spikes[0].data_ptr() != 0
    assert spikes.untyped_storage().nbytes() == 4 * spikes.numel()
    assert torch.equal(spikes + 0, expected)
