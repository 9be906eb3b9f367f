"""What comes from the CPU to a device; here on the CPU, where nothing has to come."""

import torch

from clifctl.transfer import constant, to_device

CPU = torch.device("cpu")


def test_on_the_cpu_tensors_are_themselves() -> None:
    given = [torch.ones(3), torch.zeros(2, dtype=torch.bool)]
    there = to_device(given, CPU)
    assert [own is other for own, other in zip(there, given, strict=True)] == [True, True]


def test_a_constant_is_made_once_for_each_dtype_and_device() -> None:
    values = (0.1, -2.0, 3.0)
    once = constant(values, torch.float32, CPU)
    assert torch.equal(once, torch.tensor(values))
    assert constant(values, torch.float32, CPU) is once
    assert constant(values, torch.float64, CPU).tolist() == [0.1, -2.0, 3.0]


def test_a_constant_of_an_evaluation_does_for_training() -> None:
    with torch.inference_mode():
        factor = constant((7.0, 5.0), torch.float32, CPU)
    x = torch.ones(2, requires_grad=True)
    (x * factor).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [7.0, 5.0]


def test_a_compiled_graph_holds_a_constant() -> None:
    compiled = torch.compile(
        lambda x: x * constant((3.0, 4.0), x.dtype, x.device), backend="eager", fullgraph=True
    )
    assert compiled(torch.ones(2)).tolist() == [3.0, 4.0]
