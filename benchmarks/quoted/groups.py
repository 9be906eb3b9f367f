"""What is measured together and stored in one file: the commands of each group.

A step with a label prints a result, which is stored under the label; one without makes what a later
step reads. A command that starts with `clifctl` is the checkout's own, one that starts with
`python` a script of benchmarks/. Every command runs in an empty folder that is thrown away.
"""

import shlex
from dataclasses import dataclass

_SEEDS = range(5)
_RESETS = "0,-0.02,-0.04,-0.06,-0.08,-0.1,-0.15,-0.2,-0.3"
# The tables are those of the longest time.
_DYNAMICS = "clifctl dynamics --neurons lif,clif,alif,cuba --timesteps 512"


@dataclass(frozen=True)
class Step:
    """One command line. `label` is None for one that prints nothing that is quoted."""

    label: str | None
    command: str

    @property
    def arguments(self) -> list[str]:
        """The command line, split as a shell would."""
        return shlex.split(self.command)


def _digits() -> list[Step]:
    recipes = {"images": "digits_snn5", "events": "digits_events_snn5", "rows": "digits_rows_mlp"}
    return [
        Step(
            label,
            f"clifctl compare-neurons {recipe} --neurons lif,clif --seeds {len(_SEEDS)} "
            f"--gradients --workers 1 --out {label}",
        )
        for label, recipe in recipes.items()
    ]


def _experiments() -> list[Step]:
    compare = "clifctl compare-neurons --workers 1 --out images"
    windows = "clifctl truncate-bptt digits_events_snn5 --k 1,2,3,8 --tau 1.5,2.0 --seeds 4"
    return [
        Step("neurons", f"{compare} --neurons lif,plif,glif,clif --seeds 8"),
        Step("six", f"{compare} --neurons lif,plif,klif,glif,clif,relu --seeds 4"),
        Step("timesteps", f"{compare} --neurons lif,clif --timesteps 1,2,4,8 --seeds 4"),
        Step("eight", f"{compare} --neurons lif,clif --timesteps 2,4 --seeds 8"),
        Step("norms", f"{compare} --neurons lif,clif --batch-norm per_step,folded --seeds 8"),
        Step("plain", f"{compare} --neurons lif,clif --seeds 4"),
        Step(
            "exchange",
            f"{compare} --neurons lif 'neuron.exchange={{epoch: 20, to: clif}}' --seeds 4",
        ),
        Step("windows_lif", f"{windows} neuron.name=lif --workers 1 --out windows"),
        Step("windows_clif", f"{windows} --workers 1 --out windows"),
    ]


def _convert() -> list[Step]:
    steps = []
    for neuron in ("clif", "lif"):
        for seed in _SEEDS:
            run = f"{neuron}{seed}"
            steps += [
                Step(
                    None,
                    f"clifctl train digits_snn5 neuron.name={neuron} timesteps=6 train.epochs=30 "
                    f"--seed {seed} --out {run}",
                ),
                Step(
                    run,
                    f"clifctl convert {run}/last.pt --recalibrate 40 --reset-values {_RESETS} "
                    f"-o {run}.pt",
                ),
            ]
    return steps


def _gradients() -> list[Step]:
    steps = [
        Step(f"fresh_{neuron}", f"clifctl gradients digits_snn5 timesteps=8 neuron.name={neuron}")
        for neuron in ("lif", "clif")
    ]
    for neuron in ("lif", "clif"):
        steps += [
            Step(None, f"clifctl train digits_snn5 neuron.name={neuron} --seed 0 --out {neuron}"),
            Step(neuron, f"clifctl gradients {neuron}/last.pt"),
        ]
    for formula in ("exact", "exact-xi", "paper"):
        label = formula.replace("-", "_")
        split = f"--float64 --formula {formula} --no-windows"
        steps += [
            Step(f"split_fresh_{label}", f"clifctl gradients digits_snn5 {split}"),
            Step(f"split_trained_{label}", f"clifctl gradients clif/last.pt {split}"),
        ]
    return steps


def _connections_train() -> list[Step]:
    train = "clifctl bench train --no-peak --no-engine --threads 1"
    return [
        Step("fresh_1", f"{train} --repeats 3"),
        Step("trained_1", f"{train} --rates paper --repeats 3"),
        Step("frames_5", f"{train} --model vgg11 --rates paper --event-frames 5 --repeats 2"),
        Step("digits", f"{train} --model snn5 --batch 32 --repeats 51"),
    ]


def _connections_eval() -> list[Step]:
    return [Step("trained_1", "clifctl bench eval --rates paper --threads 1 --repeats 5")]


# Of 60,000 images 10,000, fewer epochs, and half the channels.
_HOUR_IMAGES = "data.limit=10000 train.epochs=3 model.channels=[8,16,32,32,32]"
_HOUR_ROWS = "data.limit=10000 train.epochs=4"


