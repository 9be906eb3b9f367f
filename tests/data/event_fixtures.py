"""Writers of tiny event recordings in their real on-disk formats, and an integration of their own.

A recording's events lie around a point that belongs to its class, ON above and OFF below it, so
that a net can learn a little and a mirrored or turned frame is another one.
"""

import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 128
CLASS_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
Events = dict[str, np.ndarray[Any, np.dtype[np.int64]]]


def draw_events(
    label: int, *, events: int, seed: int, start: int = 0, duration: int = 90_000
) -> Events:
    """Events of class `label`, in the order of their times, as a net is to see them."""
    random = np.random.default_rng([seed, label])
    angle = 2 * np.pi * label / 11
    centre_x, centre_y = 64 + 36 * np.cos(angle), 64 + 20 * np.sin(angle)
    p = random.integers(0, 2, events)
    x = (centre_x + random.normal(0, 6, events)).round().clip(0, SIDE - 1).astype(np.int64)
    y = (centre_y + random.normal(0, 6, events) - 8 * (2 * p - 1)).round()
    t = np.sort(random.integers(start, start + duration, events))
    return {"t": t, "x": x, "y": y.clip(0, SIDE - 1).astype(np.int64), "p": p}


def frames_of(events: Events, timesteps: int, side: int = SIDE) -> np.ndarray[Any, Any]:
    """Counts `[T, 2, side, side]` by number, event by event: an integration that shares no code."""
    frames = np.zeros((timesteps, 2, side, side), dtype=np.int64)
    share = len(events["t"]) // timesteps
    for number, (x, y, p) in enumerate(zip(events["x"], events["y"], events["p"], strict=True)):
        frame = min(number // share, timesteps - 1)
        frames[frame, p, y, x] += 1
    return frames


def write_aedat3(path: Path, events: Events, *, packet: int = 100) -> None:
    """AEDAT 3.1 as in DVS128 Gesture: packets of polarity events, between them packets of another
    kind, which readers pass over. Times of 2**31 us and more overflow."""
    header = (
        b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n"
        b"#Start-Time: 2016-11-10 17:21:19 (TZ-0800)\r\n#!END-HEADER\r\n"
    )
    content = [header]
    overflow = events["t"] >> 31
    starts = [0, *(np.flatnonzero(np.diff(overflow)) + 1), len(overflow)]
    for first, end in pairwise(starts):
        for start in range(first, end, packet):
            part = slice(start, min(start + packet, end))
            count = part.stop - part.start
            t, x, y, p = (events[key][part] for key in "txyp")
            content.append(
                struct.pack("<HHIIIIII", 1, 1, 8, 4, int(overflow[start]), count, count, count)
            )
            words = np.stack([x << 17 | y << 2 | p << 1 | 1, t & 0x7FFFFFFF], 1)
            content.append(words.astype("<u4").tobytes())
            content.append(struct.pack("<HHIIIIII", 0, 1, 8, 4, 0, 1, 1, 1) + b"\xff" * 8)
    path.write_bytes(b"".join(content))


def write_aedat2(path: Path, events: Events) -> None:
    """AEDAT 2.0 as in CIFAR10-DVS: addresses count columns from the right, the lowest bit is 0 for
    ON, everything is big-endian."""
    header = b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# created 2016\r\n"
    address = events["y"] << 8 | (SIDE - 1 - events["x"]) << 1 | (1 - events["p"])
    path.write_bytes(header + np.stack([address, events["t"]], 1).astype(">u4").tobytes())


def gesture_events(trial: int, label: int, *, events: int = 400) -> Events:
    """The events of gesture `label` in trial number `trial`, which lie at times of its own."""
    start = 2**31 - 500_000 + label * 100_000
    return draw_events(label, events=events, seed=trial, start=start)


def write_dvs_gesture(folder: Path, *, train: int = 2, test: int = 1) -> Path:
    """DVS128 Gesture in `folder`: trials of all 11 gestures, with pauses between them whose events
    belong to none, each with its list of gestures; the two lists of trials."""
    folder.mkdir(parents=True, exist_ok=True)
    names: dict[str, list[str]] = {"train": [], "test": []}
    for trial in range(train + test):
        part = "train" if trial < train else "test"
        user = trial + 1 if part == "train" else 24 + trial - train
        stem = f"user{user:02d}_led"
        gestures = [gesture_events(trial, label) for label in range(11)]
        lines = ["class,startTime_usec,endTime_usec"]
        for label in range(11):
            start = 2**31 - 500_000 + label * 100_000
            lines.append(f"{label + 1},{start},{start + 90_000}")
        pauses = [
            draw_events(
                0,
                events=7,
                seed=99,
                start=2**31 - 500_000 + label * 100_000 + 90_000,
                duration=9_000,
            )
            for label in range(11)
        ]
        parts = [one for pair in zip(gestures, pauses, strict=True) for one in pair]
        whole = {key: np.concatenate([one[key] for one in parts]) for key in "txyp"}
        write_aedat3(folder / f"{stem}.aedat", whole)
        (folder / f"{stem}_labels.csv").write_text("\n".join(lines) + "\n")
        names[part].append(f"{stem}.aedat")
    for part, listed in names.items():
        (folder / f"trials_to_{part}.txt").write_text("\n".join(listed) + "\n\n")
    return folder


def image_events(label: int, number: int, *, events: int = 300) -> Events:
    """The events of image `number` of class `label`, as the authors orient them."""
    return draw_events(label, events=events, seed=number)


def write_cifar10_dvs(folder: Path, *, numbers: tuple[int, ...] = (0, 1, 899, 900)) -> Path:
    """CIFAR10-DVS in `folder`: the images `numbers` of each class."""
    for label, name in enumerate(CLASS_NAMES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            write_aedat2(
                folder / name / f"cifar10_{name}_{number}.aedat", image_events(label, number)
            )
    return folder


def digit_events(label: int, number: int) -> Events:
    """The events of recording `number` of a digit, on 34x34 pixels."""
    events = draw_events(label, events=200, seed=number)
    return {**events, "x": events["x"] * 34 // SIDE, "y": events["y"] * 34 // SIDE}


def write_n_mnist(folder: Path, *, train: int = 2, test: int = 1) -> Path:
    """N-MNIST in `folder`: so many recordings of each digit, five bytes an event."""
    for part, numbers in (("Train", range(train)), ("Test", range(train, train + test))):
        for label in range(10):
            (folder / part / str(label)).mkdir(parents=True, exist_ok=True)
            for number in numbers:
                t, x, y, p = (digit_events(label, number)[key] for key in "txyp")
                columns = (x, y, p << 7 | t >> 16, t >> 8 & 0xFF, t & 0xFF)
                content = np.stack(columns, 1).astype(np.uint8).tobytes()
                (folder / part / str(label) / f"{number:05d}.bin").write_bytes(content)
    return folder


def write_event_files(
    root: Path,
    *,
    classes: int = 3,
    train: int = 3,
    test: int = 2,
    sensor: tuple[int, int] = (24, 32),
) -> Path:
    """Recordings of a small camera in train/<class>/*.npz and test/<class>/*.npz."""
    height, width = sensor
    for part, samples in (("train", train), ("test", test)):
        for label in range(classes):
            folder = root / part / f"class{label}"
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(samples):
                random = np.random.default_rng([label, number, part == "test"])
                np.savez(
                    folder / f"{number}.npz",
                    t=np.sort(random.integers(0, 50_000, 120)),
                    x=random.integers(0, width, 120).astype(np.uint16),
                    y=(random.integers(0, height // 3, 120) + label * height // 3).astype(
                        np.uint16
                    ),
                    p=random.integers(0, 2, 120).astype(bool),
                )
    return root


class Silent:
    """Watches a preparation and says nothing."""

    def started(self, recordings: int, kept: int) -> None: ...
    def done(self, path: Path) -> None: ...
    def assembling(self, part: str, samples: int) -> None: ...


def prepare(name: str, *overrides: str, watcher: Any = None) -> Any:
    """The frames of data set or recipe `name`, prepared in this process; the result of it."""
    from clifctl.experiments.data_prepare import prepare_data

    return prepare_data(
        name, overrides, workers=1, skip_bad=False, overwrite=False, watcher=watcher or Silent()
    )
