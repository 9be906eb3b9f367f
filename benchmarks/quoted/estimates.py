"""What was not measured would take so long: estimates, from measured times of an epoch or a step.

The time of a run is taken to be in proportion to its epochs, its samples and its time steps, and
that of a test to be a third of training's.
"""

from collections.abc import Mapping

from quoted.formats import number

_SEEDS, _EPOCHS, _ROWS_EPOCHS, _T = 4, 5, 10, 4
_PIXELS_BATCH = 128
_IMAGES, _TESTS, _TEST_COST, _RESETS = 60_000, 10_000, 1 / 3, 7


def pixels(figures: Mapping[str, str]) -> dict[str, str]:
    """`pixels.hours`: core-hours of 10 epochs of `fashion_mnist_pixels`, tests included, and
    `pixels.minutes`: core-minutes of one of 10,000 images. Nothing without the time of a step."""
    if "pixels.step" not in figures:
        return {}
    sample = float(figures["pixels.step"]) / _PIXELS_BATCH
    test = _TEST_COST * _TESTS * sample
    return {
        "pixels.hours": number(10 * (_IMAGES * sample + test) / 3600, 1),
        "pixels.minutes": number((10_000 * sample + test) / 60),
    }


def night(figures: Mapping[str, str]) -> dict[str, str]:
    """Of group `fashion-night` on two cores `night.pair` and the other steps, and `night.all`, in
    hours. Nothing without the times."""
    if "fashion.images.epoch" not in figures:
        return {}
    epoch = float(figures["fashion.images.epoch"]) / 3600  # on two cores
    run = _EPOCHS * epoch
    rows_run = _ROWS_EPOCHS * float(figures["fashion.rows.epoch"]) / 3600 / 2  # two at a time
    tested = _TEST_COST * (_IMAGES + _TESTS) / (_IMAGES + _TEST_COST * _TESTS) * epoch
    hours = {
        "pair": 2 * _SEEDS * run,
        "rows": 2 * _SEEDS * rows_run,
        "timesteps": 2 * _SEEDS * run * (1 + 2 + 8) / _T,
        "neurons": _SEEDS * run * (3 + 1 / _T),  # three more neurons, and ReLU with one step
        "exchange": _SEEDS * run,
        "windows": 4 * 2 * _SEEDS * rows_run,
        "deployment": 2 * _SEEDS * _RESETS * tested,
    }
    hours["all"] = sum(hours.values())
    return {f"night.{name}": number(value, 1) for name, value in hours.items()}
