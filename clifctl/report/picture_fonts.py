"""The letters of an SVG, embedded: it looks the same where the font is not installed."""

import base64
import io
from pathlib import Path
from xml.etree import ElementTree

_TEXT = "{http://www.w3.org/2000/svg}text"
# What matplotlib sets texts in by default, and brings.
_FAMILY, _FILE = "DejaVu Sans", "fonts/ttf/DejaVuSans.ttf"
_STYLE = b'<style type="text/css">'


def with_fonts(svg: bytes) -> bytes:
    """The SVG with those letters of matplotlib's own font that its texts have. They stay texts."""
    import matplotlib
    from fontTools import subset

    texts = ElementTree.fromstring(svg).iter(_TEXT)
    letters = "".join(sorted({letter for text in texts for letter in "".join(text.itertext())}))
    if not letters:
        return svg
    # Byte by byte the same for the same letters: without the time, and the tables of layout.
    options = subset.Options(flavor="woff", hinting=False, layout_features=[])
    options.recalc_timestamp = False
    options.drop_tables += ["FFTM"]  # times again; left in, a line on stderr tells of it
    file = io.BytesIO()
    with subset.load_font(Path(matplotlib.get_data_path(), _FILE), options) as font:
        chooser = subset.Subsetter(options)
        chooser.populate(text=letters)
        chooser.subset(font)
        subset.save_font(font, file, options)
    data = base64.b64encode(file.getvalue()).decode()
    face = f"@font-face{{font-family:'{_FAMILY}';src:url(data:font/woff;base64,{data})}}"
    return svg.replace(_STYLE, _STYLE + face.encode(), 1)
