"""What was not measured would take so long: estimates, from measured times of an epoch or a step.

The time of a run is taken to be in proportion to its epochs, its samples and its time steps, and
that of a test to be a third of training's.
"""

from collections.abc import Mapping

from quoted.formats import number

_SEEDS, _T, _RESETS = 4, 4, 7
_RUNS = 2 * _SEEDS  # CLIF and LIF
_IMAGES, _FEWER, _TEST_COST, _TESTS = 60_000, 10_000, 1 / 3, 10_000
# Epochs of images and of rows.
_NIGHT, _HOUR = (5, 10), (3, 4)
_PIXELS_BATCH = 128


def _epoch(images: int) -> float:
    """An epoch with its test, in training samples."""
    return images + _TEST_COST * _TESTS


def pixels(figures: Mapping[str, str]) -> dict[str, str]:
    """`pixels.hours`: core-hours of 10 epochs of `fashion_mnist_pixels`, tests included, and
    `pixels.minutes`: core-minutes of one of 10,000 images. Nothing without the time of a step."""
    if "pixels.step" not in figures:
        return {}
    sample = float(figures["pixels.step"]) / _PIXELS_BATCH
    return {
        "pixels.hours": number(10 * _epoch(_IMAGES) * sample / 3600, 1),
        "pixels.minutes": number(_epoch(_FEWER) * sample / 60),
    }


def night(figures: Mapping[str, str]) -> dict[str, str]:
    """Of group `fashion-night` on two cores `night.pair` and the other steps, and `night.all`, in
    hours. Nothing without the times."""
    if "fashion.images.epoch" not in figures:
        return {}
    epoch = float(figures["fashion.images.epoch"])  # on two cores
    rows_epoch = float(figures["fashion.rows.epoch"]) / 2  # on one, two at a time
    seconds = _steps(_RUNS * _NIGHT[0] * epoch, _RUNS * _NIGHT[1] * rows_epoch)
    tested = _TEST_COST * _TESTS / _epoch(_IMAGES) * epoch
    seconds["deployment"] = _RUNS * (1 + _RESETS) * tested
    seconds["all"] = sum(seconds.values())
    return {f"night.{name}": number(value / 3600, 1) for name, value in seconds.items()}


def hour(figures: Mapping[str, str]) -> dict[str, str]:
    """Of group `fashion-hour` the steps after `pair`, and `hour.all`, in core-minutes. Nothing
    without the time of that one."""
    if "fashion-hour.pair.core_minutes" not in figures:
        return {}
    pair = float(figures["fashion-hour.pair.core_minutes"])
    rows_epoch = float(figures["fashion.rows.epoch"]) / 60 * _epoch(_FEWER) / _epoch(_IMAGES)
    minutes = _steps(pair, _RUNS * _HOUR[1] * rows_epoch)
    tested = _TEST_COST * _TESTS / _epoch(_FEWER) / _HOUR[0]
    minutes["deployment"] = (1 + _RESETS) * tested * pair
    minutes["all"] = sum(minutes.values())
    return {f"hour.{name}": number(value) for name, value in minutes.items()}


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
