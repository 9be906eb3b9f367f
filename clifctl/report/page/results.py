"""What a page shows of each kind of result that a command writes."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from clifctl.report.bench_eval import eval_bench_report
from clifctl.report.bench_neurons import neurons_bench_report
from clifctl.report.bench_train import train_bench_report
from clifctl.report.data import data_check_report, datasets_report, sample_report
from clifctl.report.data_prepare import prepare_report
from clifctl.report.doctor import doctor_report
from clifctl.report.energy import neuron_cost_report
from clifctl.report.models import check_report as model_check_report
from clifctl.report.models import model_report, models_report
from clifctl.report.neurons import check_report, neuron_report, neurons_report, registers_report
from clifctl.report.page.costs import energy_section
from clifctl.report.page.deployment import deployment_section, nir_section
from clifctl.report.page.dynamics import dynamics_section
from clifctl.report.page.evaluation import evaluation_sections
from clifctl.report.page.figure import cards, named_values, pairs
from clifctl.report.page.gradients import gradients_section
from clifctl.report.page.grids import comparison_sections, sweep_sections, truncation_sections
from clifctl.report.page.run import (
    compared_sections,
    listed_sections,
    shown_sections,
    trained_sections,
)
from clifctl.report.page.section import Section, tables
from clifctl.report.paper import paper_report, shown_report
from clifctl.report.paper import plan_report as paper_plan_report
from clifctl.report.predict import predict_report
from clifctl.report.recipes import checks_report, keys_report, recipes_report
from clifctl.report.render import Report
from clifctl.report.runs_export import written_report
from clifctl.report.runs_watch import watch_report
from clifctl.report.train import plan_report
from clifctl.report.trial_plan import trial_plan_report
from clifctl.results.bench_eval import EvalBenchResult
from clifctl.results.bench_neurons import BenchResult
from clifctl.results.bench_train import TrainBenchResult
from clifctl.results.compare_neurons import NeuronComparison
from clifctl.results.convert import DeployResult, NirResult
from clifctl.results.data import DataCheckResult, DatasetList, SampleResult
from clifctl.results.data_prepare import PrepareResult
from clifctl.results.decoding import flat
from clifctl.results.doctor import DoctorResult
from clifctl.results.dynamics import DynamicsResult
from clifctl.results.energy import EnergyResult, NeuronCostResult
from clifctl.results.eval import EvalResult
from clifctl.results.gradients import GradientsResult
from clifctl.results.models import ModelCheck, ModelList, ModelShown
from clifctl.results.neurons import CheckResult, NeuronList, NeuronRow, RegisterResult
from clifctl.results.paper import PaperList, PaperPlan, PaperShown
from clifctl.results.predict import PredictResult
from clifctl.results.recipes import RecipeChecks, RecipeKeys, RecipeList
from clifctl.results.result import Result
from clifctl.results.runs import RunComparison, RunList, RunShown
from clifctl.results.runs_export import RunExport
from clifctl.results.runs_watch import RunWatch
from clifctl.results.sweep import SweepResult
from clifctl.results.train import TrainPlan, TrainResult
from clifctl.results.trials import TrialPlan
from clifctl.results.truncate_bptt import TruncationResult

Sections = Callable[[Any], list[Section]]
# What has pictures of its own.
DRAWN: Mapping[type, Sections] = MappingProxyType(
    {
        TrainResult: trained_sections,
        RunShown: shown_sections,
        RunComparison: compared_sections,
        RunList: listed_sections,
        EvalResult: evaluation_sections,
        EnergyResult: lambda result: [energy_section(result)],
        GradientsResult: lambda result: [gradients_section(result)],
        NeuronComparison: comparison_sections,
        TruncationResult: truncation_sections,
        SweepResult: sweep_sections,
        DeployResult: lambda result: [deployment_section(result)],
        NirResult: lambda result: [nir_section(result)],
        DynamicsResult: lambda result: [dynamics_section(result)],
    }
)
# What is shown as the tables that a terminal has.
TABLES: Mapping[type, Callable[[Any], Report]] = MappingProxyType(
    {
        BenchResult: neurons_bench_report,
        CheckResult: check_report,
        DataCheckResult: data_check_report,
        DatasetList: datasets_report,
        DoctorResult: doctor_report,
        EvalBenchResult: eval_bench_report,
        ModelCheck: model_check_report,
        ModelList: models_report,
        ModelShown: model_report,
        NeuronCostResult: neuron_cost_report,
        NeuronList: neurons_report,
        NeuronRow: neuron_report,
        PaperList: paper_report,
        PaperPlan: paper_plan_report,
        PaperShown: shown_report,
        PredictResult: predict_report,
        PrepareResult: prepare_report,
        RecipeChecks: checks_report,
        RecipeKeys: keys_report,
        RecipeList: recipes_report,
        RegisterResult: registers_report,
        RunExport: written_report,
        RunWatch: watch_report,
        SampleResult: sample_report,
        TrainBenchResult: train_bench_report,
        TrainPlan: lambda plan: plan_report(plan, ""),
        TrialPlan: trial_plan_report,
    }
)


def sections_of(result: Result) -> list[Section]:
    """What a page shows of a result."""
    drawn = DRAWN.get(type(result))
    if drawn is not None:
        return drawn(result)
    name = str(getattr(result, "schema", "result")).partition("/")[0]
    title = name.removeprefix("clifctl.").replace(".", " ").replace("-", " ")
    title = title[:1].upper() + title[1:]
    report = TABLES.get(type(result))
    if report is None:
        return [Section(title, (cards([pairs(title, named_values(flat(result.to_dict())))]),))]
    return [Section(title, tables(report(result).tables))]
