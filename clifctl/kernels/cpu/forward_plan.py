"""How the forward of a connection goes through it: what its shape decides (see
`clifctl.kernels.cpu.forward` for the terms)."""

from typing import NamedTuple

import numpy as np

from clifctl.kernels.cpu.geometry import Geometry, equal_part, round_up
from clifctl.kernels.cpu.lists import PIXEL_LIST, PLACES, SUM_BYTES, UNALIGNED_WORD, WORD
from clifctl.kernels.cpu.vectors import LANES, VECTOR_BYTES
from clifctl.kernels.cpu.workspace import buffers

# Entries of lists are in units of so many bytes.
ENTRY_BYTES = 8
# A table holds the sums of the rows of so many bits, for each of their 2^4 patterns.
TABLE_BITS, PATTERNS = 4, 16
# Bits that are looked up in a step.
STEP_BITS = 16
# What the tables of a block may take, in the first-level cache [bytes].
TABLE_BYTES = 36 * 1024
# What a chunk of a block of weights may take: 64 channels of 3 x 3 taps. With 16 lanes that is more
# than a first-level cache holds; with less the lists become so short that their ends cost more.
CHUNK_BYTES = 36 * 1024 * LANES // 8
# Places of the output that share their lists.
TILE = 1024
# Entries are 16-bit numbers.
ENTRIES = 1 << 16
# Ways to go through a connection, described in `clifctl.kernels.cpu.forward`.
WINDOWS, POINTS, PATCHES, TABLES = range(4)


class ForwardPlan(NamedTuple):
    """What the kernels know of a connection: its shape, and how they go through it."""

    samples: int
    channels: int
    height: int
    width: int
    outputs: int
    kernel_rows: int
    kernel_columns: int
    stride_rows: int
    stride_columns: int
    padding_rows: int
    padding_columns: int
    out_height: int
    out_width: int
    way: int
    # Blocks of outputs: how many, outputs of each, bytes of a row of their weights and of all.
    blocks: int
    block: int
    row_bytes: int
    block_bytes: int
    # Chunks of the inputs: how many, channels of each (windows), rows of weights, bytes with a row
    # of zeros at the end.
    chunks: int
    chunk_channels: int
    chunk_rows: int
    chunk_bytes: int
    # Bits that are read at once, and words of a patch.
    word_bits: int
    patch_words: int
    # Tiles: all rows of `tile_samples` or `tile_rows` of one (windows), or so many places.
    tile_samples: int
    tile_rows: int
    places: int
    # Parts of an output row: places of each, and columns of the input that they read (windows).
    strip: int
    columns: int
    # Entries are numbered from the first column of a strip: so many rows of weights for each
    # further one; and what a row counts in an entry.
    pitch: int
    unit: int
    # Where things lie in scratch memory [bytes]; pixels' lists at 0.
    counts_at: int
    patches_at: int
    starts_at: int
    sums_at: int
    rows_at: int
    weights_at: int
    listed_at: int
    held_at: int
    # Addresses of tables: `lists.PLACES`; of each row of weights (points, patches) its element of
    # the input, from the first one of a window on.
    table: int
    elements: int


def _way(g: Geometry, with_values: bool) -> int:
    """How to go through a connection."""
    row_bits = g.kernel[1] * g.channels
    # 57 bits are read at once wherever they begin, and 64 from the start of a byte on.
    in_words = row_bits <= 57 or (row_bits <= WORD and g.channels % 8 == 0)
    tables = _tables(g)
    if in_words and not with_values and tables * PATTERNS * VECTOR_BYTES <= TABLE_BYTES:
        return TABLES
    if g.taps == 1 and g.padding == (0, 0):
        return POINTS
    return PATCHES if in_words else WINDOWS


def _tables(g: Geometry) -> int:
    """Tables of a block of outputs."""
    return round_up(g.taps * g.channels, STEP_BITS) // TABLE_BITS


def _vectors(g: Geometry, way: int) -> int:
    """Vectors of a row of weights: two, unless one is enough, or the tables of two too large."""
    tables = _tables(g)
    too_large = way == TABLES and 2 * tables * PATTERNS * VECTOR_BYTES > TABLE_BYTES
    return 1 if g.outputs <= LANES or too_large else 2


