"""Processes that run the command `clifctl`, forked from one that has imported torch already.

Importing takes seconds; what is tested is what comes after. Each line of stdin is a request in
JSON: `{"argv": [...], "cwd": ..., "streams": ...}` forks a process that runs the command line there
and writes to `<streams>.out` and `.err`, and is answered with its id; `{"wait": id}` is answered
with how it ended, as `subprocess` would say. With `"kill_at": n` it kills itself in its n-th
operation on a file, in the middle of what it writes if that is a write; with 0 it writes to
`<streams>.count` how many there were.
"""

import json
import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clifctl.cli.app
import clifctl.experiments.eval
import clifctl.experiments.train
import clifctl.report.progress
import clifctl.report.train  # noqa: F401


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                become(request)
        print(answer, flush=True)  # noqa: T201


def become(request: dict[str, object]) -> None:
    """The command, with its own streams, arguments and folder."""
    os.chdir(str(request["cwd"]))
    sys.stdin.close()
    for number, ending in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{request['streams']}.{ending}", os.O_WRONLY | os.O_CREAT), number)
    sys.argv = ["clifctl", *request["argv"]]  # type: ignore[misc]
    sys.stdin = open(os.devnull)  # noqa: SIM115
    operations = Operations(request["kill_at"]) if "kill_at" in request else None
    code = 1
    try:
        runpy.run_module("clifctl", run_name="__main__")
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if operations is not None:
            operations.kill_at = -1
            Path(f"{request['streams']}.count").write_text(str(operations.count))
        os._exit(code)


class Operations:
    """Counts this process's operations on files, and dies in one of them."""

    def __init__(self, kill_at: Any) -> None:
        self.kill_at, self.count = kill_at, 0
        for name in ("open", "mkdir", "replace", "unlink", "chmod", "fsync"):
            setattr(os, name, self._counted(getattr(os, name)))
        fdopen = os.fdopen
        os.fdopen = lambda *a, **k: Torn(fdopen(*a, **k), self)  # type: ignore[assignment]

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.one(lambda: None)
            return function(*arguments, **options)

        return counted

    def one(self, half: Callable[[], object]) -> None:
        self.count += 1
        if self.count == self.kill_at:
            half()
            os.kill(os.getpid(), signal.SIGKILL)


class Torn:
    """A file of which a part is written when its process dies."""

    def __init__(self, file: Any, operations: Operations) -> None:
        self.file, self.operations = file, operations

    def __enter__(self) -> "Torn":
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def write(self, content: Any) -> Any:
        def half() -> None:
            self.file.write(content[: len(content) * (self.operations.count % 5) // 5])
            self.file.flush()

        self.operations.one(half)
        return self.file.write(content)

    def writelines(self, parts: Any) -> None:
        for part in parts:
            self.write(part)


main()
