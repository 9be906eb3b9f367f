"""What lies in the kernel cache is run as code: whose it is, whether it is whole, where it goes."""

import errno
import hashlib
import os
import pickle
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from clifctl.kernels import cache, cache_folder, compiling
from clifctl.kernels.cpu import machine_code
from clifctl.kernels.cpu.machine_code import keep
from clifctl.kernels.gpu import triton_cache
from clifctl.notices import heard_by

TEXT = """
from numba import njit
FACTOR = 2.0


@njit
def scaled(x):
    return FACTOR * x
"""
Foreign = Callable[[Path], None]


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of kernels of a process that has just started."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(cache_folder.TEMPORARY, str(tmp_path / "temporary"))
    monkeypatch.setattr(cache_folder, "_refusals", {})
    cache_folder._examined.cache_clear()
    return tmp_path / "cache" / "clifctl" / "kernels"


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> Foreign:
    """Give a file or folder to another user, or, where only root can, everything."""

    def give(path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, 54321, -1, follow_symlinks=False)
        else:
            another = os.geteuid() + 1
            monkeypatch.setattr(os, "geteuid", lambda: another)

    return give


def load_anew(text: str = TEXT) -> ModuleType:
    """As a new process would load it."""
    for name in [name for name in sys.modules if name.startswith("clifctl_probe_")]:
        del sys.modules[name]
    return keep(cache.load_module("probe", text), text)


def misses(module: ModuleType) -> int:
    """How many functions had to be compiled to scale 3."""
    assert module.scaled(3.0) == 6.0
    return sum(module.scaled.stats.cache_misses.values())


def test_a_source_is_one_module_a_process(kernels: Path) -> None:
    first = cache.load_module("probe", "VALUE = [1]\n")
    assert cache.load_module("probe", "VALUE = [1]\n") is first
    assert cache.load_module("probe", "VALUE = [2]\n").VALUE == [2]


def test_an_edited_source_is_not_run_and_is_written_again(kernels: Path) -> None:
    assert misses(load_anew()) == 1
    (source,) = kernels.glob("*.py")
    source.write_text(TEXT.replace("2.0", "5.0"))
    assert list(cache.damaged(kernels)) == [source]
    again = load_anew()
    assert again.FACTOR == 2.0
    assert misses(again) == 0
    assert source.read_text() == TEXT


def test_what_is_compiled_and_how_long_it_took_is_told(
    kernels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine_code, "compiling", compiling.Compiling())
    monkeypatch.setattr(compiling, "WORTH_A_WORD_S", 0.0)
    calling = f"{TEXT}\n\n@njit\ndef twice(x):\n    return scaled(scaled(x))\n"
    lines: list[str] = []
    with heard_by(lines.append):
        assert load_anew(calling).twice(3.0) == 12.0
        assert load_anew(calling).twice(3.0) == 12.0
    assert lines[0] == "compiling kernels for this processor, at their first use"
    # What it calls is within its time.
    (told,) = lines[1:]
    assert re.fullmatch(r"compiled probe, twice in \d+\.\d s \(\d+\.\d s in all\)", told)


@pytest.mark.parametrize("how", ["cut", "empty", "a bit", "foreign pickle", "of another source"])
def test_damaged_machine_code_is_compiled_again(kernels: Path, how: str) -> None:
    load_anew().scaled(3.0)
    (code,) = kernels.glob("*.code")
    whole = code.read_bytes()
    kept = pickle.dumps((("another",), ()))
    code.write_bytes(
        {
            "cut": whole[:-100],
            "empty": b"",
            "a bit": whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:],
            "foreign pickle": pickle.dumps(Bomb()),
            "of another source": hashlib.sha256(kept).digest() + kept,
        }[how]
    )
    assert list(cache.damaged(kernels)) == ([] if how == "of another source" else [code])
    assert misses(load_anew()) == 1
    assert list(cache.damaged(kernels)) == []
    assert misses(load_anew()) == 0


