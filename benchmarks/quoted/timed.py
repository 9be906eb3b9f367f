"""Figures of benchmarks: times, memory, ratios."""

import statistics
from typing import Any

from quoted.formats import number, span

MIB, MILLION = 2**20, 1e6


def neurons(document: dict[str, Any]) -> dict[str, str]:
    """`clif.ms` and `.eager`, `.peer`: forward and backward, and how many times as long the others
    take; `.eager_kept`, `.peer_kept`: what they keep for backward, in what the kernel keeps."""
    figures: dict[str, str] = {}
    for row in document["rows"]:
        ours, kept = row["ours"], row["ours"]["saved_bytes_ratio"]
        peer = row["peer"]
        figures |= {
            f"{row['neuron']}.ms": number(ours["forward_backward_ms"]),
            f"{row['neuron']}.eager": number(row["eager_forward_backward_ratio"], 1),
            f"{row['neuron']}.peer": number(row["peer_forward_backward_ratio"], 1),
            f"{row['neuron']}.eager_kept": number(row["eager"]["saved_bytes_ratio"] / kept),
            f"{row['neuron']}.peer_kept": number(peer and peer["saved_bytes_ratio"] / kept),
        }
    return figures


def training(document: dict[str, Any]) -> dict[str, str]:
    """`t6.ours.ms`, `.relu`, `.quartiles`, `.held`, `.held_mib`, and of other contestants `.ours`:
    clifctl's step over theirs; `t6.rate`: mean firing rate over layers; `open`: mean share [%] of
    open windows over connections; `ours.fixed_ms`, `.per_timestep_ms`; `engine.overhead` and so
    on."""
    figures = _rates(document)
    if windows := [path["open_percent"] for path in document["connection_paths"]]:
        figures["open"] = number(statistics.mean(w for w in windows if w is not None))
    for row in document["rows"]:
        if row["missing"]:
            continue
        low, high = row["relu_lower_quartile_ratio"], row["relu_upper_quartile_ratio"]
        at = f"t{row['timesteps']}.{row['contestant']}"
        figures |= {
            f"{at}.ms": number(row["step_ms"], 0 if row["step_ms"] > 100 else 1),
            f"{at}.relu": number(row["relu_ratio"], 2),
            f"{at}.quartiles": f"{low:.2f} to {high:.2f}",
            f"{at}.ours": number(1 / row["ours_ratio"], 2),
            f"{at}.held": number(row["held_relu_ratio"], 2),
            f"{at}.held_mib": number(row["held_bytes"] / MIB, 1),
        }
    for cost in document["costs"]:
        for key in ("fixed_ms", "per_timestep_ms"):
            figures[f"{cost['contestant']}.{key}"] = number(cost[key])
    if engine := document["engine"]:
        figures |= {
            "engine.bare_ms": number(1000 * engine["bare_step_seconds"], 1),
            "engine.overhead": number(engine["overhead_percent"], 1),
            "engine.save_ms": number(1000 * engine["save_seconds"]),
            "engine.save": number(engine["save_percent"], 3),
        }
    return figures


def inference(document: dict[str, Any]) -> dict[str, str]:
    """`t6.n8.ours.ms`, `.relu` (of T x N images), `.quartiles`, `.relu_one_step`; `t6.n8.theory`,
    `.theory_one_step`: these ratios in synaptic operations, `.saved`: how much of the saving [%] a
    machine gives, `.acs`, `.macs`, `.relu_macs`: millions of a sample; `t6.rate`."""
    figures = _rates(document)
    for row in document["rows"]:
        if row["missing"]:
            continue
        low, high = row["relu_lower_quartile_ratio"], row["relu_upper_quartile_ratio"]
        at = f"t{row['timesteps']}.n{row['batch_size']}.{row['contestant']}"
        figures |= {
            f"{at}.ms": number(row["inference_ms"], 0 if row["inference_ms"] > 100 else 1),
            f"{at}.relu": number(row["relu_ratio"], 2),
            f"{at}.quartiles": f"{low:.2f} to {high:.2f}",
            f"{at}.relu_one_step": number(row["relu_one_step_ratio"], 1),
        }
    for row in document["operations"]:
        at = f"t{row['timesteps']}.n{row['batch_size']}"
        figures |= {
            f"{at}.theory": number(row["theoretical_relu_ratio"], 2),
            f"{at}.theory_one_step": number(row["theoretical_relu_one_step_ratio"], 1),
            f"{at}.saved": number(row["saving_share_percent"]),
            f"{at}.acs": number(row["spiking_acs"] / MILLION, 2),
            f"{at}.macs": number(row["spiking_macs"] / MILLION, 2),
            f"{at}.relu_macs": number(row["relu_macs"] / MILLION, 2),
        }
    return figures


def crossovers(document: dict[str, Any]) -> dict[str, str]:
    """`forward.spatial` and so on: the densities [%] below which event-driven is faster, over the
    connections of the kind; `.fast`: how many times as fast as dense at 10 %."""
    figures: dict[str, str] = {}
    kinds = {(row["direction"], row["kind"]) for row in document["rows"]}
    for direction, kind in kinds:
        rows = [r for r in document["rows"] if (r["direction"], r["kind"]) == (direction, kind)]
        faster = [at["ratio"] for row in rows for at in row["rates"] if at["rate"] == 0.1]
        figures |= {
            f"{direction}.{kind}": span([100 * row["crossover"] for row in rows]),
            f"{direction}.{kind}.fast": span(faster, 1),
        }
    return figures


def twins(document: dict[str, Any]) -> dict[str, str]:
    """`forward`, `backward`, `forward_and_backward`: our time over the C++ kernel's, and
    `.quartiles`; `compiler`."""
    figures = {"compiler": document["compiler"]}
    for name, ratio in document["ratios"].items():
        figures[name] = number(ratio["median"], 2)
        figures[f"{name}.quartiles"] = f"{ratio['low']:.2f} to {ratio['high']:.2f}"
    return figures


def _rates(document: dict[str, Any]) -> dict[str, str]:
    figures: dict[str, str] = {}
    for count in document["timesteps"]:
        rates = [
            row["firing_rate"] for row in document["firing_rates"] if row["timesteps"] == count
        ]
        if rates:
            figures[f"t{count}.rate"] = number(statistics.mean(rates), 2)
    return figures


def inputs(document: dict[str, Any]) -> dict[str, str]:
    """Of each recipe: `.step_s`, `.share` of the step that waits for input, and where frames of
    events are read `.wait_ms`, `.memory_ms`, `.disk_ms`."""
    figures: dict[str, str] = {}
    for row in document["rows"]:
        share, recipe = row["input_share_percent"], row["recipe"]
        figures |= {
            f"{recipe}.share": number(share, 1 if share > 0.1 else 2),
            f"{recipe}.step_s": number(row["step_s"], 0 if row["step_s"] > 10 else 1),
        }
        for name, key in (
            ("wait_ms", "input_wait_s"),
            ("memory_ms", "read_from_memory_s"),
            ("disk_ms", "read_from_disk_s"),
        ):
            if key in row:
                milliseconds = 1000 * row[key]
                figures[f"{recipe}.{name}"] = number(milliseconds, 0 if milliseconds > 5 else 1)
    return figures
