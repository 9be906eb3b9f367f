"""Writers of tiny data sets in their real on-disk formats (the fixtures `on_disk`, `data_root`).

Images are noise around a colour that belongs to the class, so that a net can learn a little. Labels
go round: sample i of a split has label i modulo the classes.
"""

import gzip
import pickle
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def images(samples: int, classes: int, side: int, *, seed: int, channels: int = 3) -> Pixels:
    """uint8 `[samples, channels, side, side]`."""
    random = np.random.default_rng(seed)
    colours = np.random.default_rng(0).integers(40, 216, (classes, channels, 1, 1))
    noise = random.integers(-40, 41, (samples, channels, side, side))
    return (colours[np.arange(samples) % classes] + noise).clip(0, 255).astype(np.uint8)


def write_batch(path: Path, pixels: Pixels, entries: dict[str, Any]) -> None:
    """One pickled batch of CIFAR's format: rows of 3072 bytes in the key `data`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "batch_label": path.name,
        "data": pixels.reshape(len(pixels), -1),
        "filenames": [f"image_{number}.png" for number in range(len(pixels))],
        **entries,
    }
    path.write_bytes(pickle.dumps(content, protocol=2))


def write_cifar10(root: Path, *, batch_samples: int = 40, test_samples: int = 20) -> Path:
    """CIFAR-10 below `root`: five training batches, a test batch, the names of the classes."""
    folder = root / "cifar-10-batches-py"
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for seed, name in enumerate(names):
        samples = test_samples if name == "test_batch" else batch_samples
        pixels = images(samples, 10, 32, seed=seed)
        write_batch(folder / name, pixels, {"labels": [i % 10 for i in range(samples)]})
    meta = {"label_names": [f"class{i}" for i in range(10)], "num_vis": 3072}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))
    return folder


def write_cifar100(root: Path, *, train_samples: int = 200, test_samples: int = 100) -> Path:
    """CIFAR-100 below `root`: a training and a test batch, the names of the classes."""
    folder = root / "cifar-100-python"
    for seed, (name, samples) in enumerate((("train", train_samples), ("test", test_samples))):
        labels = [i % 100 for i in range(samples)]
        write_batch(
            folder / name,
            images(samples, 100, 32, seed=seed),
            {"fine_labels": labels, "coarse_labels": [label // 5 for label in labels]},
        )
    meta = {"fine_label_names": [f"class{i}" for i in range(100)]}
    (folder / "meta").write_bytes(pickle.dumps(meta, protocol=2))
    return folder


def write_idx(file: Path, array: Pixels, *, packed: bool = False) -> None:
    """An idx file of bytes, packed with gzip or not."""
    file.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape)
    content = header + array.tobytes()
    file.write_bytes(gzip.compress(content) if packed else content)


def write_mnist(folder: Path, *, train: int = 60, test: int = 20, packed: bool = False) -> Path:
    """The four files of MNIST or Fashion-MNIST in `folder`, their names with .gz where packed."""
    for seed, (part, samples) in enumerate((("train", train), ("t10k", test))):
        pixels = images(samples, 10, 28, seed=seed, channels=1)[:, 0]
        labels = (np.arange(samples) % 10).astype(np.uint8)
        for name, array in (("images-idx3", pixels), ("labels-idx1", labels)):
            file = folder / f"{part}-{name}-ubyte{'.gz' if packed else ''}"
            write_idx(file, array, packed=packed)
    return folder


def write_image(path: Path, pixels: Pixels) -> None:
    """One image `[channels, H, W]` in the format of its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    Image.fromarray(image).save(path)


