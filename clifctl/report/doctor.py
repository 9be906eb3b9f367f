"""What `doctor` found -> one table of findings, which reads the same in every format."""

from collections.abc import Iterator
from typing import Any

from clifctl.amounts import counted, size_in_words
from clifctl.devices import CPU
from clifctl.report.render import Column, Report, Table, document_of
from clifctl.results.doctor import DoctorResult, SelfTestRow


def doctor_report(result: DoctorResult) -> Report:
    """The findings, a line each: what, which, its state, and the details."""
    columns = (
        Column("what", "what"),
        Column("which", "which"),
        Column("state", "state"),
        Column("detail", "detail"),
    )
    rows = tuple(
        dict(zip(("what", "which", "state", "detail"), row, strict=True)) for row in _rows(result)
    )
    verdict = "every self-test passed" if result.healthy else "A SELF-TEST FAILED"
    title = f"clifctl on this machine: {verdict}"
    notes = (f"{result.platform}; checked in {result.seconds:.1f} s",)
    return Report(document_of(result), (Table(title, columns, rows, notes=notes, keys=2),))


def _rows(result: DoctorResult) -> Iterator[tuple[Any, ...]]:
    for name, version in result.versions.items():
        yield "version", name, version or "none", None if version else "not installed"
    for device in result.devices:
        if device.problem:
            yield "device", device.device, "none", device.problem
            continue
        cores = f"{result.cpu_cores} cores, " if device.device == result.devices[0].device else ""
        yield (
            "device",
            device.device,
            "usable",
            f"{device.name}, {cores}{size_in_words(device.memory_bytes or 0)}",
        )
        yield "TF32", device.device, device.tf32, device.tf32_reason
    for target in result.targets:
        state = "chosen" if target.chosen else "usable" if target.usable else "no"
        yield "kernels", f"{target.target}/{target.device}", state, target.reason
    if result.connections is not None:
        lanes, reason = result.connections.lanes, result.connections.reason
        vectors = f"; vectors of {lanes} numbers" if lanes else ""
        state = "event-driven" if result.connections.available else "dense"
        yield "connections", CPU, state, f"{reason}{vectors}"
    cache = result.cache
    held = f"{cache.folder}: {counted(cache.files, 'file')}, {size_in_words(cache.size_bytes)}"
    yield "cache", "kernels", "writable" if cache.writable else "no", cache.problem or held
    for file in cache.damaged:
        yield "cache", "kernels", "damaged", f"{file}: will be rebuilt when it is needed"
    if result.locks is not None:
        yield "locks", "this folder", result.locks.kind, result.locks.reason
    for data in result.data:
        yield "data", data.data, data.state, data.problem
    for row in result.self_test:
        which = f"{row.target}/{row.device}"
        yield "test", which, "passed" if row.passed else "FAILED", _outcome(row)


def _outcome(row: SelfTestRow) -> str:
    if row.error is None or row.allowed is None:
        return f"{row.neuron}: {row.problem}"
    return (
        f"{row.neuron}, {row.quantity}: error {row.error:.1e}, allowed {row.allowed:.1e}; "
        f"{row.seconds:.1f} s"
    )
