"""`data prepare` -> report."""

from clifctl.report.render import Report, document_of, list_table
from clifctl.results.data_prepare import PreparedSplit, PrepareResult


def prepare_report(result: PrepareResult) -> Report:
    """The splits of a cache, and what was left out of it."""
    missing = [
        f"{split.split}: {split.samples:,} of {split.samples_when_complete:,} samples, so results "
        "are not comparable with others"
        for split in result.splits
        if split.samples_when_complete not in (None, split.samples)
    ]
    if result.test_samples_in_train:
        missing.append(
            "test samples with the same frames as a training sample: "
            f"{result.test_samples_in_train:,}, so accuracies are too high"
        )
    if result.unsorted_samples:
        how = "they were sorted" if result.order == "time" else "frames are cut as in the file"
        missing.append(
            f"samples whose events are not in the order of time: {result.unsorted_samples:,}, {how}"
        )
    left_out = [f"left out: {one.file}: {one.problem}" for one in result.skipped]
    was = "already prepared" if result.already_prepared else "prepared"
    table = list_table(
        f"{result.data}, T = {result.timesteps}: {was}",
        PreparedSplit,
        result.splits,
        *("split", "samples", "classes", "events", "bytes", "sha256"),
        notes=(f"frames: {result.folder}", *missing, *left_out),
    )
    return Report(document_of(result), (table,))
