"""The adding problem (Hochreiter and Schmidhuber, 1997): remember two numbers of a sequence, and
add them.

A time step shows a number, drawn from [0, 1), and a mark, which is 1 at two time steps, one in each
half, and 0 at all others. What is asked for is the sum of the two marked numbers. It was published
with the squared error of a prediction; here, where nets are classifiers, it is asked into which of
`classes` ranges the sum falls, which are equally likely: by chance 1 of `classes` is right.
"""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from clifctl.data.archives import Array, BadArchive, require_memory
from clifctl.data.contract import DataOptions, Dataset, DataShape, LoadedData, Split
from clifctl.data.given_files import arrays_as_seen
from clifctl.errors import DataError
from clifctl.strict import Count, Seed

NAME = "adding"
INPUTS = 2  # the number, and the mark
# While a number and its mark are made: three of 64 bits.
MAKING_BYTES = 24


class AddingOptions(DataOptions):
    """What is generated. The numbers of samples are those of Bai, Kolter and Koltun (2018)."""

    seed: Seed = Field(0, description="seed of the sequences")
    train_samples: Count = Field(50_000, le=10_000_000, description="number of training sequences")
    test_samples: Count = Field(1_000, le=10_000_000, description="number of test sequences")
    classes: Count = Field(
        10, ge=2, le=1000, description="number of equally likely ranges that a sum may fall into"
    )


def load(options: AddingOptions, timesteps: int) -> LoadedData:
    """Both splits as `[T, N, 2]`: number and mark. Raises DataError for a single time step, and
    where memory does not hold them."""
    if timesteps < 2:
        raise DataError(
            f"data set '{NAME}': two numbers are marked, and there is {timesteps} time step",
            hint="timesteps=2 or more",
        )
    try:
        require_memory(MAKING_BYTES * timesteps * (options.train_samples + options.test_samples))
    except BadArchive as large:
        raise DataError(
            f"data set '{NAME}': {large}", hint="fewer data.train_samples, or timesteps"
        ) from None
    # numpy promises that RandomState draws the same numbers for ever.
    random = np.random.RandomState(options.seed)
    return LoadedData(
        _split(options.train_samples, timesteps, options.classes, random),
        _split(options.test_samples, timesteps, options.classes, random),
        class_names=_ranges(options.classes),
    )


def _ranges(classes: int) -> tuple[str, ...]:
    """The ranges of sums, in words."""
    shown = [f"{edge(number / classes):.3f}" for number in range(classes + 1)]
    return tuple(map("{} to {}".format, shown, shown[1:]))


def _split(samples: int, timesteps: int, classes: int, random: np.random.RandomState) -> Split:
    numbers = random.random_sample((timesteps, samples)).astype(np.float32)
    half, every = timesteps // 2, np.arange(samples)
    marked = random.randint(0, half, samples), random.randint(half, timesteps, samples)
    inputs = np.zeros((timesteps, samples, INPUTS), dtype=np.float32)
    inputs[:, :, 0] = numbers
    sums = np.zeros(samples)
    for step in marked:
        inputs[step, every, 1] = 1
        sums += numbers[step, every]
    return Split(torch.from_numpy(inputs), labels_of(sums, classes))


def labels_of(sums: Array, classes: int) -> Tensor:
    """The range `[N]` that each sum of two numbers falls into."""
    share = np.where(sums < 1, sums**2 / 2, 1 - (2 - sums) ** 2 / 2)  # of sums that are less
    return torch.from_numpy(np.minimum(share * classes, classes - 1).astype(np.int64))


def edge(share: float) -> float:
    """The sum that so large a share of all sums is less than."""
    return float(np.sqrt(2 * share) if share < 0.5 else 2 - np.sqrt(2 - 2 * share))


DATASET = Dataset(
    name=NAME,
    title="the adding problem, generated: which range the sum of two marked numbers falls into",
    source="Hochreiter and Schmidhuber, Long Short-Term Memory, 1997; sums in ranges",
    classes=None,
    input_shape=(INPUTS,),
    static=False,
    timesteps=None,
    max_timesteps=None,
    options=AddingOptions,
    load=load,
    shape_of=lambda options: DataShape(options.classes, (INPUTS,)),
    unlabelled=lambda options, timesteps: arrays_as_seen(
        (timesteps, INPUTS), _ranges(options.classes)
    ),
)
