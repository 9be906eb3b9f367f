"""A connection, forward: the sum of the rows of weights of the inputs that are active.

For a tile of the output, lists say which rows of weights each of its places adds up (see
`clifctl.kernels.cpu.lists`); all outputs share them. Weights lie in blocks, rows of some outputs
side by side, one row for each tap and channel, in chunks that stay in the first-level cache. Three
kinds of connections differ in how lists are made alone:

windows  any kernel: the list of a place is one range of a list of columns
points   kernels of one tap (linear layers too): a list of channels for each place
patches  few taps and channels: the bits under a window are gathered into one string first

The order in which an output is summed up depends on shapes and on its list alone, so a result does
not depend on tiles or threads.
"""

import numpy as np
import torch
from torch import Tensor

from clifctl.kernels.cpu import forward_kernels
from clifctl.kernels.cpu.forward_kernels import ENTRY_BYTES, Plan
from clifctl.kernels.cpu.geometry import Geometry
from clifctl.kernels.cpu.lists import FEWER, PIXEL_LIST, PLACES, SLACK, WORD
from clifctl.kernels.cpu.packing import offsets_in_memory_order, weight_memory
from clifctl.kernels.cpu.source import Active
from clifctl.kernels.cpu.vectors import LANES, VECTOR_BYTES
from clifctl.kernels.cpu.workspace import ALIGNMENT, borrowed
from clifctl.kernels.threads import run_units

# What a chunk of a block of weights may take in the first-level cache [bytes].
CHUNK_BYTES = 36 * 1024
# Places of the output that share their lists.
TILE = 1024
# Entries are 16-bit numbers.
ENTRIES = 1 << 16
# Bits of a row of a window that are read at once, wherever they begin.
PATCH_BITS = 57


