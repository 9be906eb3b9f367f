"""What experiments return: frozen values, units in the names. `schema` names the JSON document."""

from clifctl.results.bench import (
    BenchResult,
    BenchRow,
    BenchRun,
)
from clifctl.results.data import (
    DataCheckResult,
    DatasetList,
    DatasetRow,
    FileRow,
    FrameRow,
    SampleResult,
)
from clifctl.results.doctor import (
    CacheState,
    DataState,
    DeviceRow,
    DoctorResult,
    KernelTargetRow,
    SelfTestRow,
)
from clifctl.results.neurons import (
    CheckResult,
    CheckRow,
    HyperparameterRow,
    NeuronList,
    NeuronRow,
    RegisterResult,
    RegisterRow,
)
from clifctl.results.recipes import (
    RecipeCheck,
    RecipeChecks,
    RecipeList,
    RecipeRow,
)
from clifctl.results.runs import (
    ClassCount,
    EpochRecord,
    EvalResult,
    Evaluation,
    LayerRate,
    Published,
    PublishedNumber,
    Running,
    TrainPlan,
    TrainResult,
)

__all__ = [
    "BenchResult",
    "BenchRow",
    "BenchRun",
    "CacheState",
    "CheckResult",
    "CheckRow",
    "ClassCount",
    "DataCheckResult",
    "DataState",
    "DatasetList",
    "DatasetRow",
    "DeviceRow",
    "DoctorResult",
    "EpochRecord",
    "EvalResult",
    "Evaluation",
    "FileRow",
    "FrameRow",
    "HyperparameterRow",
    "KernelTargetRow",
    "LayerRate",
    "NeuronList",
    "NeuronRow",
    "Published",
    "PublishedNumber",
    "RecipeCheck",
    "RecipeChecks",
    "RecipeList",
    "RecipeRow",
    "RegisterResult",
    "RegisterRow",
    "Running",
    "SampleResult",
    "SelfTestRow",
    "TrainPlan",
    "TrainResult",
]
