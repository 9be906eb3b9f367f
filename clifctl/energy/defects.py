"""The defects of the published accounting, each with what the corrected one does instead."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Defect:
    """One defect: what is published, and what `corrected` does."""

    number: int
    published: str
    corrected: str


DEFECTS: tuple[Defect, ...] = tuple(
    Defect(number, *texts)
    for number, texts in enumerate(
        (
            (
                "the released script multiplies the ANN's row by T for every task (its condition "
                "is always true); the printed table does not have it",
                "an ANN is one inference; a spiking net is T steps",
            ),
            (
                "the energy of an access drops the offsets of its linear pieces: it falls from "
                "10 to 0.0004 pJ at 8 Ki",
                "linear through (0, 0), (8 KiB, 10 pJ), (32 KiB, 20 pJ), (1 MiB, 100 pJ)",
            ),
            (
                "that energy is looked up by how many accesses the whole net makes, so that "
                "nearly every access costs 100 pJ",
                "by the size of the memory that is accessed, as Lemaire et al. do",
            ),
            (
                "the accumulates of a linear layer multiply its spikes by inputs and outputs "
                "(an error of Lemaire et al. itself)",
                "spikes times outputs",
            ),
            (
                "the fan-out of a strided convolution is (kernel // stride)^2: 1 for 3x3 with "
                "stride 2",
                "the connections that exist, counted: 2.25 on average but for borders",
            ),
            (
                "the bias of a linear layer is added once a spike of its output",
                "once an output and step",
            ),
            (
                "a linear layer reads its potentials once an input spike and output spike",
                "once a synaptic operation, and once an element and step",
            ),
            (
                "spikes are those of one time step, beside terms that are times T",
                "everything is per inference: spikes are rate x neurons x T",
            ),
            (
                "the first layer is charged as if the image were spikes, one for each value, once",
                "dense multiply-accumulates of 4-byte values at every step at which it is computed",
            ),
            (
                "shortcut convolutions, batch norms and pools are missing, and what comes out of "
                "an average pool is charged as spikes",
                "all are charged; values that are not binary are multiplied, densely",
            ),
            (
                "CLIF is charged 3 times LIF's MACs, 4 times its reads, twice its writes and "
                "addressing",
                "the operations of its step, and one read and write of m an element and step",
            ),
        ),
        start=1,
    )
)
