"""Figures of grids of many trials, and of many processes of a run."""

from typing import Any

from quoted.formats import number, table

Document = dict[str, Any]


def large_grid(document: Document) -> dict[str, str]:
    """Seconds of the CPU that each command takes over the trials of a grid."""
    found = {"trials": number(document["trials"]), "plan": number(document["plan_cpu_seconds"], 1)}
    for name in ("sweep", "sweep_dry_run", "runs_ls", "runs_watch"):
        found[name] = number(document[name]["cpu_seconds"], 1)
        found[f"{name}.wall"] = number(document[name]["seconds"], 1)
    return found


def processes(document: Document) -> dict[str, str]:
    """What was measured of a step, and the efficiencies that follow by the model."""
    measured = document["measured"]
    found = {
        "batch_size": number(document["batch_size"]),
        "sample_ms": number(1000 * measured["cpu_seconds_a_sample"]),
        "fixed_ms": number(1000 * measured["fixed_cpu_seconds"]),
        "transfers": number(measured["transfers_a_step"]),
        "bytes_mib": number(measured["bytes_a_step"] / 2**20, 1),
    }
    for one in document["model"]:
        place = f"{one['times_as_fast_as_the_core']}.{one['link']}"
        for row in one["processes"]:
            at = f"{place}.{row['processes']}"
            found[f"{at}.speed_up"] = number(row["speed_up"], 1)
            found[f"{at}.efficiency"] = number(row["efficiency_percent"])
            growing = row["efficiency_percent_of_a_growing_batch"]
            found[f"{at}.growing"] = number(growing)
    return found


def tables() -> dict[str, str]:
    """The tables of docs/cluster.md."""
    commands = [
        ("`sweep`, all trials finished: plan, start and summary", "sweep"),
        ("`sweep --dry-run`", "sweep_dry_run"),
        ("`runs ls`", "runs_ls"),
        ("`runs watch --once`", "runs_watch"),
    ]
    devices = [(1, "the core that was measured"), (100, "100 times it"), (1000, "1,000 times it")]
    links = [("ethernet", "10 Gbit/s, 50 us"), ("infiniband", "100 Gbit/s, 5 us")]
    counts = (2, 8, 64)
    return {
        "large-grid": table(
            "command | CPU [s]",
            [[text, f"{{large-grid.bench.{name}}}"] for text, name in commands],
        ),
        "processes": table(
            "a process computes as fast as | link | "
            + " | ".join(f"{count} processes: efficiency [%]" for count in counts),
            [
                [
                    device,
                    link,
                    *(
                        f"{{{at}.{count}.efficiency}} ({{{at}.{count}.growing}})"
                        for at in [f"processes-model.bench.{factor}.{name}"]
                        for count in counts
                    ),
                ]
                for factor, device in devices
                for name, link in links
            ],
        ),
    }
