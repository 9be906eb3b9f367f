"""The sections `train` and `eval` of a recipe."""

from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from clifctl.strict import Count, Seed, Strict
from clifctl.training.loss import CrossEntropyOf, TetTarget
from clifctl.training.optimizer import Decayed, OptimizerName, ScheduleName
from clifctl.training.precision import (
    TF32_DEFAULT,
    PrecisionName,
    Tf32Name,
    precision_name,
    tf32_name,
)
from clifctl.training.saving import checked_interval


class TrainSection(Strict):
    """How the net is trained (the authors' protocol where nothing else is said)."""

    epochs: Count = Field(description="passes over the training data")
    batch_size: Count = Field(128, ge=2, description="samples a step")
    drop_last: bool = Field(False, description="leave out a last batch that is smaller")
    seed: Seed = Field(2022, description="seed of weights, order and augmentation")
    optimizer: OptimizerName = Field("sgd", description="sgd, adamw or lamb")
    lr: float = Field(0.1, gt=0.0, description="learning rate at the start")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="momentum of SGD, beta1 of the others")
    weight_decay: float = Field(5e-4, ge=0.0, description="weight decay")
    decayed: Decayed = Field(
        "all", description="what decays: all, or weights (no norm, bias or neuron)"
    )
    schedule: ScheduleName = Field(
        "cosine", description="learning rate: cosine, step, constant, timm_cosine"
    )
    warmup_epochs: int = Field(0, ge=0, description="epochs of linear warm-up")
    warmup_lr: float | None = Field(
        None,
        gt=0.0,
        description="of timm_cosine: where its warm-up starts; null: lr / epochs of it",
    )
    min_lr: float = Field(0.0, ge=0.0, description="of timm_cosine: where it ends")
    cooldown_epochs: int = Field(
        0, ge=0, description="of timm_cosine: the last epochs, at train.min_lr"
    )
    step_epochs: Count = Field(100, description="epochs between the steps of schedule step")
    step_factor: float = Field(0.1, gt=0.0, le=1.0, description="factor of each such step")
    precision: Annotated[PrecisionName, BeforeValidator(precision_name)] = Field(
        "float32", description="arithmetic of training: float32, bfloat16, float16 or auto"
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
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0, description="of the cross entropy")
    tet_lambda: float = Field(0.05, ge=0.0, le=1.0, description="weight of the TET regulariser")
    tet_mean: float = Field(1.0, description="value that the TET regulariser pulls logits to")
    tet_target: TetTarget = Field("constant", description="tet_mean, or the one-hot label")
    cross_entropy_of: CrossEntropyOf = Field(
        "steps", description="logits that are judged: of all steps, or their mean"
    )

    @model_validator(mode="after")
    def _schedule_has_its_keys(self) -> "TrainSection":
        own = {"warmup_lr": None, "min_lr": 0.0, "cooldown_epochs": 0}
        if self.schedule != "timm_cosine":
            given = [name for name, unset in own.items() if getattr(self, name) != unset]
            if given:
                raise ValueError(
                    f"{given[0]} is of schedule = timm_cosine, the schedule is {self.schedule}"
                )
            return self
        phases = self.warmup_epochs + self.cooldown_epochs
        if phases >= self.epochs:
            raise ValueError(
                f"warmup_epochs + cooldown_epochs = {phases} must be less than epochs = "
                f"{self.epochs}, which they are part of"
            )
        if max(self.min_lr, self.warmup_lr or 0.0) > self.lr:
            raise ValueError(f"min_lr and warmup_lr must be at most lr = {self.lr}")
        return self


class EvalSection(Strict):
    """How the net is evaluated."""

    batch_size: Count = Field(500, description="samples a step")
