"""A connection, forward: the sum of the rows of weights of the inputs that are active.

For a tile of the output, lists say which rows of weights each of its places adds up (see
`clifctl.kernels.cpu.lists`); all outputs share them. Weights lie in blocks, rows of some outputs
side by side, one row for each tap and channel, in chunks that stay in the first-level cache. There
are four ways:

windows  any kernel: the list of a place is one range of a list of columns
points   kernels of one tap (linear layers too): a list of channels for each place
patches  few channels: the bits under a window are gathered into one string first
tables   few taps and channels: every four bits of that string choose one of the 16 sums of their
         rows, made beforehand; as fast for any rate

The order in which an output is summed up depends on shapes and on its list alone, so a result does
not depend on tiles or threads.
"""

import numpy as np
import torch
from torch import Tensor

from clifctl.devices import CPU
from clifctl.kernels.cpu import forward_kernels
from clifctl.kernels.cpu.forward_kernels import ENTRY_BYTES, PATTERNS, STEP_BITS, TABLE_BITS
from clifctl.kernels.cpu.forward_tiles import PATCHES, POINTS, TABLES, WINDOWS, Plan
from clifctl.kernels.cpu.geometry import MOST_TAPS, Geometry
from clifctl.kernels.cpu.lists import FEWER, PIXEL_LIST, PLACES, SLACK, SUM_BYTES, WORD
from clifctl.kernels.cpu.packing import offsets_in_memory_order, weight_memory
from clifctl.kernels.cpu.source import Active, bits_bytes
from clifctl.kernels.cpu.threads import run_units
from clifctl.kernels.cpu.vectors import LANES, VECTOR_BYTES
from clifctl.kernels.cpu.workspace import ALIGNMENT, borrowed

# What the tables of a block may take, in the first-level cache [bytes].
TABLE_BYTES = 36 * 1024
# What a chunk of a block of weights may take: 64 channels of 3 x 3 taps. With 16 lanes that is more
# than a first-level cache holds; with less the lists become so short that their ends cost more.
CHUNK_BYTES = 36 * 1024 * LANES // 8
# Places of the output that share their lists.
TILE = 1024
# Entries are 16-bit numbers.
ENTRIES = 1 << 16


