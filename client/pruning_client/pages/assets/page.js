// Sorts the tables and draws the charts of a report. Text of others is only ever set as text, never as HTML.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const percent = d3.format(".1%");
  const css = (name) => `var(--${name})`;
  const element = (id) => document.getElementById(id);
  const shortened = (text, most) =>
    text.length <= most ? text : text.slice(0, Math.floor(most / 3)) + "…" + text.slice(text.length - Math.ceil((2 * most) / 3) + 1);

  // --- tables

  const collator = new Intl.Collator("en", { numeric: true });

  function valueOf(row, column) {
    const cell = row.cells[column];
    return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent;
  }

  function sortBy(table, column) {
    const head = table.tHead.rows[0].cells[column];
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const isNumber = rows.length > 0 && typeof valueOf(rows[0], column) === "number";
    const now = head.getAttribute("aria-sort");
    const isDescending = now === null ? isNumber : now === "ascending";
    for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", isDescending ? "descending" : "ascending");
    const sign = isDescending ? -1 : 1;
    const keyed = rows.map((row) => [valueOf(row, column), row]);
    keyed.sort((a, b) => sign * (isNumber ? a[0] - b[0] : collator.compare(a[0], b[0])));
    body.append(...keyed.map(([, row]) => row));
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const first = table.tBodies[0].rows[0];
    [...table.tHead.rows[0].cells].forEach((cell, column) => {
      if (first && "v" in first.cells[column].dataset) cell.classList.add("n");
      cell.querySelector("button").addEventListener("click", () => sortBy(table, column));
    });
  }

  const tensorRows = [...element("tensors").tBodies[0].rows];

  function filterRows() {
    const words = element("filter").value.toLowerCase();
    let count = 0;
    for (const row of tensorRows) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(words);
      count += !row.hidden;
    }
    element("count").textContent = `${count.toLocaleString("en")} of ${tensorRows.length.toLocaleString("en")}`;
  }
  element("filter").addEventListener("input", filterRows);
  filterRows();

  // --- charts

  function put(id, width, draw) {
    const place = element(id);
    if (!place) return;
    const chart = draw(Math.max(260, Math.min(width || place.clientWidth, 1100)));
    place.replaceChildren(chart);
  }

  function described(chart, label) {
    const all = chart.tagName === "svg" ? [chart] : [...chart.querySelectorAll("svg")];
    for (const svg of all) {
      for (const part of svg.querySelectorAll("[aria-label]")) part.removeAttribute("aria-label"); // Plot's, on groups
      svg.setAttribute("aria-hidden", "true");
    }
    const svg = all[all.length - 1];
    svg.removeAttribute("aria-hidden");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
    return chart;
  }

  function stemOf(rows) {
    // What all rows begin with, up to a dot: it tells nothing.
    let stem = rows.length > 1 ? rows[0] : "";
    for (const row of rows) while (!row.startsWith(stem)) stem = stem.slice(0, -1);
    return stem.slice(0, stem.lastIndexOf(".") + 1);
  }

  const pen = document.createElement("canvas").getContext("2d");

  function widthOf(label) {
    pen.font = "12px system-ui, sans-serif"; // as the charts have it
    return pen.measureText(label).width;
  }

  function drawMap(width) {
    const isNarrow = width < 600;
    const stem = stemOf(data.rows);
    const most = isNarrow ? 18 : 34;
    const seen = new Map();
    const labels = data.rows.map((row) => {
      const label = shortened(row.slice(stem.length).replace(/\.weight$/, ""), most) || row;
      const count = (seen.get(label) || 0) + 1;
      seen.set(label, count);
      return count > 1 ? `${label} (${count})` : label;
    });
    const cells = data.cells.map(([row, depth, zeros, entries, count]) => ({
      label: labels[row], row: data.rows[row], depth: depth === null ? "–" : String(depth), zeros, entries, count,
    }));
    const numbers = [...new Set(data.cells.map((cell) => cell[1]).filter((depth) => depth !== null))].sort((a, b) => a - b);
    const columns = [...(data.cells.some((cell) => cell[1] === null) ? ["–"] : []), ...numbers.map(String)];
    const marginLeft = Math.min(Math.max(30, ...labels.map(widthOf)) + 16, width * 0.6);
    const fitting = (width - marginLeft - 20) / Math.max(columns.length, 1);
    const step = Math.max(14, Math.min(fitting, 44));
    const every = Math.ceil(24 / step);
    return described(Plot.plot({
      width: marginLeft + 20 + step * columns.length,
      height: 64 + labels.length * 20,
      marginLeft, marginTop: 34, marginBottom: 20,
      style: { fontSize: "12px" },
      x: { domain: columns, label: "depth", axis: "top", padding: 0.06, tickFormat: (d, i) => (i % every ? "" : d), tickSize: 0 },
      y: { domain: labels, label: null, padding: 0.08, tickSize: 0 },
      color: { type: "linear", scheme: "viridis", domain: [0, 1], legend: true, label: "zeros", tickFormat: ".0%", width: Math.min(280, width), marginLeft: 14 },
      marks: [
        Plot.cell(cells, { x: "depth", y: "label", fill: "zeros", inset: 0.5 }),
        Plot.tip(cells, Plot.pointer({
          x: "depth", y: "label",
          title: (d) => `${d.row.replace(/\.N(\.|$)/, `.${d.depth}$1`)}\n${percent(d.zeros)} of ${d.entries.toLocaleString("en")} are zero` +
            (d.count > 1 ? `\n${d.count} tensors` : ""),
        })),
      ],
    }), `Zeros of ${labels.length} kinds of tensors over ${columns.length} depths; the table of tensors has the same numbers`);
  }

  const edge = (k) => 2 ** Math.floor(k / 4) * (1 + (((k % 4) + 4) % 4) / 4);

  function binsOf(shares) {
    return shares.slice(1).map((share, i) => {
      const from = edge(shares[0] + i), to = edge(shares[0] + i + 1);
      return { from, to, share: share / 1e4, density: share / 1e4 / Math.log2(to / from) };
    });
  }

  const withCurves = data.tensors.map((tensor, at) => ({ tensor, at })).filter(({ tensor }) => tensor.before || tensor.after);
  let chosen = 0;

  function logTicks(from, to, width) {
    // Round numbers that are far enough apart for their labels: in a decade or less, or of as many as there is room for.
    const least = 62;
    const place = (d) => (width * Math.log(d / from)) / Math.log(to / from);
    const isApart = (ticks) => ticks.every((d, i) => !i || place(d) - place(ticks[i - 1]) >= least);
    const powers = d3.range(Math.floor(Math.log10(from)), Math.ceil(Math.log10(to)) + 1);
    const within = (all) => all.filter((d) => d >= from && d <= to);
    const of = (every, parts) =>
      within(powers.filter((power) => power % every === 0).flatMap((power) => parts.map((part) => Number(`${part}e${power}`))));
    const choices = [of(1, [1, 2, 5]), of(1, [1, 3]), of(1, [1]), of(2, [1]), of(4, [1]), of(8, [1])];
    if (to / from < 10) choices.unshift(...d3.range(10, 0, -1).map((count) => d3.ticks(from, to, count)));
    return choices.find((ticks) => ticks.length > 1 && isApart(ticks)) || [from, to];
  }

  function drawCurves(width) {
    const { tensor } = withCurves[chosen];
    const after = tensor.after ? binsOf(tensor.after) : [];
    const before = tensor.before ? binsOf(tensor.before) : [];
    const cut = tensor.cut > 0 ? [tensor.cut] : [];
    const ends = [...before, ...after].flatMap((bin) => [bin.from, bin.to]).concat(cut);
    const domain = [Math.min(...ends), Math.max(...ends)];
    const steps = before.flatMap((bin) => [{ x: bin.from, y: bin.density }, { x: bin.to, y: bin.density }]);
    const outline = before.length ? [{ x: before[0].from, y: 0 }, ...steps, { x: before[before.length - 1].to, y: 0 }] : [];
    const chart = Plot.plot({
      width, height: 300, marginLeft: 56, marginBottom: 40, marginTop: 28,
      style: { fontSize: "12px" },
      x: { type: "log", base: 2, domain, label: "|w| (log scale)", ticks: logTicks(...domain, width - 76), tickFormat: (d) => d3.format(".3~e")(d) },
      y: { label: "part of all entries, per factor of two", tickFormat: ".0%", grid: true, zero: true },
      marks: [
        Plot.rect(after, { x1: "from", x2: "to", y1: 0, y2: "density", fill: css("after"), fillOpacity: 0.75 }),
        Plot.line(outline, { x: "x", y: "y", stroke: css("before"), strokeWidth: 1.8 }),
        Plot.ruleX(cut, { stroke: css("cut"), strokeWidth: 2, strokeDasharray: "6 4" }),
        Plot.text(cut, { x: (d) => d, frameAnchor: "top", dy: -14, text: (d) => `threshold ${d3.format(".3g")(d)}`, fill: css("cut") }),
        Plot.ruleY([0]),
      ],
    });
    const parts = [];
    if (before.length) parts.push(after.length ? "Line: before. " : "Line: the weights before. ");
    if (after.length) parts.push(before.length ? "Filled: after. " : "Filled: the weights. ");
    if (cut.length) parts.push("Dashed: the largest |w| that was pruned. ");
    const zeros = after.length ? 1 - d3.sum(after, (bin) => bin.share) : null;
    if (zeros !== null) parts.push(`Zeros (${percent(Math.max(0, zeros))}) are not on the scale.`);
    element("curves-text").textContent = parts.join("");
    return described(chart, `Distribution of the absolute values of ${tensor.name}`);
  }

  function choose(at) {
    const position = withCurves.findIndex((each) => each.at === at);
    if (position < 0) return;
    chosen = position;
    element("tensor").value = String(position);
    put("curves", 0, drawCurves);
  }

  if (element("tensor") && withCurves.length) {
    const select = element("tensor");
    select.append(...withCurves.map(({ tensor }, position) => new Option(tensor.name, String(position))));
    select.addEventListener("change", () => { chosen = Number(select.value); put("curves", 0, drawCurves); });
    tensorRows.forEach((row, at) => {
      if (!(data.tensors[at].before || data.tensors[at].after)) return;
      row.dataset.at = String(at);
      row.addEventListener("click", () => choose(at));
    });
    const most = d3.maxIndex(withCurves, ({ tensor }) => (tensor.selected ? 1 : 0));
    chosen = Math.max(0, most);
    select.value = String(chosen);
  }

  function drawErrors(width) {
    const points = data.tensors.map((tensor, at) => ({ ...tensor, at })).filter((tensor) => tensor.error !== undefined);
    points.forEach((point, at) => { point.number = at + 1; });
    return described(Plot.plot({
      width, height: 300, marginLeft: 56, marginBottom: 40,
      style: { fontSize: "12px" },
      x: { label: "selected tensors, in the order of the file", tickFormat: "d", domain: [0.5, points.length + 0.5] },
      y: { label: "predicted error", grid: true, zero: true },
      marks: [
        Plot.ruleY([0]),
        Plot.ruleX(points, { x: "number", y1: 0, y2: "error", stroke: css("after") }),
        Plot.dot(points, { x: "number", y: "error", fill: css("after"), r: 3 }),
        Plot.tip(points, Plot.pointerX({ x: "number", y: "error", title: (d) => `${d.name}\n${d3.format(".4f")(d.error)}` })),
      ],
    }), `Predicted error of ${points.length} tensors; the table of tensors has the same numbers`);
  }

  function drawAll(width) {
    if (data.cells.length) put("map", width, drawMap);
    else element("map").textContent = "No zeros are known of any matrix.";
    if (withCurves.length) put("curves", width, drawCurves);
    if (element("errors")) put("errors", width, drawErrors);
  }

  let last = 0;
  function redraw() {
    const width = document.documentElement.clientWidth;
    if (width !== last) { last = width; drawAll(0); }
  }
  window.addEventListener("resize", redraw);
  window.addEventListener("beforeprint", () => drawAll(680));
  window.addEventListener("afterprint", () => drawAll(0));
  redraw();
  document.documentElement.dataset.ready = "yes";
})();
