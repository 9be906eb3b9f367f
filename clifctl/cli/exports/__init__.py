"""What `convert` can write: a file in this folder and a line in EXPORTS each."""

from clifctl.cli.exports import lif, nir
from clifctl.cli.exports.export import Export

# `--to` -> what it writes; the first one is the default.
EXPORTS: dict[str, Export] = {
    "lif": lif.EXPORT,
    "nir": nir.EXPORT,
}
