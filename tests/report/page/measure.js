// Run in a copy of a page: appends, as JSON in an element `found`, what overlaps or leaves the page
// at several widths. The page's layout follows its width alone, not that of the window.
addEventListener("load", () => {
  const found = [];
  const boxes = (list) => [...list].map((one) => [one, one.getBoundingClientRect()])
    .filter(([, box]) => box.width > 0 && box.height > 0);
  const name = (one) => `${one.tagName} "${one.textContent.trim().slice(0, 40)}"`;
  const overlap = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0.5
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 0.5;
  const pairs = (list, where) => {
    list.forEach(([one, box], at) => list.slice(at + 1).forEach(([other, theirs]) => {
      if (overlap(box, theirs) && !one.contains(other)) {
        found.push(`${where}: ${name(one)} overlaps ${name(other)}`);
      }
    }));
  };
  // The line height of a text is more than its letters.
  const tight = ([one, box]) => {
    const rest = one.getAttribute("transform") ? 0 : box.height * 0.14;
    return [one, { left: box.left, right: box.right, top: box.top + rest, bottom: box.bottom - rest }];
  };
  const drawing = (svg, width) => {
    const where = `${width}, ${svg.getAttribute("aria-label")}`;
    const outer = svg.getBoundingClientRect();
    const texts = boxes(svg.querySelectorAll("text"));
    pairs(texts.map(tight), where);
    texts.forEach(([one, box]) => {
      if (box.left < outer.left - 1 || box.right > outer.right + 1 || box.top < outer.top - 1
        || box.bottom > outer.bottom + 1) found.push(`${where}: ${name(one)} leaves its drawing`);
    });
  };
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  const kinds = ["figure", ".card", ".tiles > div", ".table", "h1, h2, h3", ".command", "p", "li", "summary"];
  for (const width of WIDTHS) {
    document.documentElement.style.width = `${width}px`;
    document.querySelectorAll("figure > svg").forEach((svg) => drawing(svg, width));
    kinds.forEach((kind) => pairs(boxes(document.querySelectorAll(kind)), `${width}, ${kind}`));
    boxes(document.querySelectorAll("body *")).forEach(([one, box]) => {
      if (box.right > width + 1 && !one.closest(".scroll table")) {
        found.push(`${width}: ${name(one)} leaves the page`);
      }
    });
  }
  const shown = document.createElement("pre");
  shown.id = "found";
  shown.textContent = JSON.stringify({
    figures: document.querySelectorAll("figure > svg").length,
    texts: document.querySelectorAll("svg text").length,
    scripts: document.scripts.length,
    found,
  });
  document.body.append(shown);
});
