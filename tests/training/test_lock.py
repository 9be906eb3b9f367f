"""Locks of the system, and leases where the file system does not keep those."""

import errno
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from clifctl.errors import OutputError, UsageError
from clifctl.training import lease, lock_kind
from clifctl.training import lock as locks
from clifctl.training.lock import is_locked, lock, locked
from clifctl.training.lock_kind import LockKind, kind_in

MOUNTS = """\
36 25 0:31 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
37 36 0:50 / /home rw,nosuid shared:2 - nfs4 server:/home rw,vers=4.2,local_lock=none,addr=1.2.3.4
38 36 0:51 / /old rw - nfs server:/old rw,vers=3,local_lock=flock
39 36 0:52 / /work rw shared:3 - lustre 10.0.0.1@o2ib:/work rw,flock,lazystatfs
40 36 0:53 / /scratch rw shared:3 - lustre 10.0.0.1@o2ib:/scratch rw,localflock
41 36 0:54 / /bee rw - beegfs beegfs_nodev rw,cfgFile=/etc/beegfs/beegfs-client.conf
"""


@pytest.fixture
def leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(lock_kind.VARIABLE, "lease")
    monkeypatch.setattr(lease, "SECONDS", 0.3)


@pytest.mark.parametrize(
    ("device", "local", "reason"),
    [
        ("0:31", False, "ext4 keeps locks"),
        ("0:50", False, "nfs4 keeps locks"),
        ("0:51", True, "nfs local_lock=flock keeps locks on one machine alone"),
        ("0:52", False, "lustre keeps locks"),
        ("0:53", True, "lustre localflock keeps locks on one machine alone"),
        ("0:54", True, "beegfs keeps locks on one machine alone"),
        ("0:99", False, "a file system keeps locks"),
    ],
)
def test_the_mount_says_where_locks_hold_on_one_machine_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, local: bool, reason: str
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    monkeypatch.setattr(lock_kind, "_MOUNTS", mounts)
    major, minor = map(int, device.split(":"))
    found = lock_kind._kind_on.__wrapped__(os.makedev(major, minor))
    assert found == LockKind(local, f"auto: {reason}")


def test_a_person_may_say_which_kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for value, asked in (("lease", True), ("system", False)):
        monkeypatch.setenv(lock_kind.VARIABLE, value)
        assert kind_in(tmp_path) == LockKind(asked, f"CLIFCTL_LOCKS={value}")
    monkeypatch.setenv(lock_kind.VARIABLE, "leases")
    with pytest.raises(UsageError, match=r"CLIFCTL_LOCKS: unknown kind of lock 'leases'.*'lease'"):
        kind_in(tmp_path)


@pytest.mark.usefixtures("leases")
def test_a_lease_is_one_processs_and_one_threads(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with lock(path) as mine:
        assert mine
        assert is_locked(path)
        with lock(path) as again:
            assert not again
        found = []
        thread = threading.Thread(target=lambda: found.append(lease.take(path, patient=False)))
        thread.start()
        thread.join()
        assert found == [None]
    assert not path.exists()
    with lock(path) as mine:
        assert mine


def of_another_machine(path: Path) -> None:
    """A lease as a process of another machine would have left it, which is gone."""
    with lock(path):
        content = path.read_text()
    host = next(line for line in content.splitlines() if socket.gethostname() in line)
    path.write_text(content.replace(host, host.replace(socket.gethostname(), "elsewhere")))


@pytest.mark.usefixtures("leases")
def test_the_lease_of_a_machine_that_is_gone_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    of_another_machine(path)
    with lock(path) as mine:
        assert not mine
    # Who asks again and again, as a grid does, has it in the end.
    deadline = time.monotonic() + 60
    while True:
        with lock(path) as mine:
            if mine:
                break
        assert time.monotonic() < deadline
        time.sleep(0.02)
    of_another_machine(path)
    with locked(tmp_path):
        assert is_locked(path)
    # Nothing says that a lease is renewed which was written long ago.
    of_another_machine(path)
    os.utime(path, (0, 0))
    assert not is_locked(path)


@pytest.mark.usefixtures("leases")
def test_a_lease_that_is_renewed_elsewhere_is_not(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    of_another_machine(path)
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(0.05):
            os.utime(path)

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with pytest.raises(OutputError, match="in use by another process"), locked(tmp_path):
            pass
    finally:
        ended.set()
        thread.join()


@pytest.mark.usefixtures("leases")
def test_who_has_lost_a_lease_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = threading.Event()
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    monkeypatch.setattr(os, "_exit", end)
    with lock(tmp_path / "run.lock") as mine:
        assert mine
        (tmp_path / "run.lock").unlink()
        assert ended.wait(60)
    assert codes == [1]
    assert "was lost (marker-missing): another process may have it" in capsys.readouterr().err


def everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_keeps_others_out", lambda path: False)


def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: FileLock, **how: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", refused)


@pytest.mark.parametrize("broken", [everybody, nobody])
def test_a_file_system_without_locks_gets_leases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Callable[[pytest.MonkeyPatch], None]
) -> None:
    monkeypatch.setenv(lock_kind.VARIABLE, "system")
    broken(monkeypatch)
    path = tmp_path / "run.lock"
    with lock(path) as mine:
        assert mine
        assert lease.is_one(path)
        # What somebody has made a lease is one for everybody.
        with lock(path) as again:
            assert not again
    assert not path.exists()


def test_a_lock_of_the_system_is_no_lease(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with lock(path) as mine:
        assert mine
        assert not lease.is_one(path)
        with lock(path) as again:
            assert not again
        assert is_locked(path)
    assert not is_locked(path)
