"""Energy of an operation and of a memory access, in pJ: presets with their source, or a file."""

from itertools import pairwise
from typing import Any

from pydantic import Field, ValidationError, model_validator

from clifctl.errors import EnergyError, unknown_name
from clifctl.strict import Strict, in_words

KIB = 1024
# Sizes of memory for which an energy of an access is given [bytes].
SIZES = (8 * KIB, 32 * KIB, 1024 * KIB)
PICO_TO_MICRO, PICO_TO_MILLI = 1e-6, 1e-9


class Constants(Strict):
    """Energies in pJ. `function_*` is what an evaluation of sigmoid, exp or tanh is charged."""

    name: str = Field("own", description="what these constants are called")
    source: str = Field("", description="where they come from")
    ac_pj: float = Field(ge=0.0, description="an accumulate of the SOP method")
    mac_pj: float = Field(ge=0.0, description="a multiply-accumulate of the SOP method")
    add_pj: float = Field(ge=0.0, description="an addition of the memory method")
    mul_pj: float = Field(ge=0.0, description="a multiplication of the memory method")
    sram_8_kib_pj: float = Field(ge=0.0, description="an access to a memory of 8 KiB")
    sram_32_kib_pj: float = Field(ge=0.0, description="an access to a memory of 32 KiB")
    sram_1_mib_pj: float = Field(ge=0.0, description="an access to a memory of 1 MiB or more")
    function_multiplications: float = Field(4.0, ge=0.0, description="of one nonlinear function")
    function_additions: float = Field(4.0, ge=0.0, description="of one nonlinear function")

    @model_validator(mode="after")
    def _larger_memories_cost_more(self) -> "Constants":
        if not self.sram_8_kib_pj <= self.sram_32_kib_pj <= self.sram_1_mib_pj:
            raise ValueError("an access to a larger memory cannot cost less")
        return self

    @property
    def levels(self) -> tuple[float, float, float]:
        """Energy of an access for each of SIZES."""
        return (self.sram_8_kib_pj, self.sram_32_kib_pj, self.sram_1_mib_pj)

    def access_pj(self, size_bytes: float) -> float:
        """Energy of one access to a memory of that size: linear between (0, 0) and SIZES, and that
        of 1 MiB above, where the source ends."""
        points = list(zip((0, *SIZES), (0.0, *self.levels), strict=True))
        for (low, before), (high, after) in pairwise(points):
            if size_bytes <= high:
                return before + (after - before) * (size_bytes - low) / (high - low)
        return self.levels[-1]

    def as_document(self) -> dict[str, Any]:
        """Every constant by name."""
        return self.model_dump()


PRESETS: dict[str, Constants] = {
    "45nm": Constants(
        name="45nm",
        source="Horowitz, ISSCC 2014, 45 nm at 0.9 V, as in the paper: float32 operations for the "
        "SOP method, int32 for the memory method, SRAM after Lemaire et al. 2022",
        ac_pj=0.9,
        mac_pj=4.6,
        add_pj=0.1,
        mul_pj=3.1,
        sram_8_kib_pj=10.0,
        sram_32_kib_pj=20.0,
        sram_1_mib_pj=100.0,
    ),
    "7nm": Constants(
        name="7nm",
        source="Jouppi et al., ISCA 2021, 7 nm: not yet checked against the printed table",
        ac_pj=0.38,
        mac_pj=1.69,
        add_pj=0.03,
        mul_pj=1.48,
        sram_8_kib_pj=7.5,
        sram_32_kib_pj=8.5,
        sram_1_mib_pj=14.0,
    ),
}
DEFAULT = PRESETS["45nm"]


def constants_from(document: Any, where: str) -> Constants:
    """The constants of a mapping; what it leaves out is that of 45 nm. Raises EnergyError."""
    allowed = ", ".join(Constants.model_fields)
    if not isinstance(document, dict):
        raise EnergyError(f"{where}: must be a mapping of constants", hint=f"keys: {allowed}")
    defaults = {**DEFAULT.model_dump(), "name": "own", "source": where}
    unknown = [key for key in document if key not in Constants.model_fields]
    if unknown:
        raise EnergyError(
            f"{where}: {unknown_name('constant', unknown[0], Constants.model_fields)}",
            hint="energies are in pJ",
        )
    try:
        return Constants(**{**defaults, **document})
    except ValidationError as invalid:
        problem = invalid.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        given = f"{key} = {problem['input']!r}: " if key else ""
        raise EnergyError(
            f"{where}: {given}{in_words(problem)}", hint="energies are in pJ"
        ) from None
