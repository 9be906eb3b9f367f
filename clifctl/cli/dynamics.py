"""`clifctl dynamics`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clifctl.cli import lists
from clifctl.cli.execution_options import TargetOption
from clifctl.cli.options import Output, command, name_after, picture_path

if TYPE_CHECKING:
    from clifctl.results.dynamics import DynamicsResult

OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[neuron.KEY=VALUE]...",
        help="Hyperparameters, for every neuron that has them: neuron.tau=3.",
    ),
]
NeuronsOption = Annotated[
    str, typer.Option(metavar="A,B,...", help="Neurons, including your own (FILE.py:NAME).")
]
InputOption = Annotated[
    str,
    typer.Option(
        "--input",
        metavar="poisson|constant|FILE.npy",
        help="The input current; a file holds [T] or [T, trials].",
    ),
]
RateOption = Annotated[
    float | None,
    typer.Option(help="Poisson: probability of an input spike at a time step (default: 0.5)."),
]
WeightOption = Annotated[
    float | None,
    typer.Option(help="Current of an input spike, or the constant current (default: 0.8)."),
]
TimestepsOption = Annotated[
    str | None,
    typer.Option(
        metavar="T,T,...", help="Numbers of time steps (default: 64,128,256,512; all of a file)."
    ),
]
LagsOption = Annotated[
    int | None,
    typer.Option(help="Largest lag of the autocorrelation (default: 32, or what T allows)."),
]
PlotOption = Annotated[
    str | None,
    typer.Option(
        metavar="[FILE]",
        help="Draw spikes, traces, autocorrelations and f-I curves to a .png, .svg or .pdf file "
        "(default: dynamics-NEURONS.png).",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    tables = ("rates", "autocorrelations", "currents", "traces")
    example = "clifctl dynamics --neurons lif,clif,alif,cuba --plot"

    @command(app, "dynamics", example=example, tables=tables)
    def dynamics(
        overrides: OverridesArgument = None,
        *,
        neurons: NeuronsOption = "lif,clif",
        input_: InputOption = "poisson",
        rate: RateOption = None,
        weight: WeightOption = None,
        timesteps: TimestepsOption = None,
        seeds: Annotated[
            int | None,
            typer.Option(help="Poisson: number of trials, each with its own seed (default: 20)."),
        ] = None,
        seed: Annotated[int, typer.Option(min=0, help="First seed.")] = 0,
        lags: LagsOption = None,
        plot: PlotOption = None,
        target: TargetOption = "auto",
        output: Output,
    ) -> None:
        """Run single neurons on the same input: the paper's Figures 7 and 8.

        Firing rates with 95 % intervals, the autocorrelation of every state (raw as in the paper,
        and with the mean removed), and the firing rate on constant inputs. --table traces shows
        every state at every time step. JSON holds everything.
        """
        from clifctl.experiments.dynamics import DynamicsOptions
        from clifctl.experiments.dynamics import dynamics as run
        from clifctl.report.dynamics import dynamics_report
        from clifctl.report.dynamics_picture import draw_dynamics

        read = Path(input_)
        compared = lists.names("--neurons", neurons)
        picture = picture_path(plot, f"dynamics-{name_after(*compared)}", output, read)
        output.keep_apart(read)
        output.require_columns(lambda: dynamics_report(_like(compared), traces=True))
        result = run(
            DynamicsOptions(
                neurons=compared,
                overrides=overrides or (),
                input=input_,
                rate=rate,
                weight=weight,
                timesteps=None
                if timesteps is None
                else lists.whole_numbers("--timesteps", timesteps),
                seeds=seeds,
                seed=seed,
                lags=lags,
                target=target,
            )
        )
        report = dynamics_report(result, traces=output.table == "traces")
        output.emit_and_draw(report, picture, draw_dynamics, result)


def _like(neurons: Sequence[str]) -> "DynamicsResult":
    """A result of these neurons that has everything, with every lag that a table may show."""
    from clifctl.experiments.neurons import describe, find
    from clifctl.report.dynamics import LAGS
    from clifctl.results.dynamics import DynamicsResult, NeuronDynamics
    from clifctl.results.filled import filled

    curve = (1.0,) * (LAGS[-1] + 1)
    curves = dict.fromkeys(("raw", "normalised", "mean_removed"), curve)
    every = []
    for name in neurons:
        states = dict.fromkeys(describe(find(name)).states, (1.0,))
        every.append(filled(NeuronDynamics, neuron=name, states=states, **curves))
    return filled(DynamicsResult, neurons=tuple(every))
