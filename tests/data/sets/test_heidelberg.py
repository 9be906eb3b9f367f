"""SHD and SSC: what is read from which files, and every wrong file."""

import gzip
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from clifctl.data import DATASETS, LoadedData, batches
from clifctl.data.sets import heidelberg, shd
from clifctl.errors import DataError, RecipeError
from clifctl.notices import heard_by
from clifctl.recipe.load import data_section


def load(root: Path, timesteps: int = 7, name: str = "shd", **options: Any) -> LoadedData:
    dataset = DATASETS[name]
    return dataset.load(dataset.options(root=str(root), **options), timesteps)


def counted(file: Path, timesteps: int, bin_s: Fraction, pool: int) -> np.ndarray[Any, Any]:
    """Counts `[T, N, 700 / pool]`, spike by spike and in whole numbers, as h5py reads the file."""
    with h5py.File(file) as opened:
        times, units = opened["spikes"]["times"][:], opened["spikes"]["units"][:]
    counts = np.zeros((timesteps, len(times), 700 // pool), dtype=np.int64)
    for number, (of_times, of_units) in enumerate(zip(times, units, strict=True)):
        for time, unit in zip(of_times.tolist(), of_units.tolist(), strict=True):
            step = Fraction(time) // bin_s
            if step < timesteps:
                counts[step, number, unit // pool] += 1
    return counts


@pytest.mark.parametrize(
    ("timesteps", "pool", "bin_ms", "bin_s"),
    [
        (7, 1, None, Fraction(2, 10)),
        (100, 5, None, Fraction(14, 1000)),
        (35, 7, 10.0, Fraction(1, 100)),
    ],
)
def test_spikes_are_counted_as_an_independent_reading_counts_them(
    data_root: Path, timesteps: int, pool: int, bin_ms: float | None, bin_s: Fraction
) -> None:
    data = load(data_root, timesteps, pool=pool, bin_ms=bin_ms)
    for split, name in ((data.train, "shd_train.h5"), (data.test, "shd_test.h5")):
        seen = torch.cat([x for x, _ in batches(split, 9)], 1)
        expected = counted(data_root / name, timesteps, bin_s, pool)
        assert np.array_equal(seen.numpy(), expected)
        with h5py.File(data_root / name) as opened:
            spikes = sum(map(len, opened["spikes/times"]))
        assert (expected.sum() == spikes) == (bin_ms is None)  # all of them, or not the late ones
        with h5py.File(data_root / name) as opened:
            assert split.targets.tolist() == opened["labels"][:].tolist()
    assert data.class_names == tuple(f"word{i}" for i in range(20))
    held = load(data_root, timesteps, pool=pool, bin_ms=bin_ms, in_memory=True)
    assert torch.equal(held.train.held, torch.from_numpy(seen_of(data)))
    assert load(data_root, 3).sha256() == data.sha256()  # of the spikes, however they are counted


def seen_of(data: LoadedData) -> np.ndarray[Any, Any]:
    stored = next(data.train.read([torch.arange(len(data.train))]))[0]
    return stored.numpy()


def write(file: Path, times: list[Any], units: list[Any], *, how: str = "as it is") -> None:
    """A file of two classes and so many recordings; `how` they lie in it."""
    packed: dict[str, Any] = {"chunks": (3,)} if how != "as it is" else {}
    if how == "packed parts":
        packed |= {"compression": "gzip", "shuffle": True}
    file.parent.mkdir(exist_ok=True)
    with h5py.File(file, "w") as made:
        for name, kind, lists in (("times", np.float16, times), ("units", np.uint16, units)):
            shape, dtype = (len(lists),), h5py.vlen_dtype(kind)
            written = made.create_dataset(f"spikes/{name}", shape, dtype=dtype, **packed)
            for number, values in enumerate(lists):
                written[number] = np.array(values, dtype=kind)
        made.create_dataset("labels", data=np.arange(len(times)) % 2, **packed)
        made.create_dataset("extra/keys", data=[f"key{i}" for i in range(20)])
        made.create_dataset("extra/speaker", data=np.arange(len(times)) % 3, **packed)
    if how == "gzip":
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()


def test_however_they_lie_in_the_file_they_are_the_same(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    lengths = [0, 5, 40_000, 1, 2, 0, 3]
    times = [np.sort(random.random(n)) for n in lengths]
    units = [random.integers(0, 700, n) for n in lengths]
    found = []
    for how in ("as it is", "parts", "packed parts", "gzip"):
        folder = tmp_path / how
        for part in ("train", "test"):
            write(folder / f"shd_{part}.h5", times, units, how=how)
        told: list[str] = []
        with heard_by(told.append):
            data = load(folder, 2, validation_share=0.4)
        assert any("is unpacked for this command" in line for line in told) == (how == "gzip")
        assert data.class_names == tuple(f"key{i}" for i in range(20))
        found.append((data.sha256(), data.validation.targets.tolist()))
        inputs = next(batches(data.test, 7))[0]
        assert inputs.flatten(2).sum((0, 2)).tolist() == lengths
    assert found == [found[0]] * 4


def test_counts_beyond_a_byte_are_not_wrapped(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write(tmp_path / f"shd_{part}.h5", [[0.1], [0.2] * 300 + [1.5]], [[3], [699] * 301])
    for options in ({}, {"in_memory": True}):
        inputs = next(batches(load(tmp_path, 3, **options).test, 2))[0]
        assert inputs[:, 1].nonzero().tolist() == [[0, 699]]
        assert inputs[0, 1, 699] == 300
        assert inputs.sum() == 301


@pytest.mark.parametrize(
    "kinds", [(np.float32, np.uint16), (np.float16, np.int64), (np.float64, np.uint64)]
)
def test_lists_of_other_types_are_counted_alike(
    data_root: Path, tmp_path: Path, kinds: tuple[Any, Any]
) -> None:
    for part in ("train", "test"):
        with (
            h5py.File(data_root / f"shd_{part}.h5") as given,
            h5py.File(tmp_path / f"shd_{part}.h5", "w") as made,
        ):
            given.copy("labels", made)
            given.copy("extra", made)
            for name, kind in zip(("times", "units"), kinds, strict=True):
                lists = given["spikes"][name][:]
                stored = made.create_dataset(f"spikes/{name}", lists.shape, h5py.vlen_dtype(kind))
                for number, one in enumerate(lists):
                    stored[number] = one.astype(kind)
    published = seen_of(load(data_root, 100, pool=5, bin_ms=10.0))
    assert np.array_equal(seen_of(load(tmp_path, 100, pool=5, bin_ms=10.0)), published)


def test_nobody_speaks_in_two_splits(data_root: Path) -> None:
    with h5py.File(data_root / "shd_train.h5") as opened:
        labels, speakers = opened["labels"][:], opened["extra/speaker"][:]
    everybody = []
    for seed in range(4):
        data = load(data_root, validation_share=0.4, split_seed=seed)
        assert data.validation is not None
        parts = [split.inputs.numbers for split in (data.train, data.validation)]
        assert sorted(parts[0] + parts[1]) == list(range(40))
        heard = [set(speakers[list(part)].tolist()) for part in parts]
        assert [len(one) for one in heard] == [3, 2]
        assert not heard[0] & heard[1]
        assert data.validation.targets.tolist() == labels[list(parts[1])].tolist()
        everybody.append(tuple(sorted(heard[1])))
    assert len(set(everybody)) > 1
    assert len(load(data_root, validation_share=0.01).validation) == 8
    with pytest.raises(DataError, match="of 5 speakers 5 would be held out"):
        load(data_root, validation_share=0.95)


def test_ssc_is_validated_on_its_own_split(data_root: Path) -> None:
    data = load(data_root, name="ssc")
    assert [len(split) for split in data.splits] == [36, 9, 7]
    expected = counted(data_root / "ssc_valid.h5", 7, Fraction(2, 10), 1)
    assert np.array_equal(next(batches(data.validation, 7))[0].numpy(), expected)
    with pytest.raises(RecipeError, match=r"data.validation_share = 0.1"):
        data_section("ssc", ["validation_share=0.1"], 7)
    with pytest.raises(RecipeError, match="must divide the 700 channels, as 5, 7 and 10 do"):
        data_section("shd", ["pool=3"], 7)


@pytest.mark.parametrize("folder", ["", "shd", "SHD", "extract"])
def test_files_are_found_where_others_put_them(
    on_disk: ModuleType, tmp_path: Path, folder: str
) -> None:
    on_disk.write_shd(tmp_path / folder)
    assert len(load(tmp_path).train) == 40


def refused(root: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        list(batches(load(root).train, 40))
    assert "\n" not in caught.value.message
    assert "clifctl data check shd" in str(caught.value.hint)
    assert caught.value.exit_code == 2
    return caught.value


def edited(name: str, values: Any) -> Callable[[Path], None]:
    """Put other values in the place of a dataset."""

    def edit(file: Path) -> None:
        with h5py.File(file, "a") as opened:
            if name in opened:
                del opened[name]
            if values is not None:
                opened[name] = values

    return edit


def spikes(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Change the times or channels of recording 3."""

    def edit(file: Path) -> None:
        with h5py.File(file, "a") as opened:
            lists = opened[f"spikes/{name}"]
            lists[3] = change(lists[3]).astype(lists[3].dtype)

    return edit


def content(edit: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        file.write_bytes(edit(file.read_bytes()))

    return change


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (content(lambda old: old[:-1]), "it is no HDF5 file, or cut off (Unable"),
        (content(lambda old: old[:50]), "it is no HDF5 file, or cut off"),
        (content(lambda old: b""), "it is no HDF5 file, or cut off"),
        (content(lambda old: b"GIF89a" + old[6:]), "it is no HDF5 file, or cut off"),
        (content(lambda old: old.replace(b"GCOL", b"GCOM")), "a heap of it is none, or cut off"),
        (edited("spikes", None), "it has no 'spikes/times'"),
        (edited("spikes/units", None), "it has no 'spikes/units'"),
        (edited("labels", None), "it has no 'labels'"),
        (edited("spikes/units", np.arange(40)), "holds int64, not lists of numbers"),
        (edited("spikes", np.arange(40)), "it has no 'spikes/times'"),
        (edited("labels", np.zeros((40, 1), "u2")), "'labels' is no list"),
        (edited("labels", np.zeros(40)), "'labels' holds float64, not whole numbers"),
        (edited("labels", np.zeros(39, "u2")), "40 lists of times, 40 of channels and 39 labels"),
        (edited("labels", np.full(40, 20)), "label 20 of sample 0 is out of range, 20 classes"),
        (edited("labels", np.full(40, -1)), "label -1 of sample 0"),
        (edited("extra/speaker", np.arange(3)), "40 labels and 3 speakers"),
        (spikes("units", lambda old: np.arange(700)), "recording 3 has "),
        (spikes("times", lambda old: old[:0]), "recording 3 has 0 times and "),
        (spikes("units", lambda old: old + 700), "recording 3 has a channel beyond 0 to 699"),
        (spikes("times", lambda old: old[::-1]), "recording 3 has times that run backwards"),
        (spikes("times", lambda old: old * np.nan), "recording 3 has a time that is no number"),
        (spikes("times", lambda old: old - 2), "a time that is no number, or negative"),
    ],
    ids=range(22),
)
def test_a_bad_file_is_named(
    on_disk: ModuleType, tmp_path: Path, edit: Callable[[Path], None], said: str
) -> None:
    file = on_disk.write_shd(tmp_path) / "shd_train.h5"
    edit(file)
    error = refused(tmp_path)
    assert f"'{file}'" in error.message
    assert said in error.message
    states = heidelberg._states(shd.FORMAT, tmp_path, closely=True)
    assert [state.problem for state in states] == [error.message, None]


def test_what_is_missing_is_named(on_disk: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"shd_train.h5' is missing") as caught:
        load(tmp_path)
    assert "zenkelab.org" in str(caught.value.hint)
    assert "CC BY 4.0" in str(caught.value.hint)
    on_disk.write_shd(tmp_path)
    edited("extra/speaker", None)(tmp_path / "shd_train.h5")
    assert len(load(tmp_path).train) == 40
    with pytest.raises(DataError, match="has no 'extra/speaker', by which"):
        load(tmp_path, validation_share=0.5)


def test_data_check_and_show(data_root: Path, clifctl: Callable[..., Any]) -> None:
    done = clifctl("data", "check", "shd", "--root", str(data_root), "--json")
    assert done.code == 0, done.err
    assert [row["what"] for row in done.json["files"]] == [
        "8,156 recordings (train); not the published ones, 40 found",
        "2,264 recordings (test); not the published ones, 21 found",
    ]
    assert done.json["licence"].startswith("CC BY 4.0")
    assert done.json["class_names"][19] == "word19"
    asked = ["timesteps=5", "pool=10", f"root={data_root}", "--split", "train", "--json"]
    shown = clifctl("data", "show", "shd", *asked, "--sample", "3").json
    assert shown["shape"] == [5, 70]
    assert (shown["label"], shown["class_name"]) == (3, "word3")
    expected = counted(data_root / "shd_train.h5", 5, Fraction(28, 100), 10)[:, 3]
    sums = [frame["sum_per_channel"] for frame in shown["frames"]]
    assert np.array_equal(np.ravel(sums), expected.sum(1))
