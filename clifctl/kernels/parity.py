"""Does a target do what the reference does? The checks that tests and `neurons check` share.

A case is one neuron on one target with one choice of everything that can be chosen. Outputs, final
states and every gradient are compared by name. Spikes are discontinuous: in float32 an element
whose membrane comes within MARGIN of the threshold at any step may fire in one and not in the
other; such elements are left out, on both sides, and their share is reported.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin

import torch
from torch import Tensor

from clifctl.devices import CPU
from clifctl.kernels.arguments import initial_state
from clifctl.kernels.scan import scan
from clifctl.kernels.targets import DTYPES
from clifctl.neurons import SURROGATES, Hyperparameters, Neuron, spike

MARGIN = 1e-5
STEPS = 5
# Odd sizes on purpose; the second has more elements than a block, the third no image.
SHAPES: dict[str, tuple[int, ...]] = {
    "3x5x3x2": (3, 5, 3, 2),
    "2x3x19x23": (2, 3, 19, 23),
    "37x7": (37, 7),
}


@dataclass(frozen=True)
class Tolerance:
    """Largest error, relative to the largest value (at least 1) of the same tensor."""

    state: float
    gradient: float
    learnable: float


# float64: rounding alone. float32: sums of few terms, polynomials of exp and tanh. The gradient of
# a learnable parameter is a sum over all elements and steps, in another order than torch's. In 16
# bits the arithmetic is float32's, and the gradient of the input is rounded to 16 bits at the end.
TOLERANCES: dict[str, Tolerance] = {
    "float64": Tolerance(1e-12, 1e-12, 1e-12),
    "float32": Tolerance(1e-5, 1e-5, 5e-5),
    "bfloat16": Tolerance(1e-5, 1.6e-2, 5e-5),
    "float16": Tolerance(1e-5, 2e-3, 5e-5),
}


@dataclass(frozen=True)
class Case:
    """One choice of everything. `choices` are hyperparameters other than the defaults."""

    target: str
    dtype: str
    surrogate: str
    window: str
    shape: str
    choices: str
    state: Literal["given", "initial"]

    def __str__(self) -> str:
        return "-".join(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class Outcome:
    """The worst quantity of a case: its error against what is allowed."""

    case: str
    quantity: str
    error: float
    allowed: float
    excluded_percent: float

    @property
    def passed(self) -> bool:
        """Whether every quantity is within what is allowed, and few enough were left out."""
        return self.error <= self.allowed and self.excluded_percent < 5.0


def axes(neuron: Neuron, target: str = "numba") -> dict[str, list[str]]:
    """Everything that can be chosen for `neuron` on `target`, each with its values."""
    steps = _steps(neuron)
    windows = ["full"]
    if steps > 1:
        windows += [f"sliding:{k}" for k in (1, 2, steps)] + ["chunked:2", "prefix:2"]
    has_surrogate = "surrogate" in neuron.hyperparameters.model_fields
    return {
        "target": [target],
        "dtype": [name for name in TOLERANCES if getattr(torch, name) in DTYPES[target]],
        "surrogate": list(SURROGATES) if has_surrogate else ["none"],
        "window": windows,
        "shape": list(SHAPES),
        "choices": [_choice_text(choice) for choice in _choices(neuron.hyperparameters)],
        "state": ["given", "initial"],
    }


def all_cases(neuron: Neuron, target: str = "numba") -> Iterator[Case]:
    """The full product of the axes."""
    for values in itertools.product(*axes(neuron, target).values()):
        yield Case(*values)  # type: ignore[arg-type]


def covering_cases(neurons: Sequence[Neuron], target: str = "numba") -> list[tuple[Neuron, Case]]:
    """A small set of cases in which every pair of values of two axes occurs together, the neuron
    being an axis too, and every choice of hyperparameters of every neuron at least once."""
    cases: list[tuple[Neuron, Case]] = []
    alike: dict[tuple[Any, ...], list[Neuron]] = {}
    for neuron in neurons:
        shared = {name: tuple(v) for name, v in axes(neuron, target).items() if name != "choices"}
        alike.setdefault(tuple(shared.items()), []).append(neuron)
    for shared_axes, members in alike.items():
        by_name = {neuron.name: neuron for neuron in members}
        values = {"neuron": tuple(by_name), **dict(shared_axes)}
        rows = _pairwise(list(values.values()))
        for row in rows:
            chosen = dict(zip(values, row, strict=True))
            neuron = by_name[chosen.pop("neuron")]
            cases.append((neuron, Case(choices="defaults", **chosen)))
        for neuron in members:
            for number, choice in enumerate(axes(neuron, target)["choices"][1:]):
                chosen = dict(zip(values, rows[(7 * number) % len(rows)], strict=True))
                del chosen["neuron"]
                cases.append((neuron, Case(choices=choice, **chosen)))
    return cases


def _pairwise(axes: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Rows with one value of each axis, greedily chosen until every pair has occurred."""
    missing = {
        ((i, a), (j, b))
        for i, j in itertools.combinations(range(len(axes)), 2)
        for a in axes[i]
        for b in axes[j]
    }
    rows = []
    while missing:
        row: dict[int, str] = dict(min(missing))
        for axis, candidates in enumerate(axes):
            if axis not in row:
                row[axis] = max(candidates, key=lambda v: (_gain(row, axis, v, missing), v))
        missing -= set(itertools.combinations(sorted(row.items()), 2))
        rows.append(tuple(row[axis] for axis in range(len(axes))))
    return rows


