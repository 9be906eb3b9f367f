"""What tests of pictures share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clifctl.report.pictures import LAYOUTS, Layout, write_picture


@pytest.fixture
def drawn(tmp_path: Path) -> Callable[..., Any]:
    """The figure that is written into a file, with the settings of pictures."""

    def draw(make: Callable[..., Any], *shown: Any, layout: Layout = LAYOUTS["page"]) -> Any:
        figures = []

        def keep(*arguments: Any) -> Any:
            figures.append(make(*arguments))
            return figures[0]

        write_picture(tmp_path / "drawn.svg", keep, *shown, layout=layout)
        return figures[0]

    return draw
