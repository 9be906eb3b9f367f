"""`predict`: a checkpoint asked about files without labels, batch by batch."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from clifctl.data.folders import walked
from clifctl.data.given_files import GIVEN
from clifctl.data.unlabelled import Unlabelled
from clifctl.errors import ArgumentError, DataError, RunFailed
from clifctl.experiments.build import repeat_of, run_on, step_activations_bytes
from clifctl.experiments.checkpoints import CheckpointOptions, open_checkpoint
from clifctl.experiments.eval import require_fits
from clifctl.experiments.run.execution import Execution
from clifctl.models import SpikingNet
from clifctl.recipe.schema import Recipe
from clifctl.results.predict import ClassProbability, Prediction, PredictResult, RefusedFile
from clifctl.training.device import tf32
from clifctl.transfer import to_device

# Told of a file, or a folder, that cannot be used.
Refused = Callable[[Path, DataError], None]


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """What is asked for. `timesteps` and `batch_size` replace those of the recipe; `top` is how
    many classes of each sample are wanted beside the one that is decided."""

    timesteps: int | None = None
    batch_size: int | None = None
    top: int | None = None


@dataclass(frozen=True)
class _Sample:
    file: str
    index: int
    stored: Tensor  # [T, *] or [1, *]


@dataclass
class Predictor:
    """A net that is ready to be asked. `files` and `passed_over` count what has been named so far,
    and what in folders is none of the endings that are read."""

    path: Path
    name: str
    recipe: Recipe
    net: SpikingNet
    unlabelled: Unlabelled
    execution: Execution
    batch_size: int
    top: int | None
    files: int = 0
    passed_over: int = field(default=0)

    @classmethod
    def open(cls, path: Path, options: CheckpointOptions, request: PredictRequest) -> "Predictor":
        """The checkpoint `path`, opened and run as `options` say. Raises CheckpointError,
        RecipeError, UsageError where that cannot be done."""
        execution = options.execution.resolve()
        opened = open_checkpoint(path, options, timesteps=request.timesteps)
        recipe = run_on(options.placed(opened.recipe), execution.kernels)
        if request.top is not None and request.top > recipe.data.classes:
            classes = recipe.data.classes
            raise ArgumentError(
                "top", request.top, f"the net has {classes} classes", hint=f"--top {classes}"
            )
        batch_size = request.batch_size or recipe.eval.batch_size
        where = execution.device
        require_fits(recipe, where, samples=batch_size)
        torch.set_num_threads(
            execution.for_step(step_activations_bytes(recipe, None)).threads.count
        )
        unlabelled = recipe.data.dataset.unlabelled(recipe.data.options, recipe.timesteps)
        net = opened.net(recipe, where).eval()
        return cls(path, opened.name, recipe, net, unlabelled, execution, batch_size, request.top)

    def predictions(
        self, sources: Iterable[str], refused: Refused
    ) -> Generator[tuple[Prediction, ...], None, None]:
        """What the net says of the samples of `sources`, files and folders of such, in their order,
        a batch at a time: no more of them than that, and what is read ahead, is held. What cannot
        be used is `refused`, and the rest goes on. Raises RunFailed for a net whose logits are not
        finite."""
        batch: list[_Sample] = []
        for sample in self._samples(sources, refused):
            if batch and batch[0].stored.dtype != sample.stored.dtype:
                yield self._predicted(batch)
                batch = []
            batch.append(sample)
            if len(batch) == self.batch_size:
                yield self._predicted(batch)
                batch = []
        if batch:
            yield self._predicted(batch)

    def result(
        self, predictions: Iterable[Prediction], refused: Iterable[RefusedFile]
    ) -> PredictResult:
        """All of it as one document."""
        recipe = self.recipe
        return PredictResult(
            checkpoint=str(self.path),
            recipe=self.name,
            data=recipe.data.dataset.name,
            model=recipe.model.model.name,
            neuron=recipe.neuron.neuron.name,
            timesteps=recipe.timesteps,
            batch_size=self.batch_size,
            **self.execution.facts,
            predictions=tuple(predictions),
            refused=tuple(refused),
        )

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes, where each is known to have one."""
        names = self.unlabelled.class_names
        return names if names is not None and len(names) == self.recipe.data.classes else None

    def _samples(self, sources: Iterable[str], refused: Refused) -> Iterator[_Sample]:
        for path, parts in self._opened(sources, refused):
            index = 0
            try:
                for part in parts:
                    for stored in part.unbind(1):
                        yield _Sample(str(path), index, stored)
                        index += 1
            except DataError as bad:
                refused(path, bad)

    def _opened(
        self, sources: Iterable[str], refused: Refused
    ) -> Iterator[tuple[Path, Iterator[Tensor]]]:
        """Each file with its samples, the first of which are read ahead."""
        # A batch of one is an answer at once.
        workers = min(self.unlabelled.at_once, self.batch_size, os.cpu_count() or 1)
        ahead = 2 * workers if workers > 1 else 0
        waiting: deque[tuple[Path, Callable[[], Iterator[Tensor]]]] = deque()

        def first() -> Iterator[tuple[Path, Iterator[Tensor]]]:
            path, opened = waiting.popleft()
            try:
                yield path, opened()
            except DataError as bad:
                refused(path, bad)

        with ThreadPoolExecutor(workers) as pool:
            for path, problem in self._paths(sources):
                self.files += 1
                begun = pool.submit(self._begun, path, problem)
                waiting.append((path, begun.result))
                if len(waiting) > ahead:
                    yield from first()
            while waiting:
                yield from first()

    def _begun(self, path: Path, problem: DataError | None) -> Iterator[Tensor]:
        """The samples of a file in parts, of which the first is read. Raises DataError, `problem`
        where that is known already."""
        if problem is not None:
            raise problem
        reader = self.unlabelled.readers.get(path.suffix.lower())
        if reader is None:
            raise DataError(f"'{path}' is none of the files that are read", hint=self._known)
        parts = reader(path, self.batch_size)
        return chain([next(parts)], parts)

    def _paths(self, sources: Iterable[str]) -> Iterator[tuple[Path, DataError | None]]:
        """The files that `sources` name, and those below the folders among them; a folder that
        cannot be used with what is wrong."""
        for source in sources:
            path = Path(source)
            if not path.is_dir():
                yield path, None
                continue
            found = False
            try:
                for file in walked(path, GIVEN):
                    ending = file.suffix.lower()
                    if ending in self.unlabelled.readers or ending in self.unlabelled.unread:
                        found = True
                        yield file, None
                    else:
                        self.passed_over += 1
            except DataError as bad:
                yield path, bad
                continue
            if not found:
                yield path, DataError(f"'{path}' holds no file that is read", hint=self._known)

    @property
    def _known(self) -> str:
        name = self.recipe.data.dataset.name
        return f"a net of data set '{name}' reads {', '.join(sorted(self.unlabelled.readers))}"

    def _predicted(self, samples: list[_Sample]) -> tuple[Prediction, ...]:
        stored = torch.stack([sample.stored for sample in samples], 1)
        with torch.inference_mode(), tf32(self.recipe.train.tf32):
            (inputs,) = to_device([stored], self.execution.device)
            prepare = self.unlabelled.prepare
            seen = inputs if prepare is None else prepare(inputs)
            logits, _ = self.net(seen, repeat=repeat_of(self.recipe))
            summed = logits.cumsum(0)  # [T, N, classes]
            decided = summed.argmax(2)
            settled = (decided == decided[-1]).flip(0).cumprod(0).sum(0)
            probabilities = (summed[-1].double() / len(summed)).softmax(1)
            ranked = summed[-1].sort(dim=1, descending=True, stable=True).indices
            order = ranked[:, : self.top or 1]
        if not bool(probabilities.isfinite().all()):
            raise RunFailed(
                f"the logits of '{self.path}' are not finite", hint="its weights are not usable"
            )
        columns = (decided[-1].tolist(), settled.tolist(), probabilities.tolist(), order.tolist())
        return tuple(
            self._prediction(sample, *row) for sample, *row in zip(samples, *columns, strict=True)
        )

    def _prediction(
        self, sample: _Sample, label: int, settled: int, probabilities: list[float], top: list[int]
    ) -> Prediction:
        names = self.class_names
        return Prediction(
            file=sample.file,
            index=sample.index,
            label=label,
            class_name=None if names is None else names[label],
            probability=probabilities[label],
            decided_after_step=self.recipe.timesteps - settled + 1,
            top=None
            if self.top is None
            else tuple(
                ClassProbability(
                    label=one,
                    class_name=None if names is None else names[one],
                    probability=probabilities[one],
                )
                for one in top
            ),
        )
