"""What was not measured would take so long: estimates, from measured times of an epoch.

The time of a run is taken to be in proportion to its epochs, its samples and its time steps, and
that of a test to be a third of training's.
"""

from collections.abc import Mapping

from quoted.formats import number

_SEEDS, _T, _RESETS = 4, 4, 7
_RUNS = 2 * _SEEDS  # CLIF and LIF
_IMAGE_EPOCHS, _ROW_EPOCHS = 5, 10
# The tests of an epoch of 60,000 images, as a share of it: 10,000, each a third of the work.
_TESTED = (10_000 / 3) / (60_000 + 10_000 / 3)


def night(figures: Mapping[str, str]) -> dict[str, str]:
    """Of group `fashion-night` on two cores `night.pair` and the other steps, and `night.all`, in
    hours. Nothing without the times."""
    if "fashion.images.epoch" not in figures:
        return {}
    epoch = float(figures["fashion.images.epoch"])  # on two cores
    rows_epoch = float(figures["fashion.rows.epoch"]) / 2  # on one, two at a time
    seconds = _steps(_RUNS * _IMAGE_EPOCHS * epoch, _RUNS * _ROW_EPOCHS * rows_epoch)
    seconds["deployment"] = _RUNS * (1 + _RESETS) * _TESTED * epoch
    seconds["all"] = sum(seconds.values())
    return {f"night.{name}": number(value / 3600, 1) for name, value in seconds.items()}


def _steps(pair: float, rows: float) -> dict[str, float]:
    """The steps that train, from the time of CLIF and LIF at T = 4, and on rows."""
    return {
        "pair": pair,
        "timesteps": pair * (1 + 2 + 8) / _T,
        "neurons": pair / 2 * (3 + 1 / _T),  # three more neurons, and ReLU with one step
        "exchange": pair / 2,
        "rows": rows,
        "windows": 4 * rows,  # LIF alone, four windows, two tau
    }
