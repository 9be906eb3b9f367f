"""`clifctl bench neurons|train|eval`."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from clifctl.cli import lists
from clifctl.cli.completion import complete_model, complete_neuron
from clifctl.cli.execution_options import BenchmarkExecution, KernelExecution
from clifctl.cli.flags import Group
from clifctl.cli.options import Output, Shared, command

if TYPE_CHECKING:
    from clifctl.experiments.bench.task import NetBenchOptions

Kind = TypeVar("Kind")

EXAMPLE = "clifctl bench neurons --neurons lif,clif --shape 6x16x64x32x32 -o bench.json"
TRAIN_EXAMPLE = "clifctl bench train --timesteps 1,2,4,6,8,16 -o train.json"
EVAL_EXAMPLE = "clifctl bench eval --rates paper --batch 8 -o eval.json"


def _of_a_net(
    *,
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Net: resnet18, vgg11, snn5 (that of the recipe digits_snn5), or FILE.py:NAME.",
            autocompletion=complete_model,
        ),
    ] = "resnet18",
    neuron: Annotated[str, typer.Option(help="Neuron of every layer.")] = "clif",
    timesteps: Annotated[
        str | None,
        typer.Option(
            metavar="T,T,...",
            help="Numbers of time steps (default: 6; 10 for event frames; snn5: its recipe's).",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(help="Samples in a batch.")] = 8,
    precision: Annotated[
        Literal["float32", "bfloat16"],
        typer.Option(help="Arithmetic: plain float32, or autocast to bfloat16."),
    ] = "float32",
    rates: Annotated[
        str,
        typer.Option(
            metavar="fresh|paper|FILE.json",
            help="Firing rates: those of fresh weights, the published ones of a trained net, or "
            "those in a file.",
        ),
    ] = "fresh",
    event_frames: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT",
            help="Take event frames as input, with this percentage of nonzero values (default: an "
            "image).",
        ),
    ] = None,
    repeats: Annotated[int, typer.Option(help="Rounds; medians are reported.")] = 7,
    execution: BenchmarkExecution,
) -> "NetBenchOptions":
    from clifctl.experiments.bench.task import NetBenchOptions

    return NetBenchOptions(
        model=model,
        neuron=neuron,
        timesteps=None if timesteps is None else lists.whole_numbers("--timesteps", timesteps),
        batch_size=batch,
        precision=precision,
        rates=rates,
        frames_percent=event_frames,
        repeats=repeats,
        execution=execution,
    )


NetBenchmark = Annotated["NetBenchOptions", Shared(_of_a_net)]

# What a result must have beside any values, for its report.
_VERSIONS = {"spikingjelly": "x"}


def _like(kind: type[Kind], net: "NetBenchOptions") -> Kind:
    """A result that has everything, at the numbers of time steps of this benchmark."""
    from clifctl.results.filled import filled

    steps = net.timesteps or (1,)
    return filled(kind, contestant="ours", versions=_VERSIONS, timesteps=steps)


app = typer.Typer(
    cls=Group,
    help="Measure speed and memory, after checking correctness.",
    no_args_is_help=True,
    epilog=f"Example: {EXAMPLE}",
)


@command(app, "neurons", example=EXAMPLE, tables=("result", "forward", "spread", "memory"))
def neurons(
    *,
    neurons: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Neurons to measure (default: all of them).",
            autocompletion=complete_neuron,
        ),
    ] = None,
    shape: Annotated[
        str, typer.Option(metavar="TxNxC[x...]", help="Input: time steps, samples, channels, ...")
    ] = "6x16x64x32x32",
    repeats: Annotated[int, typer.Option(help="Rounds; the median is reported.")] = 7,
    execution: KernelExecution,
    dtype: Annotated[Literal["float32", "float64"], typer.Option(help="Of the input.")] = "float32",
    output: Output,
) -> None:
    """Time the fused kernel of each neuron against the plain loop and SpikingJelly.

    Each kernel is first compared with the reference: if one differs, nothing is timed (exit code
    1). The contestants then take turns. Also reported: the bytes kept for backward, and the time of
    the memory traffic that no kernel can avoid.
    """
    from clifctl.experiments.bench_neurons import bench_neurons
    from clifctl.report.bench_neurons import neurons_bench_report
    from clifctl.results.bench_neurons import BenchResult
    from clifctl.results.filled import filled

    output.require_columns(lambda: neurons_bench_report(filled(BenchResult, versions=_VERSIONS)))
    result = bench_neurons(
        None if neurons is None else lists.names("--neurons", neurons),
        shape=lists.shape("--shape", shape),
        repeats=repeats,
        execution=execution,
        dtype=dtype,
        say=output.notice if output.verbose else lambda line: None,
    )
    output.emit(neurons_bench_report(result))


@command(
    app,
    "train",
    example=TRAIN_EXAMPLE,
    tables=("result", "memory", "firing-rates", "connections", "engine"),
)
def train(
    *,
    net: NetBenchmark,
    batch_norm: Annotated[
        Literal["per_step", "folded"],
        typer.Option(
            help="Batch norm of clifctl's net: over each time step, or over all together."
        ),
    ] = "per_step",
    peak: Annotated[
        bool, typer.Option("--peak/--no-peak", help="Measure peak memory, each net in a process.")
    ] = True,
    engine: Annotated[
        bool, typer.Option("--engine/--no-engine", help="Measure what a run adds to the bare step.")
    ] = True,
    output: Output,
) -> None:
    """Time a spiking net's training step against the same net with ReLU on T times the images.

    The net is first compared with its plain path: if it differs, nothing is timed (exit code 1).
    Also timed: the plain path, and SpikingJelly's nodes, multi-step and in a loop over time. Also
    reported: bytes held for backward, the process's peak memory, and what a whole run adds to the
    bare step (data, checks, logging, progress), with the images per second that are left.
    """
    from clifctl.experiments.bench_train import bench_train
    from clifctl.report.bench_train import train_bench_report
    from clifctl.report.progress import TrainProgress
    from clifctl.results.bench_train import TrainBenchResult

    output.require_columns(lambda: train_bench_report(_like(TrainBenchResult, net)))
    with TrainProgress(quiet=output.quiet, verbose=False) as progress:
        result = bench_train(
            replace(net, batch_norm=batch_norm),
            peak=peak,
            observe=progress if engine else None,
            say=output.notice if output.verbose else lambda line: None,
        )
    output.emit(train_bench_report(result))


@command(
    app,
    "eval",
    example=EVAL_EXAMPLE,
    tables=("result", "operations", "firing-rates", "connections"),
)
def evaluate(
    *,
    net: NetBenchmark,
    output: Output,
) -> None:
    """Time a spiking net's inference against the same net with ReLU, at T = 1 and on T times the
    images, and count the synaptic operations of both.

    One sample and a batch are timed. The net is first compared with its plain path: if it differs,
    nothing is timed (exit code 1). Also timed: the net with dense connections, and SpikingJelly's
    nodes. The last table says how much of the saving in operations the machine gives.
    """
    from clifctl.experiments.bench_eval import bench_eval
    from clifctl.report.bench_eval import eval_bench_report
    from clifctl.results.bench_eval import EvalBenchResult

    output.require_columns(lambda: eval_bench_report(_like(EvalBenchResult, net)))
    result = bench_eval(net, say=output.notice if output.verbose else lambda line: None)
    output.emit(eval_bench_report(result))
