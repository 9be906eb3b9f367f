"""The files of event cameras: events as an independent writer has put them there, and every file
that is cut off, damaged or made to do harm."""

import struct
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from clifctl.data import DATASETS
from clifctl.data.events import faery_files, prophesee, recordings
from clifctl.data.events.camera_files import CameraRecording
from clifctl.data.events.integration import integrate
from clifctl.data.events.recordings import BadRecording, Events
from clifctl.errors import DataError

SIZE = (29, 37)
COUNTED: Any = {"timesteps": 2, "frames_by": "time", "height": SIZE[0], "width": SIZE[1]}
FORMATS = ("evt2", "evt3", "dat", "es", "es_of_atis", "csv", "aedat4")
ENDINGS = {"evt2": ".raw", "evt3": ".raw", "es_of_atis": ".es"}


def read(folder: Path, content: bytes, ending: str, sensor: tuple[int, int] = SIZE) -> Events:
    file = folder / f"a{ending}"
    file.write_bytes(content)
    return CameraRecording(file, "a", 0, sensor).read()[0]


def ending_of(form: str) -> str:
    return ENDINGS.get(form, f".{form}")


def same(found: Events, events: dict[str, Any]) -> bool:
    return all(np.array_equal(getattr(found, key), events[key]) for key in "txyp")


# --- honest files -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_events_are_those_that_were_written(cameras: ModuleType, tmp_path: Path, form: str) -> None:
    # With a gap that is longer than a byte of overflow and a change of the upper bits of times.
    events = cameras.draw(503, SIZE, seed=1, start=12_345, most_gap=20_000)
    found = read(tmp_path, getattr(cameras, form)(events, SIZE), ending_of(form))
    assert same(found, events)
    assert [array.dtype for array in (found.t, found.x, found.y)] == [np.int64] * 3
    assert found.p.dtype == bool


