"""HTML and SVG as trees of elements: what is put into one is text, and never markup."""

from collections.abc import Iterable
from xml.etree.ElementTree import Element, tostring

from clifctl.commands import visible

Child = Element | str | None


def element(name: str, *children: Child, **attributes: str | float | None) -> Element:
    """An element. `class_` stands for `class`, `stroke_width` for `stroke-width`; attributes and
    children that are None are left out, and numbers have two digits behind the point at most."""
    found = Element(name)
    for key, value in attributes.items():
        if value is not None:
            found.set(key.rstrip("_").replace("_", "-"), _attribute(value))
    return filled(found, children)


def filled(parent: Element, children: Iterable[Child]) -> Element:
    """`parent`, with more children behind those that it has."""
    for child in children:
        if child is None:
            continue
        if isinstance(child, Element):
            parent.append(child)
        elif len(parent):
            parent[-1].tail = (parent[-1].tail or "") + visible(child)
        else:
            parent.text = (parent.text or "") + visible(child)
    return parent


def number(value: float) -> str:
    """A number of a drawing, as short as it can be."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"


def as_html(tree: Element) -> str:
    """The text of an element: every text and attribute in it escaped."""
    return tostring(tree, encoding="unicode", method="html")


def _attribute(value: str | float) -> str:
    return visible(value, keep="\n") if isinstance(value, str) else number(value)
