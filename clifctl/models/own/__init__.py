"""A person's own net: read from its file, built, tried on shapes, and made a `SpikingNet`."""
