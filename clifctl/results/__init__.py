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
from clifctl.results.energy import (
    Cost,
    EnergyResult,
    EnergyRow,
    LayerCost,
    NeuronCostResult,
    OperationRow,
    PublishedCost,
    RateRow,
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
    EpochRecord,
    EvalResult,
    Evaluation,
    LayerRate,
    Published,
    PublishedNumber,
    TrainPlan,
    TrainResult,
)

__all__ = [
    "BenchResult",
    "BenchRow",
    "BenchRun",
    "CheckResult",
    "CheckRow",
    "Cost",
    "DataCheckResult",
    "DatasetList",
    "DatasetRow",
    "EnergyResult",
    "EnergyRow",
    "EpochRecord",
    "EvalResult",
    "Evaluation",
    "FileRow",
    "FrameRow",
    "HyperparameterRow",
    "LayerCost",
    "LayerRate",
    "NeuronCostResult",
    "NeuronList",
    "NeuronRow",
    "OperationRow",
    "Published",
    "PublishedCost",
    "PublishedNumber",
    "RateRow",
    "RecipeCheck",
    "RecipeChecks",
    "RecipeList",
    "RecipeRow",
    "RegisterResult",
    "RegisterRow",
    "SampleResult",
    "TrainPlan",
    "TrainResult",
]