def plan_of(g: Geometry, with_values: bool) -> tuple[ForwardPlan, int]:
    """The plan for a connection, and the size of the scratch memory of its kernels [bytes]. Its
    `elements` are for the caller to set."""
    way = _way(g, with_values)
    times = _vectors(g, way)
    row_bytes = times * VECTOR_BYTES
    ways = (_windows if way == WINDOWS else _points)(g, way, row_bytes)
    chunks, rows = ways["chunks"], ways["chunk_rows"]
    chunk_bytes = (rows + 1) * row_bytes
    if way == WINDOWS:
        samples, height = ways["tile_samples"], ways["tile_rows"]
        pixels = samples * min(g.height, (height - 1) * g.stride[0] + g.kernel[0]) * g.width
        places = samples * height * g.out_width
        lines = samples * height * -(-g.out_width // ways["strip"])
        entries = lines * ways["columns"] * g.kernel[0] * ways["chunk_channels"]
    else:
        pixels, places = 0, ways["places"]
        entries = places * rows
    blocks = -(-g.outputs // (times * LANES))
    block_bytes = chunks * chunk_bytes
    rows_bytes = 0
    if way == TABLES:
        rows_bytes, entries, chunks = block_bytes, 0, 0
        block_bytes = ways["patch_words"] * WORD // TABLE_BITS * PATTERNS * row_bytes
    sizes = {
        "lists": PIXEL_LIST * pixels,
        "counts_at": pixels,
        "patches_at": 8 * ways["patch_words"] * ways["places"],
        "starts_at": 4 * (ways["columns"] + 1),
        "sums_at": chunks * places * SUM_BYTES,
        "rows_at": rows_bytes,
        "weights_at": blocks * block_bytes,
        "listed_at": 2 * chunks * entries,
        "held_at": 4 * chunks * entries if with_values else 0,
    }
    at, total = buffers(sizes)
    del at["lists"]
    plan = ForwardPlan(
        samples=g.samples,
        channels=g.channels,
        height=g.height,
        width=g.width,
        outputs=g.outputs,
        kernel_rows=g.kernel[0],
        kernel_columns=g.kernel[1],
        stride_rows=g.stride[0],
        stride_columns=g.stride[1],
        padding_rows=g.padding[0],
        padding_columns=g.padding[1],
        out_height=g.out_height,
        out_width=g.out_width,
        way=way,
        blocks=blocks,
        block=times * LANES,
        row_bytes=row_bytes,
        block_bytes=block_bytes,
        chunk_bytes=chunk_bytes,
        unit=row_bytes // ENTRY_BYTES,
        table=PLACES.ctypes.data,
        elements=0,
        **ways,
        **at,
    )
    return plan, total


def _points(g: Geometry, way: int, row_bytes: int) -> dict[str, int]:
    """The part of a plan that is peculiar to points, patches and tables."""
    patched = way != POINTS
    word = WORD if patched or g.channels % 8 == 0 else UNALIGNED_WORD
    size = g.channels * g.taps
    rows = equal_part(size, CHUNK_BYTES // row_bytes // word * word, word)
    return {
        "chunks": -(-size // rows),
        "chunk_channels": 0,
        "chunk_rows": rows,
        "word_bits": word,
        "patch_words": -(-size // WORD) if patched else 0,
        "tile_samples": 0,
        "tile_rows": 0,
        "places": min(TILE, g.samples * g.out_height * g.out_width),
        "strip": 0,
        "columns": 0,
        "pitch": 0,
    }


def _windows(g: Geometry, _: int, row_bytes: int) -> dict[str, int]:
    """The part of a plan that is peculiar to windows."""
    entries = ENTRIES * ENTRY_BYTES // row_bytes
    most = (entries - 1) // g.taps
    word = WORD if g.channels % 8 == 0 else UNALIGNED_WORD
    fit = max(8, CHUNK_BYTES // row_bytes // g.taps // 8 * 8)
    channels = min(equal_part(g.channels, min(fit, word), 8), most)
    step, pitch = g.stride[1], g.kernel[0] * channels if g.kernel[1] > 1 else 0
    strip = (entries - g.taps * channels - 1) // max(1, step * pitch) + 1
    strip = min(g.out_width, strip)
    whole = g.out_height * g.out_width <= TILE
    return {
        "chunks": -(-g.channels // channels),
        "chunk_channels": channels,
        "chunk_rows": g.taps * channels,
        "word_bits": word,
        "patch_words": 0,
        "tile_samples": min(g.samples, TILE // (g.out_height * g.out_width)) if whole else 1,
        "tile_rows": g.out_height if whole else max(1, TILE // g.out_width),
        "places": 0,
        "strip": strip,
        "columns": (strip - 1) * step + g.kernel[1],
        "pitch": pitch,
    }


def weight_places(g: Geometry, plan: ForwardPlan) -> np.ndarray:
    """Where the weight of each channel and tap goes in its block [bytes]: `[C, taps]`."""
    channels, taps = np.indices((g.channels, g.taps))
    if plan.way == WINDOWS:
        chunks, channels = np.divmod(channels, plan.chunk_channels)
        tap_rows, tap_columns = np.divmod(taps, g.kernel[1])
        rows = (tap_columns * g.kernel[0] + tap_rows) * plan.chunk_channels + channels
    else:
        chunks, rows = np.divmod(taps * g.channels + channels, plan.chunk_rows)
    return chunks * plan.chunk_bytes + rows * plan.row_bytes