def _gain(row: dict[int, str], axis: int, value: str, missing: set[Any]) -> int:
    return sum(
        tuple(sorted(((axis, value), (other, chosen)))) in missing for other, chosen in row.items()
    )


def check(neuron: Neuron, case: Case, device: str = CPU, *, steps: int = STEPS) -> Outcome:
    """Run `case` on the reference and on its target, on tensors of `device`, and compare."""
    setting = _Setting(neuron, case, device, steps)
    kept = ~setting.near_threshold()
    expected = setting.run("reference", kept)
    given = setting.run(case.target, kept)
    tolerance = TOLERANCES[case.dtype]
    worst = ("", -1.0, 0.0)
    for name, reference in expected.items():
        kind = name.split(" ")[0]
        exact = 0.0 if neuron.spiking else tolerance.state
        allowed = {"output": exact, "state": tolerance.state, "gradient": tolerance.gradient}.get(
            kind, tolerance.learnable
        )
        error = _error(reference, given[name])
        if worst[1] < 0 or _badness(error, allowed) > _badness(worst[1], worst[2]):
            worst = (name, error, allowed)
    excluded = 100.0 * float((~kept).double().mean())
    return Outcome(str(case), *worst, excluded)


def _badness(error: float, allowed: float) -> float:
    return error / allowed if allowed > 0 else (float("inf") if error > 0 else 0.0)


def _error(reference: Tensor, given: Tensor) -> float:
    if reference.shape != given.shape or reference.dtype != given.dtype:
        return float("inf")
    a, b = reference.double(), given.double()
    if not a.numel():
        return 0.0
    error = float((a - b).abs().max() / a.abs().max().clamp(min=1.0))
    return error if error == error else float("inf")


class Distances(torch.overrides.TorchFunctionMode):
    """Notes how far every element is from firing, at every call of `spike`."""

    def __init__(self) -> None:
        super().__init__()
        self.nearest: Tensor | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is spike:
            distance = args[0].detach().abs()
            self.nearest = distance if self.nearest is None else self.nearest.minimum(distance)
        return func(*args, **(kwargs or {}))


