"""A real Slurm of one node in a folder of its own: munged, slurmctld and slurmd of the person who
starts it, on ports that are free. Its two partitions are `low`, the default, and `high`, whose jobs
preempt and requeue those of `low` after a grace time of some seconds.

Debian has the daemons: apt-get install --no-install-recommends slurm-wlm munge

By hand, until Ctrl-C:

    python tests/slurm/cluster.py FOLDER
    export SLURM_CONF=FOLDER/slurm.conf     in another terminal; then sinfo, sbatch, ...
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
# As many tasks at once, whatever the machine has.
CPUS = 4
GRACE_SECONDS = 5
# How long a requeued job waits for its next start, five at least; two minutes by default.
REQUEUE_SECONDS = 5
START_SECONDS, STOP_SECONDS = 60.0, 30.0

CONF = """\
ClusterName=clifctl
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire={requeue}
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
SlurmctldPort={slurmctld_port}
SlurmdPort={slurmd_port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
KillWait=5
MaxArraySize=6
JobRequeue=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=2000 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES MaxTime=60 State=UP PriorityTier=1 GraceTime={grace}
PartitionName=high Nodes={host} MaxTime=60 State=UP PriorityTier=10
"""


def missing() -> str | None:
    """Why no cluster can be started here, None where one can."""
    lacking = [name for name in DAEMONS if _program(name) is None]
    if not lacking:
        return None
    return f"{', '.join(lacking)} not installed (Debian: slurm-wlm, munge)"


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


@contextmanager
def started(folder: Path) -> Iterator[Path]:
    """A cluster in `folder`, which exists; yields the file for SLURM_CONF. At the end all jobs are
    cancelled and the daemons are stopped."""
    conf = _write(folder)
    try:
        _start(folder, conf)
        yield conf
    finally:
        _stop(folder, conf)


def ask(conf: Path, *command: str) -> str:
    """What a program of Slurm's prints."""
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _write(folder: Path) -> Path:
    for name in ("state", "spool", "log", "munge"):
        (folder / name).mkdir(exist_ok=True)
    folder.chmod(0o755)  # munged asks for that
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    with socket.socket() as one, socket.socket() as other:
        ports = []
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    conf = folder / "slurm.conf"
    conf.write_text(
        CONF.format(
            folder=folder,
            host=socket.gethostname().partition(".")[0],
            user=getpass.getuser(),
            slurmctld_port=ports[0],
            slurmd_port=ports[1],
            cpus=CPUS,
            requeue=REQUEUE_SECONDS,
            grace=GRACE_SECONDS,
        )
    )
    return conf


def _start(folder: Path, conf: Path) -> None:
    names = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log"}
    places = {**names, "seed-file": "seed"}
    munge = [f"--{option}={folder / 'munge' / name}" for option, name in places.items()]
    # In a folder of everybody's (/tmp) munged wants to be told.
    commands = (["munged", "--force", *munge], ["slurmctld", "-c"], ["slurmd", "-c"])
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    for name, *options in commands:
        # A daemon keeps the streams that it was given: it is given none of a test's.
        subprocess.run(
            [str(_program(name)), *options],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
    _wait(lambda: ask(conf, "sinfo", "--noheader", "--format=%T").split()[:1] == ["idle"], folder)


def _wait(is_so: Callable[[], bool], folder: Path) -> None:
    """Return once `is_so()`; raises RuntimeError after START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(subprocess.CalledProcessError):
            if is_so():
                return
        time.sleep(0.1)
    raise RuntimeError(f"the cluster did not come up: see {folder / 'log'}")


def _stop(folder: Path, conf: Path) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    with suppress(subprocess.CalledProcessError):
        user = getpass.getuser()
        ask(conf, "scancel", "--user", user)
        while ask(conf, "squeue", "--noheader") and time.monotonic() < deadline:
            time.sleep(0.1)
    pids = []
    for name in ("slurmd.pid", "slurmctld.pid", "munge/pid"):
        with suppress(OSError, ValueError):
            pids.append(int((folder / name).read_text()))
            os.kill(pids[-1], signal.SIGTERM)
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)


def main() -> None:
    """Keep a cluster until Ctrl-C."""
    folder = Path(sys.argv[1]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(KeyboardInterrupt), started(folder) as conf:
        sys.stdout.write(f"export SLURM_CONF={conf}\n")
        sys.stdout.flush()
        signal.pause()


if __name__ == "__main__":
    main()
