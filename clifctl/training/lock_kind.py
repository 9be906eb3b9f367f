"""Which kind of lock holds in a folder: the system's, or a lease where the file system keeps the
system's on one machine alone."""

import os
from dataclasses import dataclass
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


@dataclass(frozen=True)
class LockKind:
    """Whether locks are leases, and why."""

    leases: bool
    reason: str


def kind_in(folder: Path) -> LockKind:
    """The kind of locks in `folder`: leases where CLIFCTL_LOCKS says so, or else where the file
    system is known to keep locks on one machine alone. Raises UsageError for what it cannot say."""
    asked = os.environ.get(VARIABLE) or "auto"
    if asked not in KINDS:
        raise UsageError(
            f"{VARIABLE}: {unknown_name('kind of lock', asked, KINDS)}", hint=f"unset {VARIABLE}"
        )
    if asked != "auto":
        return LockKind(asked == "lease", f"{VARIABLE}={asked}")
    try:
        return _kind_on(os.stat(folder).st_dev)
    except OSError as refused:
        return LockKind(leases=False, reason=f"auto: {refused.strerror}")


@lru_cache(maxsize=64)
def _kind_on(device: int) -> LockKind:
    """What the file system of this device is known for."""
    name, options = mounted(f"{os.major(device)}:{os.minor(device)}")
    local = _LOCAL.get(name)
    if local is None or (local and options.isdisjoint(local)):
        return LockKind(leases=False, reason=f"auto: {name or 'a file system'} keeps locks")
    found = " ".join([name, *sorted(options.intersection(local))])
    return LockKind(leases=True, reason=f"auto: {found} keeps locks on one machine alone")


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