class Bomb:
    """Unpickling it ends the test."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("unpickled",))


@pytest.mark.parametrize("how", ["of another user", "others can write", "a link"])
def test_a_file_that_is_not_ours_alone_is_not_read(
    kernels: Path, foreign: Foreign, tmp_path: Path, how: str
) -> None:
    cache.store("probe.code", b"machine code")
    file = kernels / "probe.code"
    assert cache.load("probe.code") == b"machine code"
    assert file.stat().st_mode & 0o777 == 0o644
    if how == "others can write":
        file.chmod(0o646)
    elif how == "a link":
        file.symlink_to(file.rename(tmp_path / "elsewhere"))
    else:
        foreign(file)
    assert cache.load("probe.code") is None
    if how != "of another user":
        cache.store("probe.code", b"new")
        assert cache.load("probe.code") == b"new"
        assert not file.is_symlink()


def test_a_folder_that_is_not_ours_is_not_used(kernels: Path, foreign: Foreign) -> None:
    kernels.mkdir(parents=True)
    foreign(kernels)
    with pytest.warns(RuntimeWarning, match=f"'{kernels}' belongs to another user"):
        cache.store("probe.code", b"machine code")
    assert list(kernels.iterdir()) == []


def test_a_folder_that_others_can_write_to_is_closed_or_not_used(
    kernels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels.mkdir(parents=True)
    kernels.chmod(0o777)
    cache.store("probe.code", b"machine code")
    assert kernels.stat().st_mode & 0o777 == 0o755
    kernels.chmod(0o777)
    cache_folder._examined.cache_clear()
    monkeypatch.setattr(Path, "chmod", lambda *arguments: None)  # as some file systems do
    with pytest.warns(RuntimeWarning, match=f"others can write to '{kernels}'"):
        cache.store("probe.code", b"other code")
    assert cache.load("probe.code") == b"other code"


def test_a_folder_of_roots_is_read_and_what_it_lacks_is_kept_elsewhere(
    kernels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.store("probe.code", b"machine code")
    found = cache_folder.Folder(kernels, True, False, "Read-only file system")
    monkeypatch.setattr(cache_folder, "_examined", lambda folder: found)
    assert cache.load("probe.code") == b"machine code"
    with pytest.warns(RuntimeWarning, match="Read-only file system"):
        cache.store("more.code", b"more")
    assert cache.load("more.code") == b"more"


def test_a_full_disk_is_said_once_and_work_goes_on(
    kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = cache._replace

    def full(path: Path, content: bytes) -> Path:
        if path.parent == kernels:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(cache, "_replace", full)
    with pytest.warns(RuntimeWarning) as said:
        assert misses(load_anew()) == 1
    (warning,) = said
    assert f"cannot be cached in '{kernels}': No space left on device" in str(warning.message)
    assert f"'{tmp_path / 'temporary'}' serves" in str(warning.message)
    assert misses(load_anew()) == 0


def test_without_any_place_nothing_is_kept(
    tmp_path: Path, kernels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv(cache_folder.TEMPORARY, str(tmp_path / "file" / "temporary"))
    (tmp_path / "file").write_text("")
    with pytest.warns(RuntimeWarning, match="nor in"):
        assert misses(load_anew()) == 1
    assert misses(load_anew()) == 1


def test_a_relative_cache_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    for relative in ("cache", "./cache", ""):
        monkeypatch.setenv("XDG_CACHE_HOME", relative)
        assert cache_folder.preferred_folder() == Path("/home/somebody/.cache/clifctl/kernels")
    monkeypatch.setenv("HOME", "somebody")
    assert cache_folder.preferred_folder() is None


def test_without_a_home_a_temporary_folder_serves(
    kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", unknown)
    with pytest.warns(RuntimeWarning, match="this user has no home directory") as said:
        assert misses(load_anew()) == 1
    assert len(said) == 1
    assert misses(load_anew()) == 0
    assert len(list((tmp_path / "temporary").glob("*.code"))) == 1


def test_processes_that_are_started_share_a_temporary_folder(
    kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv(cache_folder.TEMPORARY, "")
    cache_folder.settle()
    chosen = Path(os.environ[cache_folder.TEMPORARY])
    assert chosen.parent == tmp_path
    assert not chosen.exists()  # it is not needed yet
    chosen.mkdir(mode=0o700)
    cache_folder.settle()
    assert os.environ[cache_folder.TEMPORARY] == str(chosen)
    cache_folder._remove(chosen, os.getpid() + 1)
    assert chosen.exists()
    cache_folder._remove(chosen, os.getpid())
    assert not chosen.exists()


def test_tritons_files_are_used_only_where_their_checksum_holds(
    kernels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(kernels / "triton"))
    before = os.umask(0o002)
    kept = triton_cache._manager()("KEY")
    binary = Path(kept.put(b"machine code", "forward.cubin"))
    kept.put_group("forward.json", {"forward.cubin": str(binary)})
    os.umask(before)
    again = triton_cache._manager()("KEY")
    assert again.get_file("forward.cubin") == str(binary)
    binary.chmod(0o664)
    assert again.get_file("forward.cubin") is None
    binary.chmod(0o644)
    assert again.get_group("forward.json") == {"forward.cubin": str(binary)}
    binary.write_bytes(b"machine cod")
    assert list(triton_cache.damaged(kernels)) == [binary]
    assert again.get_file("forward.cubin") is None
    assert again.get_group("forward.json") is None


@pytest.mark.parametrize("named", [False, True])
def test_tritons_folder_is_one_that_can_be_trusted(
    kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    knobs = pytest.importorskip("triton").knobs
    monkeypatch.setattr(knobs.cache, "manager_class", knobs.cache.manager_class)
    monkeypatch.delenv("TRITON_HOME", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "shared"))
    if named:
        (tmp_path / "shared").mkdir()
        (tmp_path / "shared").chmod(0o777)
        with pytest.warns(RuntimeWarning, match=f"others can write to '{tmp_path / 'shared'}'"):
            triton_cache.use_checked_cache.__wrapped__()
    else:
        monkeypatch.delenv("TRITON_CACHE_DIR")
        triton_cache.use_checked_cache.__wrapped__()
    assert knobs.cache.dir == str(kernels / "triton")
    assert knobs.cache.manager_class.__name__ == "CheckedCache"


def test_machine_code_of_several_processes_has_names_of_its_own() -> None:
    """numba counts the functions that it compiles from 1 on, in every process, and names their
    machine code by that: two closures of one function, compiled by two processes, shared a name,
    and in a third, that read both, one ran in the place of the other."""
    from numba.core.bytecode import FunctionIdentity

    from clifctl.kernels.cpu import machine_code  # noqa: F401, which begins elsewhere

    assert next(FunctionIdentity._unique_ids) > 1 << 24
