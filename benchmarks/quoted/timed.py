"""Figures of benchmarks: times, memory, ratios."""

from typing import Any

from quoted.formats import number

MIB = 2**20


def neurons(document: dict[str, Any]) -> dict[str, str]:
    """`clif.ms` and `.eager`, `.peer`: forward and backward, and how many times as long the others
    take; `.eager_kept`, `.peer_kept`: what they keep for backward, in what the kernel keeps."""
    figures = {}
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
    clifctl's step over theirs; `ours.fixed_ms`, `.per_timestep_ms`; `engine.overhead` and so on."""
    figures = {}
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


def inputs(document: dict[str, Any]) -> dict[str, str]:
    """Of each recipe: `.step_s`, `.share` of the step that waits for input, and where frames of
    events are read `.wait_ms`, `.memory_ms`, `.disk_ms`."""
    figures = {}
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
