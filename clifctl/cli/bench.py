"""`clifctl bench neurons`."""

from typing import Annotated, Literal

import typer

from clifctl.cli.options import ConnectionsOption, DeviceOption, Output, ThreadsOption, command
from clifctl.devices import CPU
from clifctl.errors import UsageError

EXAMPLE = "clifctl bench neurons --neurons lif,clif --shape 6x16x64x32x32 -o bench.json"
TRAIN_EXAMPLE = "clifctl bench train --timesteps 1,2,4,6,8,16 -o train.json"

app = typer.Typer(
    help="Measure speed and memory, after a check of correctness.",
    no_args_is_help=True,
    epilog=f"Example: {EXAMPLE}",
)


@command(app, "neurons", example=EXAMPLE)
def neurons(
    *,
    neurons: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Neurons to measure (default: all of them)."),
    ] = None,
    shape: Annotated[
        str, typer.Option(metavar="TxNxC[x...]", help="Input: time steps, samples, channels, ...")
    ] = "6x16x64x32x32",
    repeats: Annotated[int, typer.Option(help="Rounds; the median is reported.")] = 7,
    device: DeviceOption = CPU,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads (default: torch's own number).")
    ] = None,
    dtype: Annotated[Literal["float32", "float64"], typer.Option(help="Of the input.")] = "float32",
    output: Output,
) -> None:
    """Time the fused kernel of each neuron against the plain loop and SpikingJelly.

    Each kernel is first compared with the reference; one that differs fails, exit 1, untimed. The
    contestants then take turns. Also reported: the bytes kept for backward, and the time of the
    memory traffic that no kernel can do without.
    """
    from clifctl.experiments.bench import bench_neurons
    from clifctl.report.bench import neurons_bench_report

    result = bench_neurons(
        None if neurons is None else [name.strip() for name in neurons.split(",")],
        shape=shape,
        repeats=repeats,
        device=device,
        threads=threads,
        dtype=dtype,
        say=output.notice if output.verbose else lambda line: None,
    )
    output.emit(neurons_bench_report(result))


@command(app, "train", example=TRAIN_EXAMPLE)
def train(
    *,
    model: Annotated[
        Literal["resnet18", "vgg11", "snn5"],
        typer.Option(help="Net; snn5 is that of the recipe digits_snn5."),
    ] = "resnet18",
    neuron: Annotated[str, typer.Option(help="Neuron of every layer.")] = "clif",
    timesteps: Annotated[
        str | None,
        typer.Option(metavar="T,T,...", help="Time steps (default: 6; snn5: its recipe's)."),
    ] = None,
    batch: Annotated[int, typer.Option(help="Samples a step.")] = 8,
    precision: Annotated[
        Literal["float32", "bfloat16"], typer.Option(help="Arithmetic: plain, or autocast.")
    ] = "float32",
    batch_norm: Annotated[
        Literal["per_step", "folded"],
        typer.Option(help="Statistics of each time step, or of all together; of our net."),
    ] = "per_step",
    repeats: Annotated[int, typer.Option(help="Rounds; medians are reported.")] = 7,
    peak: Annotated[
        bool, typer.Option("--peak/--no-peak", help="Peak memory, each net in its own process.")
    ] = True,
    engine: Annotated[
        bool, typer.Option("--engine/--no-engine", help="What a run adds to the bare step.")
    ] = True,
    device: DeviceOption = CPU,
    connections: ConnectionsOption = "auto",
    threads: ThreadsOption = None,
    output: Output,
) -> None:
    """Time a spiking net's training step against the same net with ReLU on T times the images.

    The net is first compared with its plain path; one that differs fails, exit 1, untimed. Beside
    it: the plain path, and SpikingJelly's nodes, multi-step and in a loop over time. Also
    reported: bytes held for backward, the process's peak memory, and what a whole run adds to the
    bare step (data, checks, logging, progress), with the images per second that are left.
    """
    from clifctl.experiments.bench_train import bench_train
    from clifctl.report.bench import train_bench_report
    from clifctl.report.progress import TrainProgress

    with TrainProgress(quiet=output.quiet, verbose=False) as progress:
        result = bench_train(
            model,
            neuron,
            timesteps=None if timesteps is None else _numbers(timesteps),
            batch_size=batch,
            precision=precision,
            batch_norm=batch_norm,
            repeats=repeats,
            device=device,
            connections=connections,
            threads=threads,
            peak=peak,
            observer=progress if engine else None,
            say=output.notice if output.verbose else lambda line: None,
        )
    output.emit(train_bench_report(result))


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise UsageError(
            f"--timesteps '{text}': not whole numbers", hint="several with commas: 1,2,4,6,8,16"
        )
    return [int(part) for part in parts]