def write_tiny_imagenet(
    folder: Path, *, classes: int = 200, train_per_class: int = 1, test_samples: int = 20
) -> Path:
    """Tiny-ImageNet in `folder`, its lists and JPEG files; wnids.txt is not sorted, as published.

    Labels go by the sorted wnids n00000000, n00000001, ...; every fifth image is grey.
    """
    wnids = [f"n{number:08d}" for number in range(classes)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "wnids.txt").write_text("\n".join(reversed(wnids)) + "\n")
    (folder / "words.txt").write_text("".join(f"{wnid}\tword {wnid}\n" for wnid in wnids))
    train = images(classes * train_per_class, classes, 64, seed=0)
    for number, pixels in enumerate(train):
        wnid = wnids[number % classes]
        path = folder / "train" / wnid / "images" / f"{wnid}_{number // classes}.JPEG"
        write_image(path, pixels[:1] if number % 5 == 4 else pixels)
    lines = []
    for number, pixels in enumerate(images(test_samples, classes, 64, seed=1)):
        write_image(folder / "val" / "images" / f"val_{number}.JPEG", pixels)
        lines.append(f"val_{number}.JPEG\t{wnids[number % classes]}\t0\t0\t63\t63\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    return folder


def write_image_folder(
    root: Path, *, classes: int = 3, side: int = 16, train: int = 4, test: int = 2
) -> Path:
    """PNG files in `root`/train/<class>/ and `root`/test/<class>/, so many a class."""
    for seed, (part, samples) in enumerate((("train", train), ("test", test))):
        for number, pixels in enumerate(images(classes * samples, classes, side, seed=seed)):
            name = f"class{number % classes}"
            write_image(root / part / name / f"{number}.png", pixels)
    return root


def write_npz(
    file: Path,
    *,
    classes: int = 4,
    side: int = 8,
    train: int = 24,
    test: int = 8,
    dtype: str = "uint8",
) -> Path:
    """Arrays x_train, y_train, x_test, y_test of images `[3, side, side]`."""
    arrays: dict[str, Any] = {}
    for seed, (part, samples) in enumerate((("train", train), ("test", test))):
        arrays[f"x_{part}"] = images(samples, classes, side, seed=seed).astype(dtype)
        arrays[f"y_{part}"] = np.arange(samples) % classes
    np.savez(file, **arrays)
    return file


def heidelberg_spikes(label: int, *, seed: int) -> tuple[Any, Any]:
    """Times (float16) and channels (uint16) of a recording, around a channel of its class."""
    random = np.random.default_rng([seed, label])
    spikes = int(random.integers(1, 90))
    times = np.sort(random.random(spikes) * 1.3).astype(np.float16)
    units = (label * 19 + random.integers(0, 300, spikes)) % 700
    return times, units.astype(np.uint16)


def write_heidelberg(
    file: Path, *, classes: int, recordings: int, seed: int = 0, speakers: int | None = 5
) -> Path:
    """One file of SHD or SSC: lists of any length, as the published ones; who speaks where SHD's
    says so. Recording i has label i modulo the classes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as written:
        kinds = {"times": np.float16, "units": np.uint16}
        lists = {
            name: written.create_dataset(
                f"spikes/{name}", (recordings,), dtype=h5py.vlen_dtype(kind)
            )
            for name, kind in kinds.items()
        }
        for number in range(recordings):
            times, units = heidelberg_spikes(number % classes, seed=seed + number)
            lists["times"][number], lists["units"][number] = times, units
        numbers = np.arange(recordings)
        written["labels"] = (numbers % classes).astype(np.uint16)
        written["extra/keys"] = np.array([f"word{i}".encode() for i in range(classes)])
        if speakers:
            written["extra/speaker"] = (numbers % speakers).astype(np.uint16)
    return file


def write_shd(root: Path) -> Path:
    """SHD: 40 training recordings of 5 speakers, and 21 test recordings."""
    write_heidelberg(root / "shd_train.h5", classes=20, recordings=40)
    write_heidelberg(root / "shd_test.h5", classes=20, recordings=21, seed=100)
    return root


def write_ssc(root: Path) -> Path:
    """SSC: 36, 7 and 9 recordings."""
    for seed, (part, recordings) in enumerate((("train", 36), ("valid", 7), ("test", 9))):
        file = root / f"ssc_{part}.h5"
        write_heidelberg(file, classes=35, recordings=recordings, seed=100 * seed, speakers=None)
    return root
