"""Image files to one uint8 tensor."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from clifctl.data.folders import Found, files_in
from clifctl.data.images import Place
from clifctl.errors import DataError
from clifctl.reading import MIB, open_regular, size_bytes

# PIL's name of a format -> the endings of its files. PIL goes by what is in a file, not by its
# ending, and knows formats for which it starts other programs: no format is tried but these.
FORMATS = {
    "BMP": {".bmp"},
    "GIF": {".gif"},
    "JPEG": {".jfif", ".jpe", ".jpeg", ".jpg"},
    "PNG": {".png"},
    "PPM": {".pbm", ".pgm", ".pnm", ".ppm"},
    "TIFF": {".tif", ".tiff"},
    "WEBP": {".webp"},
}
ENDINGS = frozenset().union(*FORMATS.values())
# Images too, which must not be passed over as what is none.
UNREAD = frozenset(
    {".avif", ".dng", ".exr", ".hdr", ".heic", ".heif", ".ico", ".jp2", ".jxl", ".psd", ".svg"}
    | {".tga"}
)
# Of any image that a recipe may ask for. A decoder may hold a whole file, of 8 bytes a pixel.
MOST_PIXELS = 4096**2
# A strip whose shorter side is brought to the size of a net takes as many times its memory.
MOST_RATIO = 20
MOST_BYTES = 8 * MOST_PIXELS + 32 * MIB
MOST_THREADS = 8  # PIL decodes outside Python's lock
ORIENTATION = 0x0112  # EXIF's: 1 is upright
Item = TypeVar("Item")
Fit = Callable[[Any], Any]  # an image of PIL to one of the size that is needed


def image_files(folder: Path, place: Place) -> Found:
    """The image files below `folder`, at any depth. Raises DataError for images of a kind that is
    not read, and as `files_in` does."""
    found = files_in(folder, ENDINGS, place, below=True)
    unread = [path for path in found.others if path.suffix.lower() in UNREAD]
    if unread:
        raise place.error(
            f"'{unread[0]}' is an image in a format that is not supported",
            hint=f"save it as one of {', '.join(sorted(ENDINGS))}, or remove it",
        )
    return found


def decode(
    paths: Sequence[Path],
    place: Place,
    *,
    channels: int,
    size: int,
    threads: int = MOST_THREADS,
    fits: Sequence[Fit] | None = None,
) -> Tensor:
    """The images as uint8 `[N, channels, size, size]`; colour is converted, size is not, unless by
    `fits`, one for each image.

    Of 16 bits the upper 8 are taken. EXIF's rotation is not applied. Raises DataError naming the
    first file that is no image, is cut off, or is of another size (with `fits`: too large).
    """
    pixels = np.empty((len(paths), channels, size, size), dtype=np.uint8)

    def read(number: int) -> None:
        fit = None if fits is None else fits[number]
        image = _read(paths[number], place, channels, size, fit)
        pixels[number] = image.reshape(size, size, channels).transpose(2, 0, 1)

    for _ in _in_threads(read, range(len(paths)), threads):
        pass
    return torch.from_numpy(pixels)


@dataclass(frozen=True)
class Examined:
    """Images that can all be read: the first one of each size (width, height) [pixels], and how
    many ask to be shown turned or mirrored."""

    sizes: dict[tuple[int, int], Path]
    turned: int


def examine(paths: Sequence[Path], place: Place) -> Examined:
    """Decode all images and keep none. Raises DataError naming the first that cannot be read."""

    def look(path: Path) -> tuple[tuple[int, int], bool]:
        with _opened(path, place) as image:
            _require_few_pixels(image, path, place)
            image.load()
            return image.size, _turned(image)

    sizes: dict[tuple[int, int], Path] = {}
    turned = 0
    for path, (size, is_turned) in zip(paths, _in_threads(look, paths, MOST_THREADS), strict=True):
        sizes.setdefault(size, path)
        turned += is_turned
    return Examined(sizes, turned)


def _in_threads(work: Callable[[Any], Item], items: Sequence[Any], threads: int) -> Iterator[Item]:
    """`work` of each item, in order; the first error ends it."""
    with ThreadPoolExecutor(min(threads, os.cpu_count() or 1)) as pool:
        try:
            yield from pool.map(work, items)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _opened(path: Path, place: Place) -> Iterator[Any]:
    """PIL's image of the file `path`: the one place where images are opened.

    Raises DataError for one that is missing, is no image or holds several, has pixels without a
    range of their own, or turns out to be broken while it is used.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with open_regular(path) as file:
            if (size := size_bytes(file)) > MOST_BYTES:
                raise ValueError(f"it has {size:,} bytes, at most {MOST_BYTES:,} are read")
            with Image.open(file, formats=tuple(FORMATS)) as image:
                _require_one(image, path, place)
                yield image
    except DataError:
        raise
    except FileNotFoundError:
        raise place.error(f"'{path}' is missing") from None
    except UnidentifiedImageError:
        raise place.error(
            f"'{path}' is not an image, or is cut off (it is none of {', '.join(FORMATS)})",
            hint="replace it, or remove it",
        ) from None
    except Exception as unreadable:
        # PIL raises whatever broken bytes make a decoder raise; the file is refused as a whole.
        raise place.error(
            f"'{path}' is not an image, or is cut off ({unreadable})",
            hint="replace it, or remove it",
        ) from unreadable