class _Setting:
    """The tensors of one case, the same for every target."""

    def __init__(self, neuron: Neuron, case: Case, device: str, steps: int) -> None:
        self.neuron = neuron
        self.case = case
        self.dtype: torch.dtype = getattr(torch, case.dtype)
        self.held = self.dtype if case.dtype in ("float32", "float64") else torch.float32
        self.device = device
        self.generator = torch.Generator().manual_seed(0)
        choices = dict(_parse_choice(neuron.hyperparameters, case.choices))
        if case.surrogate != "none":
            choices["surrogate"] = case.surrogate
        self.hyperparameters = neuron.hyperparameters(**choices)
        steps = min(steps, _steps(neuron)) if neuron.max_timesteps else steps
        shape = (steps, *SHAPES[case.shape])
        self.x = (0.6 + self._normal(shape)).to(self.dtype)
        self.g = self._normal(shape).to(self.dtype)
        self.learnables = {
            learnable.name: (
                learnable.start(self.hyperparameters, channels=shape[2], timesteps=steps)
                .to(device)
                .double()
                + 0.3 * self._normal(learnable.size(channels=shape[2], timesteps=steps))
            ).to(self.held)
            for learnable in neuron.learnables
        }
        start = initial_state(self.x, self._parameters(self.learnables))
        self.state = [s + 0.3 * self._normal(s.shape).to(s.dtype) for s in start]
        self.g_state = [self._normal(s.shape).to(s.dtype) for s in start]

    def _normal(self, shape: Sequence[int]) -> Tensor:
        numbers = torch.randn(tuple(shape), generator=self.generator, dtype=torch.float64)
        return numbers.to(self.device)

    def _parameters(self, learnables: dict[str, Tensor]) -> Any:
        return self.neuron.parameters(learnables, **dict(self.hyperparameters))

    def near_threshold(self) -> Tensor:
        """Elements `[N, *features]` that come too near to the threshold to be compared."""
        recorder = Distances()
        state = tuple(self.state) if self.case.state == "given" else None
        with torch.no_grad(), recorder:
            scan(self.x, state, self._parameters(self.learnables), target="reference")
        if recorder.nearest is None or self.held == torch.float64:
            return torch.zeros(self.x.shape[1:], dtype=torch.bool, device=self.device)
        return recorder.nearest <= MARGIN

    def run(self, target: str, kept: Tensor) -> dict[str, Tensor]:
        """Outputs, final states and every gradient of one target, by name."""
        x = self.x.clone().requires_grad_()
        learnables = {name: t.clone().requires_grad_() for name, t in self.learnables.items()}
        state = None
        if self.case.state == "given":
            state = tuple(s.clone().requires_grad_() for s in self.state)
        mode, _, k = self.case.window.partition(":")
        output, final = scan(
            x,
            state,
            self._parameters(learnables),
            window=int(k) if k else None,
            window_mode=mode if k else "sliding",
            target=target,
        )
        loss = (output * self.g * kept).sum().to(self.held)
        for s, g in zip(final, self.g_state, strict=True):
            loss = loss + (s * g * kept).sum()
        if loss.requires_grad:  # else no gradient is what the step says
            loss.backward()
        results = {"output": output.detach() * kept}
        names = [declared.name for declared in self.neuron.states]
        results |= {f"state {n}": s.detach() * kept for n, s in zip(names, final, strict=True)}
        results["gradient of x"] = _gradient(x) * kept
        if state is not None:
            for name, s in zip(names, state, strict=True):
                results[f"gradient of initial {name}"] = _gradient(s) * kept
        for name, tensor in learnables.items():
            results[f"learnable {name}"] = _gradient(tensor)
        return results


def _gradient(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def _steps(neuron: Neuron) -> int:
    return min(STEPS, neuron.max_timesteps or STEPS)


def _choices(hyperparameters: type[Hyperparameters]) -> Iterable[dict[str, Any]]:
    """The defaults, each closed choice (true/false, a name of a few) turned to each value by
    itself, all switches turned at once, and another value of each time constant."""
    yield {}
    turned: dict[str, Any] = {}
    for name, info in hyperparameters.model_fields.items():
        kind: Any = info.annotation
        if kind is bool:
            turned[name] = not info.default
            yield {name: not info.default}
        elif get_origin(kind) is Literal:
            for value in get_args(kind):
                if value != info.default:
                    turned[name] = value
                    yield {name: value}
        elif name.startswith("tau"):
            yield {name: 1.3}
    if "v_reset" in hyperparameters.model_fields:
        yield {**turned, "v_reset": -0.06}
    elif len(turned) > 1:
        yield turned


def _choice_text(choice: dict[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in choice.items()) or "defaults"


def _parse_choice(hyperparameters: type[Hyperparameters], text: str) -> dict[str, Any]:
    return next(c for c in _choices(hyperparameters) if _choice_text(c) == text)