def _fashion(images: str, rows: str) -> list[Step]:
    """The paper's claims on Fashion-MNIST, with these overrides for its images and its rows."""
    images, rows = f"fashion_mnist_snn5 {images}".strip(), f"fashion_mnist_rows_mlp {rows}".strip()
    compare = f"clifctl compare-neurons {images} --workers 1 --threads 1 --out images --seeds 4"
    steps = [
        Step("pair", f"{compare} --neurons lif,clif"),
        Step(
            "rows",
            f"clifctl compare-neurons {rows} --neurons lif,clif --seeds 4 --workers 1 --threads 1 "
            "--out rows",
        ),
        Step("ann", f"{compare} --neurons lif,clif,relu"),
        Step("reached", f"{compare} --neurons relu,clif --baseline relu"),
        Step("timesteps", f"{compare} --neurons lif,clif --timesteps 1,2,4,8"),
        Step(
            "windows_lif",
            f"clifctl truncate-bptt {rows} neuron.name=lif --k 1,2,4,28 --tau 1.5,2.0 --seeds 4 "
            "--workers 1 --threads 1 --out windows",
        ),
    ]
    for neuron in ("clif", "lif"):
        steps += [
            Step(
                f"{neuron}{seed}",
                f"clifctl convert images/{neuron}-T4-seed{seed}-*/last.pt --choose-on test "
                f"-o {neuron}{seed}.pt",
            )
            for seed in range(4)
        ]
    return [
        *steps,
        Step(
            "energy", "clifctl energy images/lif-T4-seed0-*/last.pt images/clif-T4-seed0-*/last.pt"
        ),
        Step("exchange", f"{compare} --neurons lif 'neuron.exchange={{epoch: 2, to: clif}}'"),
        Step("neurons", f"{compare} --neurons lif,plif,klif,glif,clif,relu"),
    ]


def _connections() -> list[Step]:
    """An epoch of 10,000 images: what spikes save."""
    train = "clifctl train fashion_mnist_snn5 data.limit=10000 train.epochs=1 --threads 1"
    return [
        Step("events", f"{train} --out events"),
        Step("dense", f"{train} --connections dense --out dense"),
    ]


def _one(label: str, command: str) -> list[Step]:
    return [Step(label, command)]


def _sequences() -> list[Step]:
    """Tasks of memory in the recurrent net of `mnist1d_mlp`, and the longest sequence once."""
    tasks = {
        "adding": "data.name=adding timesteps=50 data.train_samples=10000 train.epochs=10",
        "permuted": "data.name=digits data.view=pixels data.permutation_seed=0 timesteps=64",
    }
    steps = [
        Step(
            label,
            f"clifctl compare-neurons mnist1d_mlp {task} --neurons lif,clif --seeds 4 "
            f"--workers 1 --threads 1 --out {label}",
        )
        for label, task in tasks.items()
    ]
    pixels = "clifctl train fashion_mnist_pixels data.limit=10000 train.epochs=5"
    return [*steps, Step("pixels", f"{pixels} --threads 1 --out pixels")]


GROUPS: dict[str, list[Step]] = {
    "digits": _digits(),
    "experiments": _experiments(),
    "mnist1d": _one(
        "recurrent",
        "clifctl compare-neurons mnist1d_mlp --neurons lif,clif --seeds 8 --workers 1 --threads 1 "
        "--out recurrent",
    ),
    "sequences": _sequences(),
    "linear": [
        Step("mnist1d", "python baselines.py mnist1d_mlp"),
        Step("hour", "python baselines.py fashion_mnist_snn5 timesteps=1 data.limit=10000"),
        Step("images", "python baselines.py fashion_mnist_snn5 timesteps=1"),
    ],
    "fashion-connections": _connections(),
    "fashion-hour": _fashion(_HOUR_IMAGES, _HOUR_ROWS),
    "fashion-night": _fashion("", ""),
    "convert": _convert(),
    "gradients": _gradients(),
    "dynamics": [
        Step("half", _DYNAMICS),
        Step("whole", f"{_DYNAMICS} --rate 0.3 --weight 1"),
    ],
    "energy": [
        Step("resnet18", "clifctl energy cifar10_resnet18 --rates paper"),
        Step("vgg13", "clifctl energy tiny_imagenet_vgg13 --rates paper"),
    ],
    "neurons": _one("bench", "clifctl bench neurons"),
    "train-resnet18": _one("bench", "clifctl bench train --timesteps 6"),
    "train-resnet18-bfloat16": _one("bench", "clifctl bench train --precision bfloat16"),
    "train-resnet18-timesteps": _one(
        "bench", "clifctl bench train --timesteps 1,2,4,6,8,16 --no-peak"
    ),
    "train-digits": _one("bench", "clifctl bench train --model snn5 --batch 32 --repeats 51"),
    "connections-train": _connections_train(),
    "connections-eval": _connections_eval(),
    "crossovers": _one("bench", "python connections.py --json"),
    "cpp-twin": _one("bench", "python cpp_twin.py"),
    "input": _one("bench", "python input_pipeline.py"),
    "event-input": _one("bench", "python event_input.py"),
    "large-grid": _one("bench", "python large_grid.py"),
    "processes-model": _one("bench", "python processes_model.py"),
    "set-input": _one("bench", "python set_input.py"),
}
