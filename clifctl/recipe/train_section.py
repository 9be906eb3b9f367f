"""The sections `train` and `eval` of a recipe."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from clifctl.strict import Count, Seed, Strict
from clifctl.training.loss import CrossEntropyOf, TetTarget
from clifctl.training.optimizer import OptimizerSection
from clifctl.training.precision import (
    TF32_DEFAULT,
    PrecisionName,
    Tf32Name,
    precision_name,
    tf32_name,
)
from clifctl.training.saving import checked_interval


class TrainSection(OptimizerSection):
    """How the net is trained (the authors' protocol where nothing else is said)."""

    batch_size: Count = Field(128, ge=2, description="samples a step")
    drop_last: bool = Field(False, description="leave out a last batch that is smaller")
    seed: Seed = Field(2022, description="seed of weights, order and augmentation")
    precision: Annotated[PrecisionName, BeforeValidator(precision_name)] = Field(
        "float32",
        description="arithmetic of training; auto: bfloat16 where the device is fast in it",
    )
    tf32: Annotated[Tf32Name, BeforeValidator(tf32_name)] = Field(
        TF32_DEFAULT,
        description="float32 that a GPU may round to TF32: convolutions, all or none",
    )
    accumulate: Count = Field(1, description="parts that a batch is computed in, to save memory")
    clip_norm: float | None = Field(None, gt=0.0, description="largest 2-norm of the gradients")
    deterministic: bool = Field(True, description="the same bits every time, at some cost on a GPU")
    compile: bool = Field(
        False, description="torch.compile of the training step; the first step takes minutes"
    )
    save_every: Annotated[str | None, BeforeValidator(checked_interval)] = Field(
        "60s", description="how often last.pt is saved within an epoch: 60s, 200steps or null"
    )
    log_every: Count = Field(50, description="steps between two lines of metrics.jsonl")
    sync_batch_norm: bool = Field(
        True, description="with several processes: batch norm over the batches of all of them"
    )
    label_smoothing: float = Field(
        0.0, ge=0.0, lt=1.0, description="label smoothing of the cross entropy"
    )
    tet_lambda: float = Field(0.05, ge=0.0, le=1.0, description="weight of the TET regulariser")
    tet_mean: float = Field(1.0, description="value that the TET regulariser pulls logits to")
    tet_target: TetTarget = Field("constant", description="tet_mean, or the one-hot label")
    cross_entropy_of: CrossEntropyOf = Field(
        "steps", description="logits that are judged: of all steps, or their mean"
    )


class EvalSection(Strict):
    """How the net is evaluated."""

    batch_size: Count = Field(500, description="samples a step")
