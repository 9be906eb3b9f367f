"""What tables and figures are called at the prompt."""

import re

from clifctl.errors import UsageError, unknown_name
from clifctl.paper import PaperItem, paper_items


def item_names() -> list[str]:
    """The names of all tables and figures."""
    return [item.name for item in paper_items()]


def named_item(name: str) -> PaperItem:
    """The table or figure that a person names: `fig2a`, `Figure 2a`, `table 1`. Raises UsageError
    with the nearest name."""
    written = re.sub(r"[\s._-]", "", name.lower()).replace("figure", "fig")
    for item in paper_items():
        if item.name == written:
            return item
    parts = [known for known in item_names() if re.fullmatch(rf"{re.escape(written)}[a-z]", known)]
    if parts:
        raise UsageError(f"'{name}' has parts: {', '.join(parts)}", hint=f"name one: {parts[0]}")
    raise UsageError(
        unknown_name("table or figure of the paper", name, item_names()),
        hint="clifctl paper ls says what each shows",
    )
