"""What a script of this folder has measured, for a person, a file and `figures.py`."""

import json
from pathlib import Path
from typing import Any


def emit(document: dict[str, Any], out: Path | None) -> None:
    """Print a document as JSON, and write it to `out` where that is given."""
    text = json.dumps(document, indent=2)
    if out:
        out.write_text(text + "\n")
    print(text)  # noqa: T201
