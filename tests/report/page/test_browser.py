"""A page in a real browser, where there is one: nothing is said in its log, nothing overlaps, and
nothing leaves the page, at the widths of a phone, a tablet and a screen."""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
WIDTHS = [390, 820, 1400]
SHOWN = ("compare-neurons", "convert", "dynamics", "energy", "eval", "gradients", "truncate-bptt")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")


def measured(page: str, root: Path, folder: Path) -> Any:
    """What `measure.js` finds in a copy of a page, whose policy lets it run and nothing else."""
    script = (root / "tests" / "report" / "page" / "measure.js").read_text()
    script = f"<script>const WIDTHS = {WIDTHS};\n{script}</script></body>"
    policy = "default-src 'none'; "
    assert page.count(policy) == page.count("</body>") == 1
    copy = folder / "copy.html"
    allowed = page.replace(policy, f"{policy}script-src 'unsafe-inline'; ")
    copy.write_text(allowed.replace("</body>", script))
    how = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    how += ["--window-size=1500,900", "--dump-dom", "--enable-logging=stderr"]
    done = subprocess.run(
        [str(CHROMIUM), *how, copy.as_uri()], capture_output=True, text=True, timeout=300
    )
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    return json.loads(html.unescape(re.findall(r'<pre id="found">(.*?)</pre>', done.stdout)[-1]))


def test_nothing_overlaps_and_nothing_is_said(
    clifctl: Callable[..., Any], root: Path, tmp_path: Path
) -> None:
    kept = root / "tests" / "data" / "kept" / "numerics-3"
    documents = [kept / "documents" / f"{name}.json" for name in SHOWN]
    sources = map(str, (kept / "finished", kept / "interrupted", *documents))
    made = clifctl("report", *sources, "-o", "page.html", "-q", "--target", "reference")
    assert made.code == 0, made.err
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    found = measured(page, root, tmp_path)
    assert found["found"] == []
    assert found["figures"] > 30
    # And what is wrong is found.
    wrong = '<p>a</p><p style="margin-top: -2em; width: 9000px">b</p></body>'
    found = measured(page.replace("</body>", wrong), root, tmp_path)["found"]
    assert any("overlaps" in one for one in found)
    assert any("leaves the page" in one for one in found)