@pytest.mark.parametrize("form", ["evt2", "evt3"])
def test_words_are_read_in_parts_as_in_one(
    cameras: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """What one part says of time, row and column holds in the next, wherever it is divided."""
    events = cameras.draw(203, SIZE, seed=2, most_gap=9_000)
    content = getattr(cameras, form)(events, SIZE)
    for words in (1, 2, 7):
        monkeypatch.setattr(prophesee, "CHUNK", words)
        assert same(read(tmp_path, content, ".raw"), events)


def test_the_vectors_of_evt3(tmp_path: Path) -> None:
    """Twelve columns, eight, twelve: from the column that was named, in the order of columns; one
    of 640x480, as a header of older cameras has it."""
    header = b"% evt 3.0\n% Width 640\n% Height 480\n"
    words = (
        *(0x8001, 0x6002, 0x0000 | 479),
        *(0x3800 | 600, 0x4801, 0x5081, 0x4001),
        *(0x2000 | 639, 0x6003, 0x0007, 0x3000 | 0, 0x4004),
    )
    found = read(tmp_path, header + struct.pack("<12H", *words), ".raw", (480, 640))
    assert found.t.tolist() == [4098] * 6 + [4099]
    assert found.x.tolist() == [600, 611, 612, 619, 620, 639, 2]
    assert found.y.tolist() == [479] * 6 + [7]
    assert found.p.tolist() == [True] * 5 + [False] * 2


def test_counters_that_run_over(cameras: ModuleType, tmp_path: Path) -> None:
    for form, bits in (("evt2", 34), ("evt3", 24), ("dat", 32)):
        events = cameras.draw(301, SIZE, seed=3, start=2**bits - 2_000, most_gap=900)
        assert events["t"][-1] > 2**bits
        found = read(tmp_path, getattr(cameras, form)(events, SIZE), ending_of(form))
        assert same(found, events), form


def test_what_comes_before_the_first_time_is_left_out(tmp_path: Path) -> None:
    """A recording may begin in the midst of the camera's words."""
    event = 1 << 28 | 5 << 11 | 7
    words = struct.pack("<4I", event, event, 0x8 << 28 | 3, event)
    found = read(tmp_path, b"% evt 2.0\n" + words, ".raw")
    assert (found.t.tolist(), found.x.tolist(), found.y.tolist()) == ([192], [5], [7])
    words = struct.pack("<8H", 0x2005, 7, 0x2005, 0x8001, 0x2006, 0x6001, 9, 0x2005)
    found = read(tmp_path, b"% evt 3.0\n" + words, ".raw")
    assert (found.t.tolist(), found.x.tolist(), found.y.tolist()) == ([4096, 4097], [6, 5], [7, 9])


@pytest.mark.parametrize("version", [1, 2])
def test_older_dat_files(cameras: ModuleType, tmp_path: Path, version: int) -> None:
    """Generic events ("2d"), as N-CARS has them: with a geometry of their own, or without one."""
    events = cameras.draw(203, SIZE, seed=4)
    for size in (SIZE, None):
        content = cameras.dat(events, size, kind=0, version=version)
        assert same(read(tmp_path, content, ".dat", (100, 120)), events)
    assert same(read(tmp_path, content.replace(b"% Version 2\n", b""), ".dat"), events)


def test_columns_of_text_have_names(cameras: ModuleType, tmp_path: Path) -> None:
    events = cameras.draw(23, SIZE)
    lines = cameras.csv(events, SIZE, order="xypt").split(b"\n", 1)[1]
    content = b'\xef\xbb\xbfX,"y",polarity,Timestamp\r\n' + lines.replace(b"\n", b"\r\n")
    assert same(read(tmp_path, content, ".csv"), events)
    with pytest.raises(BadRecording, match="29 rows and 37 columns, the recipe's sensor has 3 and"):
        read(tmp_path, b"t,x@37,y@29,on\n1,2,3,1\n", ".csv", (3, 37))


@pytest.mark.parametrize("packed", [None, ("lz4", 1), ("lz4", 9), ("zstd", 1), ("zstd", 19)])
def test_what_faery_writes_is_read(
    cameras: ModuleType, tmp_path: Path, packed: tuple[str, int] | None
) -> None:
    faery = pytest.importorskip("faery")
    events = cameras.draw(30_003, SIZE, seed=5)
    written = np.zeros(30_003, faery.EVENTS_DTYPE)
    for key, name in zip("txyp", ("t", "x", "y", "on"), strict=True):
        written[name] = events[key]
    stream = faery.events_stream_from_array(written, SIZE[::-1])
    stream.to_file(tmp_path / "b.aedat4", compression=packed)
    assert same(CameraRecording(tmp_path / "b.aedat4", "b", 0, SIZE).read()[0], events)
    if packed is None:
        for name, options in (("b.es", {}), ("b.dat", {}), ("b.raw", {"version": "evt2"})):
            stream.to_file(tmp_path / name, zero_t0=False, **options)
            assert same(CameraRecording(tmp_path / name, "b", 0, SIZE).read()[0], events)
        stream.to_file(tmp_path / "b.csv")
        assert same(CameraRecording(tmp_path / "b.csv", "b", 0, SIZE).read()[0], events)


@pytest.mark.parametrize("form", ["evt2", "evt3", "dat"])
def test_faery_reads_the_same(cameras: ModuleType, tmp_path: Path, form: str) -> None:
    """Of honest files, where its reading is right."""
    faery = pytest.importorskip("faery")
    events = cameras.draw(203, SIZE, seed=6)
    file = tmp_path / f"a{ending_of(form)}"
    file.write_bytes(getattr(cameras, form)(events, SIZE))
    theirs = faery.events_stream_from_file(file).to_array()
    for key, name in zip("txyp", ("t", "x", "y", "on"), strict=True):
        assert np.array_equal(theirs[name].astype(np.int64), events[key])


# --- files that are not what they should be ---------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_is_cut_off_is_told(cameras: ModuleType, tmp_path: Path, form: str) -> None:
    """Wherever it is cut, but where a shorter recording would end too."""
    events = cameras.draw(11, SIZE, seed=7, start=300)
    content = getattr(cameras, form)(events, SIZE)
    with pytest.raises(BadRecording, match="cut off"):
        read(tmp_path, content[:-1], ending_of(form))
    for length in range(len(content) - 20, len(content)):
        try:
            found = read(tmp_path, content[:length], ending_of(form))
        except BadRecording:
            continue
        whole = len(found)
        assert whole < 11 or form == "es_of_atis"
        assert same(found, {key: values[:whole] for key, values in events.items()})


def test_an_aedat4_file_with_its_table_is_cut_off_anywhere(
    cameras: ModuleType, tmp_path: Path
) -> None:
    faery = pytest.importorskip("faery")
    written = np.zeros(31, faery.EVENTS_DTYPE)
    for packed in (None, ("lz4", 1), ("zstd", 1)):
        stream = faery.events_stream_from_array(written, SIZE[::-1])
        stream.to_file(tmp_path / "b.aedat4", compression=packed)
        content = (tmp_path / "b.aedat4").read_bytes()
        for length in (*range(1, len(content), 23), *range(len(content) - 9, len(content))):
            with pytest.raises(BadRecording, match=r"cut off|not an AEDAT 4"):
                read(tmp_path, content[:length], ".aedat4")


# Event Stream has no such times: each is counted from the one before.
@pytest.mark.parametrize("form", [form for form in FORMATS if not form.startswith("es")])
def test_times_that_run_backwards_are_refused(
    cameras: ModuleType, tmp_path: Path, form: str
) -> None:
    events = cameras.draw(11, SIZE, seed=8, start=900_000)
    events["t"][7:] -= 600_000
    with pytest.raises(BadRecording, match=r"times run backwards: from 9\d+ to 3\d+ us at event 7"):
        read(tmp_path, getattr(cameras, form)(events, SIZE), ending_of(form))


@pytest.mark.parametrize("form", FORMATS)
def test_a_camera_of_another_size(cameras: ModuleType, tmp_path: Path, form: str) -> None:
    content = getattr(cameras, form)(cameras.draw(11, SIZE), SIZE)
    if form != "csv":
        with pytest.raises(BadRecording, match=r"29 rows and 37 columns, .*data\.sensor=\[29,37\]"):
            read(tmp_path, content, ending_of(form), (37, 29))
    # Where a file has no geometry, or lies: an event beyond what is counted.
    events = cameras.draw(11, SIZE)
    events["x"][3] = 37
    content = getattr(cameras, form)(events, SIZE)
    with pytest.raises(BadRecording, match=r"x = 37|x=37"):
        integrate(read(tmp_path, content, ending_of(form)), **COUNTED)


RAW2, RAW3, DAT = b"% evt 2.0\n", b"% evt 3.0\n", b"% Version 2\n"
WRONG = {
    "no header": (".raw", b"\x00" * 40, "does not begin with '% ' and a keyword"),
    "no end": (".raw", b"% " + b"x" * 70_000, "ends within its header"),
    "no format": (".raw", b"% Width 3\n\0\0\0\0", "its header names no format: EVT2 and EVT3"),
    "EVT 2.1": (".raw", b"% format EVT21;height=2;width=2\n", "its format is EVT21: EVT2 and"),
    "big": (".raw", RAW2 + b"% endianness big\n", "its words are big-endian"),
    "no base": (".raw", RAW3 + struct.pack("<3H", 0x8001, 0x2005, 0x4001), "without its first col"),
    "triggers": (".dat", DAT + b"\x0e\x08", "events of type 14 and 8 bytes: type 0"),
    "long events": (".dat", DAT + b"\x00\x10", "events of type 0 and 16 bytes"),
    "no type": (".dat", DAT + b"\x00", "before it says what its events are"),
    "version": (".dat", b"% Version 3\n\0\x08", "it is of version 3: 1 and 2 are read"),
    "polarity": (".dat", DAT + b"\x0c\x08" + struct.pack("<II", 1, 2 << 28), "of polarity 2: 1 is"),
    "es": (".es", b"Event Strean\2\0\0\1", "it does not begin with 'Event Stream'"),
    "short es": (".es", b"Event Stream\2\0\0\1", "it ends within its header"),
    "es 3": (".es", b"Event Stream\3\0\0\1\1\0\1\0", "version 3, DVS events: version 2, DVS and"),
    "colour": (".es", b"Event Stream\2\0\0\4\1\0\1\0", "version 2, colour events"),
    "no event": (".es", b"Event Stream\2\0\0\1\1\0\1\0\xff", "no event"),
    "no names": (".csv", b"1,2,3,1\n2,3,4,0\n", "its first line names no column t"),
    "two names": (".csv", b"t,x,y,p,on\n2,3,4,0,0\n", "names more than one column p"),
    "fractions": (".csv", b"t,x,y,p\n0.5,3,4,0\n", "a line that is no event of whole numbers"),
    "few": (".csv", b"t,x,y,p\n5,3,4,0\n6,3\n", "a line that is no event"),
    "unended": (".csv", b"t,x,y,p\n5,3,4,0\n6,3,4,1", "cut off: its last line does not end"),
    "p": (".csv", b"t,x,y,p\n5,3,4,2\n", "an event of polarity 2"),
    "far": (".csv", b"t,x,y,p\n0,3,4,1\n4611686018427387904,3,4,1\n", "which is beyond 2**62"),
    "farther": (".csv", b"t,x,y,p\n9223372036854775808,3,4,1\n", "a line that is no event"),
    "digits": (".csv", b"t,x@" + b"9" * 5000 + b",y@2,p\n1,3,4,1\n", "more than 9 digits"),
    "size": (".raw", RAW2 + b"% geometry " + b"9" * 5000 + b"x2\n", "more than 9 digits"),
    "empty": (".csv", b"t,x,y,p\n\n", "no event"),
    "aedat 3": (".aedat4", b"#!AER-DAT3.1\r\n", "not an AEDAT 4 file"),
    "header": (".aedat4", b"#!AER-DAT4.0\r\n\xff\xff\xff\xff", "a header of 4,294,967,295 bytes"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_a_file_is_not(tmp_path: Path, kind: str) -> None:
    ending, content, told = WRONG[kind]
    with pytest.raises(BadRecording) as refused:
        read(tmp_path, content, ending)
    assert told in str(refused.value)


def bomb_of_lz4(packet: bytes) -> bytes:
    """A frame of four blocks that may each become 4 MiB, and many more of them."""
    block = struct.pack("<I", 17_000) + b"\0" * 17_000
    return struct.pack("<IBBB", 0x184D2204, 0x60, 0x70, 0) + block * 40 + b"\0" * 4


def bomb_of_zstd(packet: bytes) -> bytes:
    """A frame with a window of 1 MiB: a byte that is repeated 128 Ki times, a thousand times."""
    block = (128 * 1024 << 3 | 1 << 1).to_bytes(3, "little") + b"x"
    return struct.pack("<IBB", 0xFD2FB528, 0, 10 << 3) + block * 1000 + b"\1\0\0"


def test_an_aedat4_file_that_would_take_memory(cameras: ModuleType, tmp_path: Path) -> None:
    events = cameras.draw(11, SIZE)

    def refused(told: str, **how: Any) -> None:
        with pytest.raises(BadRecording, match=told):
            read(tmp_path, cameras.aedat4(events, SIZE, **how), ".aedat4")

    refused("that may unpack to 167,772,160", compression=1, pack=bomb_of_lz4)
    refused("that may unpack to 131,072,000", compression=4, pack=bomb_of_zstd)
    refused("no frame of LZ4", compression=2)
    refused("no frame of Zstandard", compression=3)
    refused("an unknown method, number 5", compression=5)
    refused("nested too deeply", describe=lambda text: "<a>" * 40 + "</a>" * 40)
    refused("declares a document type", describe=lambda text: f"<!DOCTYPE a>{text}")
    refused("is no XML", describe=lambda text: text[:-3])
    refused("0 streams of events", describe=lambda text: text.replace("EVTS", "TRIG"))
    content = cameras.aedat4(events, SIZE)
    # Where the header's fields are: beyond the header.
    place = content.index(b"IOHE") - 4
    for wrong in (b"\xff\xff\xff\x7f", b"\xff\xff\0\0"):
        with pytest.raises(BadRecording, match="its header does not hold what it says"):
            read(tmp_path, content[:place] + wrong + content[place + 4 :], ".aedat4")


@pytest.mark.parametrize("form", FORMATS)
def test_more_events_than_a_recording_has(
    cameras: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(recordings, "MOST_EVENTS", 10)
    content = getattr(cameras, form)(cameras.draw(11, SIZE), SIZE)
    with pytest.raises(BadRecording, match="more than 10 events, no recording has so many"):
        read(tmp_path, content, ending_of(form))


# --- the data set -----------------------------------------------------------------------------


def options_of(root: Path, **options: Any) -> Any:
    given = {"root": str(root), "classes": 2, "sensor": list(SIZE), **options}
    return DATASETS["event_files"].options(**given)


def write_classes(cameras: ModuleType, root: Path) -> None:
    """A recording of every format in each class of both parts, and the same events as .npz in
    `npz` beside `root`."""
    for number, (part, label) in enumerate((p, c) for p in ("train", "test") for c in "ab"):
        for seed, form in enumerate(FORMATS):
            events = cameras.draw(101, SIZE, seed=100 * number + seed)
            for folder in (root / part / label, root.parent / "npz" / part / label):
                folder.mkdir(parents=True, exist_ok=True)
            file = root / part / label / f"{form}{ending_of(form).upper()}"
            file.write_bytes(getattr(cameras, form)(events, SIZE))
            np.savez(root.parent / "npz" / part / label / f"{form}.npz", **events)


def test_frames_are_those_of_the_same_events_in_npz(
    cameras: ModuleType, recorded: ModuleType, tmp_path: Path
) -> None:
    write_classes(cameras, tmp_path / "own")
    found = []
    for root in (tmp_path / "own", tmp_path / "npz"):
        recorded.prepare(
            *("event_files", f"root={root}", "classes=2", "sensor=[29,37]", "timesteps=3")
        )
        data = DATASETS["event_files"].load(options_of(root), 3)
        found.append(data.sha256())
        assert (len(data.train.targets), len(data.test.targets)) == (14, 14)
    assert found[0] == found[1]


def test_a_bad_recording_is_named_at_the_prompt(
    cameras: ModuleType, clifctl: Callable[..., Any], tmp_path: Path
) -> None:
    write_classes(cameras, tmp_path / "own")
    file = tmp_path / "own/train/b/dat.DAT"
    file.write_bytes(file.read_bytes()[:-3])
    prepare = ("prepare", "event_files", "root=own", "classes=2", "sensor=[29,37]", "timesteps=2")
    done = clifctl("data", *prepare, "--workers", "1")
    assert (done.code, done.out) == (2, "")
    assert "own/train/b/dat.DAT" in done.err
    assert "cut off: it ends 5 bytes into an event of 8" in done.err


def test_one_recording_is_there_once(cameras: ModuleType, tmp_path: Path) -> None:
    write_classes(cameras, tmp_path / "own")
    folder = tmp_path / "own/test/a"
    (folder / "dat.npz").write_bytes(b"")
    camera = DATASETS["event_files"].camera
    assert camera is not None
    with pytest.raises(DataError, match=r"dat\.DAT' and '.*dat\.npz' have one name"):
        camera.recordings(options_of(tmp_path / "own"))


def test_without_faery_it_is_said_what_to_install(
    cameras: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_classes(cameras, tmp_path / "own")
    monkeypatch.setattr(faery_files, "find_spec", lambda name: None)
    camera, files = DATASETS["event_files"].camera, DATASETS["event_files"].files
    assert camera is not None
    assert files is not None
    with pytest.raises(DataError, match=r"faery, which reads '.*aedat4\.AEDAT4', is not") as caught:
        camera.recordings(options_of(tmp_path / "own"))
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("pip install 'clifctl[cameras]'; ")
    assert "is not installed" in str(files.inspect(tmp_path / "own")[0].problem)
    # The other formats need nothing.
    for file in (tmp_path / "own").rglob("*"):
        if file.suffix in (".AEDAT4", ".ES"):
            file.unlink()
    assert len(camera.recordings(options_of(tmp_path / "own"))["train"]) == 8
