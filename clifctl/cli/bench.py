"""`clifctl bench neurons`."""

from typing import Annotated, Literal

import typer

from clifctl.cli.options import DeviceOption, Output, command
from clifctl.devices import CPU

EXAMPLE = "clifctl bench neurons --neurons lif,clif --shape 6x16x64x32x32 -o bench.json"

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
    from clifctl.report.tables import bench_report

    result = bench_neurons(
        None if neurons is None else [name.strip() for name in neurons.split(",")],
        shape=shape,
        repeats=repeats,
        device=device,
        threads=threads,
        dtype=dtype,
        say=output.notice if output.verbose else lambda line: None,
    )
    output.emit(bench_report(result))
