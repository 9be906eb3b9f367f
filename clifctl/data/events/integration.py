"""How events become frames: counts `[T, 2, H, W]`, channel 0 OFF, channel 1 ON, as SpikingJelly
numbers them."""

import numpy as np

from clifctl.data.archives import Array
from clifctl.data.events.options import FramesBy
from clifctl.data.events.recordings import BadRecording, Events


def integrate(
    events: Events, *, timesteps: int, frames_by: FramesBy, height: int, width: int
) -> Array:
    """Counts of `events` per frame, polarity and pixel: `[T, 2, height, width]`.

    "number": frame i holds the events from i floor(N / T) on, as many in each, the last one what is
    left. "time": equal durations floor((t_last - t_first) / T) of events in the order of their
    times; a frame without events is empty. Both cut as SpikingJelly does. The type is the smallest
    of uint8, uint16 and uint32 that holds the counts. Raises BadRecording for no events, or one
    outside of the sensor.
    """
    if not len(events):
        raise BadRecording("no event")
    for name, values, size in (("x", events.x, width), ("y", events.y, height)):
        least, most = int(values.min()), int(values.max())
        if least < 0 or most >= size:
            wrong = least if least < 0 else most
            raise BadRecording(
                f"an event at {name} = {wrong}, the sensor has {name} = 0 to {size - 1}"
            )
    frame = np.repeat(np.arange(timesteps), np.diff(_bounds(events.t, timesteps, frames_by)))
    position = ((frame * 2 + events.p) * height + events.y) * width + events.x
    counts = np.bincount(position, minlength=timesteps * 2 * height * width)
    return counts.reshape(timesteps, 2, height, width).astype(np.min_scalar_type(counts.max()))


def _bounds(t: Array, timesteps: int, frames_by: FramesBy) -> Array:
    """Number of the first event of each frame, and of the end: `[T + 1]`."""
    steps = np.arange(timesteps)
    if frames_by == "number":
        first = steps * (len(t) // timesteps)
    else:
        duration = (int(t[-1]) - int(t[0])) // timesteps
        first = np.searchsorted(t, t[0] + duration * steps, side="left")
    return np.append(first, len(t))
