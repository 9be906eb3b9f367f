"""Processes that run the command `clifctl`, forked from one that has imported torch already.

Importing takes seconds; what is tested is what comes after. Each line of stdin is a request in
JSON: `{"argv": [...], "cwd": ..., "streams": ...}` forks a process that runs the command line there
and writes to `<streams>.out` and `.err`, and is answered with its id; `{"wait": id}` is answered
with how it ended, as `subprocess` would say.
"""

import json
import os
import runpy
import sys

import clifctl.cli.app
import clifctl.experiments.evaluate
import clifctl.experiments.train
import clifctl.report.progress
import clifctl.report.runs  # noqa: F401


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
    code = 1
    try:
        runpy.run_module("clifctl", run_name="__main__")
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


main()
