"""Image files to one uint8 tensor."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BufferedReader
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clifctl.data.images import Place
from clifctl.reading import MIB, open_regular, size_bytes

# ending -> PIL's name of the format. PIL goes by what is in a file, not by its ending, and knows
# formats for which it starts other programs: no format is tried but these.
FORMATS = {".jpeg": "JPEG", ".jpg": "JPEG", ".png": "PNG", ".bmp": "BMP", ".webp": "WEBP"}
ENDINGS = frozenset(FORMATS)
# A decoder may hold a whole file: 8 bytes a pixel are the most that a format stores.
BYTES_PER_PIXEL = 8
BYTES_BESIDE_PIXELS = 64 * MIB
MOST_THREADS = 8  # PIL decodes outside Python's lock


def image_files(folder: Path) -> list[Path]:
    """The image files below `folder`, at any depth, in the order of their paths."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)


def decode(
    paths: Sequence[Path], place: Place, *, channels: int, size: int, threads: int = MOST_THREADS
) -> Tensor:
    """The images as uint8 `[N, channels, size, size]`; colour is converted, size is not.

    Raises DataError naming the first file that is no image, is cut off, or is of another size.
    """
    pixels = np.empty((len(paths), channels, size, size), dtype=np.uint8)

    def read(number: int) -> None:
        image = _read(paths[number], place, channels, size)
        pixels[number] = image.reshape(size, size, channels).transpose(2, 0, 1)

    with ThreadPoolExecutor(min(threads, os.cpu_count() or 1)) as pool:
        try:
            for _ in pool.map(read, range(len(paths))):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return torch.from_numpy(pixels)


def _read(path: Path, place: Place, channels: int, size: int) -> np.ndarray:
    """One image `[size, size]` or `[size, size, 3]`."""
    from PIL import Image, UnidentifiedImageError

    known = tuple(dict.fromkeys(FORMATS.values()))
    given = (size, size)
    try:
        with open_regular(path) as file:
            _require_size(file, size)
            with Image.open(file, formats=known) as image:
                # What the head of the file says, before anything is decoded.
                given = image.size
                if given == (size, size):
                    return np.asarray(image.convert("RGB" if channels == 3 else "L"))
    except FileNotFoundError:
        raise place.error(f"'{path}' is missing") from None
    except UnidentifiedImageError:
        raise place.error(
            f"'{path}' is no image, or a cut-off one (it is none of {', '.join(known)})"
        ) from None
    except Exception as unreadable:
        # PIL raises whatever broken bytes make a decoder raise; the file is refused as a whole.
        raise place.error(f"'{path}' is no image, or a cut-off one ({unreadable})") from unreadable
    raise place.error(
        f"'{path}' has {given[0]}x{given[1]} pixels, {size}x{size} are needed",
        hint="resize the images beforehand: nothing is resized silently",
    )


def _require_size(file: BufferedReader, size: int) -> None:
    """Raise ValueError for a file that is too large for an image of `size` x `size` pixels."""
    most = BYTES_PER_PIXEL * size * size + BYTES_BESIDE_PIXELS
    if (given := size_bytes(file)) > most:
        raise ValueError(f"it has {given:,} bytes, at most {most:,} are read")
