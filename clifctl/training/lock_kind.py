"""Which kind of lock holds in a folder: the system's, or a lease where the file system keeps the
system's on one machine alone."""

import os
from functools import lru_cache
from pathlib import Path

from clifctl.errors import UsageError, unknown_name

VARIABLE = "CLIFCTL_LOCKS"
KINDS = ("auto", "system", "lease")
# Where a lock holds on its own machine alone: the file system, and any of the options that make it
# so; without options always. BeeGFS does not say in its options whether its locks are global, which
# they are not unless its configuration asks for it.
_LOCAL: dict[str, tuple[str, ...]] = {
    "nfs": ("local_lock=all", "local_lock=flock", "nolock"),
    "nfs4": ("local_lock=all", "local_lock=flock"),
    "lustre": ("localflock",),
    "cifs": ("nobrl",),
    "smb3": ("nobrl",),
    "beegfs": (),
    "fuse.sshfs": (),
}
_MOUNTS = Path("/proc/self/mountinfo")


def leases_asked_for(folder: Path) -> bool:
    """Whether locks in `folder` are leases: where CLIFCTL_LOCKS says so, or else where the file
    system is known to keep locks on one machine alone. Raises UsageError for what it cannot say."""
    kind = os.environ.get(VARIABLE) or "auto"
    if kind not in KINDS:
        raise UsageError(
            f"{VARIABLE}: {unknown_name('kind of lock', kind, KINDS)}", hint=f"unset {VARIABLE}"
        )
    if kind != "auto":
        return kind == "lease"
    try:
        return _is_local(os.stat(folder).st_dev)
    except OSError:
        return False


@lru_cache(maxsize=64)
def _is_local(device: int) -> bool:
    """Whether the file system of this device is known to keep locks on one machine alone."""
    kind, options = mounted(f"{os.major(device)}:{os.minor(device)}")
    local = _LOCAL.get(kind)
    return local is not None and (not local or not options.isdisjoint(local))


def mounted(device: str) -> tuple[str, frozenset[str]]:
    """The kind and the options of the file system with this number, as Linux tells."""
    try:
        lines = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return "", frozenset()
    for line in reversed(lines):
        before, _, after = line.partition(" - ")
        fields, (kind, _, options) = before.split(), (*after.split(), "", "", "")[:3]
        if len(fields) > 5 and fields[2] == device:
            return kind, frozenset((*fields[5].split(","), *options.split(",")))
    return "", frozenset()