class Forward:
    """A connection's forward, prepared for its shape. Raises ValueError for a kernel of more than
    MOST_TAPS."""

    def __init__(self, geometry: Geometry, with_values: bool = False) -> None:
        if geometry.taps > MOST_TAPS:
            raise ValueError(f"a kernel of {geometry.taps} taps; lists allow {MOST_TAPS}")
        self.geometry = geometry
        self._with_values = with_values
        g = geometry
        way = _way(g, with_values)
        times = _vectors(g, way)
        plan, self._scratch = _plan(g, way, times, with_values)
        self._elements = _elements(g)
        self._plan = plan._replace(elements=self._elements.ctypes.data)
        self._numbers = tuple(self._plan)
        self._offsets: dict[bool, tuple[np.ndarray, int]] = {}
        if way == WINDOWS:
            self._tiles = -(-g.samples // plan.tile_samples) * -(-g.out_height // plan.tile_rows)
        else:
            self._tiles = -(-g.samples * g.out_height * g.out_width // plan.places)
        self._size = g.output_shape
        row = g.out_width * g.outputs
        self._stride = (g.out_height * row, 1, row, g.outputs)
        # As long as so many steps of a neuron, about.
        self._work = g.samples * g.out_height * g.out_width * g.outputs * g.taps // 8

    def __call__(self, active: Active, weight: Tensor, bias: Tensor | None) -> Tensor:
        """`weight` `[out, C, kh, kw]` (or `[out, C]`), applied to what is active, plus `bias`
        `[out]`: float32 `[N, out, H', W']`, channels innermost in memory."""
        self._check(active, weight, bias)
        memory, channels_last = weight_memory(weight)
        shift = None if bias is None else bias.detach().contiguous()
        y = torch.empty_strided(self._size, self._stride, device=CPU)
        # Threads share few tiles evenly if the blocks of one can be those of several threads.
        threads = torch.get_num_threads()
        groups = self._plan.blocks if threads > 1 and self._tiles < 8 * threads else 1
        arguments = (
            groups,
            self._numbers,
            active.bits.data_ptr(),
            0 if active.values is None else active.values.data_ptr(),
            memory.data_ptr(),
            self._offsets_of(channels_last),
            float(active.value),
            0 if shift is None else shift.data_ptr(),
            y.data_ptr(),
        )

        def run(first: int, last: int) -> None:
            with borrowed(self._scratch) as scratch:
                forward_kernels.run(first, last, *arguments, scratch)

        run_units(run, self._tiles * groups, self._work)
        return y

    def _check(self, active: Active, weight: Tensor, bias: Tensor | None) -> None:
        """Raises ValueError for what the kernels would read or write out of bounds."""
        g, values = self.geometry, active.values
        fits = active.bits.numel() >= bits_bytes(g.inputs)
        fits &= (values is not None) is self._with_values
        fits &= values is None or (values.numel() == g.inputs and values.is_contiguous())
        fits &= weight.numel() == g.outputs * g.channels * g.taps
        fits &= bias is None or bias.numel() == g.outputs
        if not fits:
            raise ValueError(f"these tensors are not those of a connection {g}")

    def _offsets_of(self, channels_last: bool) -> int:
        """The address of the table that says where each weight goes in its block."""
        if channels_last not in self._offsets:
            places = _weight_places(self.geometry, self._plan)
            table = offsets_in_memory_order(places, channels_last)
            self._offsets[channels_last] = table, table.ctypes.data
        return self._offsets[channels_last][1]


def _way(g: Geometry, with_values: bool) -> int:
    """How to go through a connection."""
    row_bits = g.kernel[1] * g.channels
    # 57 bits are read at once wherever they begin, and 64 from the start of a byte on.
    in_words = row_bits <= 57 or (row_bits <= WORD and g.channels % 8 == 0)
    tables = -(-g.taps * g.channels // STEP_BITS) * STEP_BITS // TABLE_BITS
    if in_words and not with_values and tables * PATTERNS * VECTOR_BYTES <= TABLE_BYTES:
        return TABLES
    if g.taps == 1 and g.padding == (0, 0):
        return POINTS
    return PATCHES if in_words else WINDOWS


def _vectors(g: Geometry, way: int) -> int:
    """Vectors of a row of weights: two, unless one is enough, or the tables of two too large."""
    tables = -(-g.taps * g.channels // STEP_BITS) * STEP_BITS // TABLE_BITS
    too_large = way == TABLES and 2 * tables * PATTERNS * VECTOR_BYTES > TABLE_BYTES
    return 1 if g.outputs <= LANES or too_large else 2


def _plan(g: Geometry, way: int, times: int, with_values: bool) -> tuple[Plan, int]:
    """How the kernels go through a connection, and the size of their scratch memory [bytes]. Its
    `elements` are for the caller to set."""
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
    at, total = {}, 0
    for name, size in sizes.items():
        at[name] = total
        total += -(-(size + SLACK) // ALIGNMENT) * ALIGNMENT
    del at["lists"]
    plan = Plan(
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
    word = WORD if patched or g.channels % 8 == 0 else FEWER
    size = g.channels * g.taps
    rows = _even(size, CHUNK_BYTES // row_bytes // word * word, word)
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
    word = WORD if g.channels % 8 == 0 else FEWER
    fit = max(8, CHUNK_BYTES // row_bytes // g.taps // 8 * 8)
    channels = min(_even(g.channels, min(fit, word), 8), most)
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


def _even(total: int, most: int, multiple: int) -> int:
    """The size of as few equal parts of `total` as there can be of `most` each, a multiple."""
    parts = -(-total // most)
    return -(-total // (parts * multiple)) * multiple


def _elements(g: Geometry) -> np.ndarray:
    """The elements of the input `[H, W, C]` that lie under the taps of a window, channel by
    channel, from its first one on."""
    rows, columns, channels = np.indices((*g.kernel, g.channels))
    return ((rows * g.width + columns) * g.channels + channels).reshape(-1).astype(np.uint32)


def _weight_places(g: Geometry, plan: Plan) -> np.ndarray:
    """Where the weight of each channel and tap goes in its block [bytes]: `[C, taps]`."""
    channels, taps = np.indices((g.channels, g.taps))
    if plan.way == WINDOWS:
        chunks, channels = np.divmod(channels, plan.chunk_channels)
        tap_rows, tap_columns = np.divmod(taps, g.kernel[1])
        rows = (tap_columns * g.kernel[0] + tap_rows) * plan.chunk_channels + channels
    else:
        chunks, rows = np.divmod(taps * g.channels + channels, plan.chunk_rows)
    return chunks * plan.chunk_bytes + rows * plan.row_bytes