def _require_one(image: Any, path: Path, place: Place) -> None:
    # A camera's MPO is a JPEG with views of the same behind it.
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:
        raise place.error(
            f"'{path}' holds {frames} images", hint="save the one that counts, by itself"
        )
    if image.mode in ("I", "F") and not _of_16_bits(image):
        raise place.error(
            f"'{path}' has pixels of 32 bits, for which no value is defined as white",
            hint="save it with 8 or 16 bits per channel",
        )


def _of_16_bits(image: Any) -> bool:
    """Whether it is grey with 65535 as white; PIL gives those of two formats a wider type."""
    wider = image.mode == "I" and image.format in ("PNG", "PPM")
    return wider or str(image.mode).startswith("I;16")


def _read(path: Path, place: Place, channels: int, size: int, fit: Fit | None) -> np.ndarray:
    """One image `[size, size]` or `[size, size, 3]`."""
    from PIL import Image

    with _opened(path, place) as image:
        if fit is not None:
            _require_few_pixels(image, path, place)
        elif image.size != (size, size):
            raise place.error(
                f"'{path}' has {image.width}x{image.height} pixels, {size}x{size} are needed",
                hint="resize the images beforehand: nothing is resized silently; or, for "
                "image_folder, data.resize=imagenet",
            )
        if _of_16_bits(image):
            # As PIL itself does with 16 bits of colour.
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        image = image.convert("RGB" if channels == 3 else "L")
        return np.asarray(image if fit is None else fit(image))


def _require_few_pixels(image: Any, path: Path, place: Place) -> None:
    """Raise DataError for an image that takes too much memory, as it is or resized."""
    if image.width * image.height > MOST_PIXELS:
        raise place.error(
            f"'{path}' has {image.width}x{image.height} pixels, too many to be read",
            hint="resize the images beforehand",
        )
    if max(image.size) > MOST_RATIO * min(image.size):
        raise place.error(
            f"'{path}' has {image.width}x{image.height} pixels: one side is more than "
            f"{MOST_RATIO} times as long as the other",
            hint="crop it beforehand, or remove it",
        )


def size_of(path: Path, place: Place) -> tuple[int, int]:
    """Width and height [pixels], of which the head of the file tells. Raises DataError."""
    with _opened(path, place) as image:
        width, height = image.size
        return width, height


def _turned(image: Any) -> bool:
    orientation = 1
    with suppress(Exception):  # nothing else is wanted of it: broken EXIF data harm nobody
        orientation = image.getexif().get(ORIENTATION, 1)
    return orientation in range(2, 9)