class Forward:
    """A connection's forward, prepared for its shape. Raises ValueError for a kernel of more taps
    than entries can number (4096 and more)."""

    def __init__(self, geometry: Geometry, with_values: bool = False) -> None:
        self.geometry = geometry
        self._with_values = with_values
        g = geometry
        times = 1 if g.outputs <= LANES else 2
        names = {1: "ONE", 2: "TWO"}
        self._kernel = getattr(forward_kernels, names[times] + "_WITH_VALUES" * with_values)
        plan, self._scratch = _plan(geometry, times, with_values)
        self._elements = _elements(geometry)
        self._plan = plan._replace(elements=self._elements.ctypes.data)
        self._numbers = tuple(self._plan)
        self._offsets: dict[bool, np.ndarray] = {}
        p = self._plan
        if p.places:
            self._tiles = -(-g.samples * g.out_height * g.out_width // p.places)
        else:
            self._tiles = -(-g.samples // p.tile_samples) * -(-g.out_height // p.tile_rows)
        self._size = (g.samples, g.outputs, g.out_height, g.out_width)
        row = g.out_width * g.outputs
        self._stride = (g.out_height * row, 1, row, g.outputs)
        self._work = g.samples * g.outputs * g.out_height * g.out_width * g.taps

    def __call__(self, active: Active, weight: Tensor, bias: Tensor | None) -> Tensor:
        """`weight` `[out, C, kh, kw]` (or `[out, C]`), applied to what is active, plus `bias`
        `[out]`: float32 `[N, out, H', W']`, channels innermost in memory."""
        memory, channels_last = weight_memory(weight)
        y = torch.empty_strided(self._size, self._stride)
        shift = 0 if bias is None else bias.detach().contiguous().data_ptr()
        values = 0 if active.values is None else active.values.data_ptr()
        threads = torch.get_num_threads()
        groups = min(self._plan.blocks, max(1, -(-threads // self._tiles)))
        addresses = active.bits.data_ptr(), values, memory.data_ptr()
        offsets, at = self._offsets_of(channels_last), y.data_ptr()

        def run(first: int, last: int) -> None:
            with borrowed(self._scratch) as scratch:
                self._kernel(
                    first, last, groups, self._numbers, *addresses, offsets, active.value,
                    shift, at, scratch,
                )  # fmt: skip

        run_units(run, self._tiles * groups, self._work)
        return y

    def _offsets_of(self, channels_last: bool) -> int:
        """The address of the table that says where each weight goes in its block."""
        if channels_last not in self._offsets:
            places = _weight_places(self.geometry, self._plan)
            table = offsets_in_memory_order(places, channels_last)
            self._offsets[channels_last] = table
        return self._offsets[channels_last].ctypes.data


def _plan(g: Geometry, times: int, with_values: bool) -> tuple[Plan, int]:
    """How the kernels go through a connection, and the size of their scratch memory [bytes]. Its
    `elements` are for the caller to set."""
    patched = g.taps > 1 and g.kernel[1] * g.channels <= PATCH_BITS
    by_points = patched or (g.taps == 1 and g.padding == (0, 0))
    row_bytes = times * VECTOR_BYTES
    ways = (_points if by_points else _windows)(g, row_bytes, patched)
    rows, chunks = ways["chunk_rows"], ways["chunks"]
    chunk_bytes = (rows + 1) * row_bytes
    samples, height = ways["tile_samples"], ways["tile_rows"]
    if by_points:
        pixels, lines, entries = 0, 1, chunks * ways["places"] * rows
    else:
        pixels = samples * min(g.height, (height - 1) * g.stride[0] + g.kernel[0]) * g.width
        lines = samples * height * -(-g.out_width // ways["strip"])
        entries = chunks * lines * ways["columns"] * g.kernel[0] * ways["chunk_channels"]
    sizes = {
        "lists": PIXEL_LIST * pixels,
        "counts_at": pixels,
        "patches_at": 8 * ways["patch_words"] * ways["places"],
        "starts_at": 4 * chunks * lines * (ways["columns"] + 1),
        "block_at": chunks * chunk_bytes,
        "listed_at": 2 * entries,
        "held_at": 4 * entries if with_values else 0,
    }
    places, total = {}, 0
    for name, size in sizes.items():
        places[name] = total
        total += -(-(size + SLACK) // ALIGNMENT) * ALIGNMENT
    del places["lists"]
    plan = Plan(
        samples=g.samples, channels=g.channels, height=g.height, width=g.width, outputs=g.outputs,
        kernel_rows=g.kernel[0], kernel_columns=g.kernel[1], stride_rows=g.stride[0],
        stride_columns=g.stride[1], padding_rows=g.padding[0], padding_columns=g.padding[1],
        out_height=g.out_height, out_width=g.out_width,
        blocks=-(-g.outputs // (times * LANES)), block=times * LANES,
        row_bytes=row_bytes, chunk_bytes=chunk_bytes, unit=row_bytes // ENTRY_BYTES,
        table=PLACES.ctypes.data, elements=0, **ways, **places,
    )  # fmt: skip
    return plan, total


def _points(g: Geometry, row_bytes: int, patched: bool) -> dict[str, int]:
    """The part of a plan that is peculiar to points and patches."""
    word = WORD if patched or g.channels % 8 == 0 else FEWER
    size = g.channels * g.taps
    most = CHUNK_BYTES // row_bytes // word * word
    rows = _even(size, most, word)
    places = min(TILE, g.samples * g.out_height * g.out_width)
    return {
        "chunks": -(-size // rows), "chunk_channels": 0, "chunk_rows": rows,
        "word_bits": word, "patch_words": -(-size // WORD) if patched else 0,
        "tile_samples": 0, "tile_rows": 0, "places": places,
        "strip": places, "columns": places, "span": 1, "step": 1, "pitch": 0,
    }  # fmt: skip


def _windows(g: Geometry, row_bytes: int, _: bool) -> dict[str, int]:
    """The part of a plan that is peculiar to windows."""
    entries = ENTRIES * ENTRY_BYTES // row_bytes
    most = (entries - 1) // g.taps
    if most == 0:
        raise ValueError(f"a kernel of {g.kernel[0]} x {g.kernel[1]} is too large for lists")
    word = WORD if g.channels % 8 == 0 else FEWER
    fit = max(8, CHUNK_BYTES // row_bytes // g.taps // 8 * 8)
    channels = min(_even(g.channels, min(fit, word), 8), most)
    rows, step = g.taps * channels, g.stride[1]
    pitch = g.kernel[0] * channels if g.kernel[1] > 1 else 0
    strip = min(g.out_width, (entries - rows - 1) // max(1, step * pitch) + 1)
    whole = g.out_height * g.out_width <= TILE
    return {
        "chunks": -(-g.channels // channels), "chunk_channels": channels, "chunk_rows": rows,
        "word_bits": word, "patch_words": 0,
        "tile_samples": min(g.samples, TILE // (g.out_height * g.out_width)) if whole else 1,
        "tile_rows": g.out_height if whole else max(1, TILE // g.out_width), "places": 0,
        "strip": strip, "columns": (strip - 1) * step + g.kernel[1], "span": g.kernel[1],
        "step": step, "pitch": pitch,
    }  # fmt: skip


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
    if plan.places:
        chunks, rows = np.divmod(taps * g.channels + channels, plan.chunk_rows)
    else:
        chunks, channels = np.divmod(channels, plan.chunk_channels)
        tap_rows, tap_columns = np.divmod(taps, g.kernel[1])
        rows = (tap_columns * g.kernel[0] + tap_rows) * plan.chunk_channels + channels
    return chunks * plan.chunk_bytes + rows * plan.row_bytes
