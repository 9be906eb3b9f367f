"""Run by test_norm.py as one process of two: rank, address of the store, and the file of results.

Norm and neuron over a part of the batch, statistics over both parts.
"""

import sys
from typing import Any

import torch
from torch import Tensor, nn

from clifctl.models import NeuronChoice, TemporalBatchNorm
from clifctl.models.own.steps import Clock, norms_by_step
from clifctl.models.shared_norm import share_statistics
from clifctl.neurons import NEURONS

SHAPE = (4, 5, 3, 4, 2)
PARTS = (slice(0, 3), slice(3, 5))


def train(part: slice, processes: bool, mode: str, target: str = "auto") -> dict[str, Tensor]:
    """Two steps of training on samples `part`: output, gradients and running averages."""
    torch.manual_seed(0)
    choice = NeuronChoice(NEURONS["plif"], NEURONS["plif"].hyperparameters(), target=target)
    layer = choice.layer(3, 4).double()
    norm = TemporalBatchNorm(3, mode).double()
    norm.processes = processes
    found: dict[str, Any] = {}
    for number in range(2):
        x = 0.7 + (1 + number) * torch.randn(SHAPE, dtype=torch.float64)
        g = torch.randn(SHAPE, dtype=torch.float64)
        # A static image the second time: one step stands for four.
        leaf = (x if number == 0 else x[:1])[:, part].clone().requires_grad_()
        out, _ = layer(leaf, None, norm, 4 if number else 1)
        (out * g[:, part]).sum().backward()
        found |= {f"output {number}": out.detach(), f"gradient {number}": leaf.grad}
    named = [*norm.named_parameters(), *layer.named_parameters()]
    found |= {f"sum {name}": parameter.grad for name, parameter in named}
    return found | {f"same {name}": buffer for name, buffer in norm.named_buffers()}


TORCHS = ("torch", "steps", "spikingjelly")


def torchs(part: slice, processes: bool, kind: str) -> dict[str, Tensor]:
    """The same of a batch norm of torch: on all steps as one batch, step by step in a net of single
    steps, or of SpikingJelly in step mode "m"."""
    torch.manual_seed(0)
    net, clock = nn.Sequential(nn.BatchNorm2d(3, momentum=0.3)), Clock()
    if kind == "spikingjelly":
        from spikingjelly.activation_based import layer

        net = nn.Sequential(layer.BatchNorm2d(3, step_mode="m"))
    if kind == "steps":
        norms_by_step(net, clock)
    clock.steps = SHAPE[0]
    net.double()
    if processes:
        share_statistics(net[0])
    found: dict[str, Any] = {}
    for number in range(2):
        x = 0.7 + (1 + number) * torch.randn(SHAPE, dtype=torch.float64)
        g = torch.randn(SHAPE, dtype=torch.float64)
        leaf = x[:, part].clone().requires_grad_()
        given = leaf if kind == "spikingjelly" else leaf.flatten(0, 1)
        out = net(given).reshape(leaf.shape)
        (out * g[:, part]).sum().backward()
        found |= {f"output {number}": out.detach(), f"gradient {number}": leaf.grad}
    found |= {f"sum {name}": parameter.grad for name, parameter in net[0].named_parameters()}
    found["evaluated"] = net.eval()(given).reshape(leaf.shape).detach()
    return found | {f"same {name}": buffer for name, buffer in net[0].named_buffers()}


def main(rank: int, store: str, results: str) -> None:
    """One process."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    found = {mode: train(PARTS[rank], True, mode) for mode in ("per_step", "folded")}
    found |= {f"plain {mode}": train(PARTS[rank], True, mode, "reference") for mode in found}
    found |= {kind: torchs(PARTS[rank], True, kind) for kind in TORCHS}
    torch.save(found, results)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
