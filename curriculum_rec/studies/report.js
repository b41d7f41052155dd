// Draws the plots of a report, and lets a reader choose: what an axis counts, which arms are shown, how a table is sorted.
(function () {
  "use strict";
  const content = JSON.parse(document.getElementById("plots").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const coarse = window.matchMedia("(pointer: coarse)").matches;
  // Plotly's own choice of buttons holds one that sends the figure to a service.
  const buttons = { modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]], plotlyServerURL: "" };
  const config = { ...buttons, responsive: true, displaylogo: false };
  let printing = false;

  function coloured(value, colours) {
    if (typeof value === "string") return colours[value] ?? value;
    if (Array.isArray(value)) return value.map((part) => coloured(part, colours));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, coloured(part, colours)]));
  }

  function isHidden(plot, arm) {
    return [...plot.querySelectorAll(".legend [data-arm][aria-pressed=false]")].some((b) => b.dataset.arm === arm);
  }

  function draw(plot) {
    const { panels, choices } = content.plots[plot.dataset.plot];
    const choice = plot.querySelector(".choices [aria-pressed=true]");
    const colours = content.themes[dark.matches && !printing ? "dark" : "light"];
    plot.querySelectorAll(".panel").forEach((panel, number) => {
      const figure = coloured(choice ? choices[choice.dataset.choice] : panels[number], colours);
      for (const trace of figure.data) trace.visible = !isHidden(plot, trace.meta);
      figure.layout.dragmode = coarse ? false : "zoom"; // a finger scrolls the page
      if (printing) figure.layout.width = panel.clientWidth;
      const isBare = coarse || plot.classList.contains("many");
      Plotly.react(panel, figure.data, figure.layout, isBare ? { ...config, displayModeBar: false } : config);
    });
  }

  const plots = [...document.querySelectorAll("[data-plot]")];
  const drawAll = () => plots.forEach(draw);

  function show(section, arm, shown) {
    for (const button of section.querySelectorAll(".legend [data-arm]")) {
      if (button.dataset.arm === arm) button.setAttribute("aria-pressed", shown);
    }
  }

  function clickLegend(button) {
    const section = button.closest("section");
    if (button.dataset.show === undefined) {
      show(section, button.dataset.arm, button.getAttribute("aria-pressed") !== "true");
    } else {
      for (const other of section.querySelectorAll(".legend [data-arm]")) {
        const isControl = other.dataset.control !== undefined;
        other.setAttribute("aria-pressed", button.dataset.show === "all" || (button.dataset.show === "arms" && !isControl));
      }
    }
    section.querySelectorAll("[data-plot]").forEach(draw);
  }

  function choose(button) {
    for (const other of button.parentElement.children) other.setAttribute("aria-pressed", other === button);
    draw(button.closest("[data-plot]"));
  }

  // What a cell is sorted by; nothing at all stands at the end either way.
  function compare(one, other, sign) {
    if (one === undefined || other === undefined) return (one === undefined) - (other === undefined);
    const [a, b] = [Number(one), Number(other)];
    if (Number.isNaN(a) || Number.isNaN(b)) return sign * one.localeCompare(other);
    return sign * (a < b ? -1 : a > b ? 1 : 0);
  }

  function sort(heading) {
    const order = heading.classList.contains("text") ? ["ascending", "descending"] : ["descending", "ascending"];
    const next = heading.getAttribute("aria-sort") === order[0] ? order[1] : order[0];
    const body = heading.closest("table").tBodies[0];
    const values = new Map([...body.rows].map((row) => [row, row.cells[heading.cellIndex].dataset.value]));
    const rows = [...body.rows].sort((a, b) => compare(values.get(a), values.get(b), next === "descending" ? -1 : 1));
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", next);
    body.append(...rows);
  }

  for (const heading of document.querySelectorAll("thead th")) {
    const button = document.createElement("button");
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sort(heading));
  }
  document.querySelectorAll(".legend button").forEach((b) => b.addEventListener("click", () => clickLegend(b)));
  document.querySelectorAll(".choices button").forEach((b) => b.addEventListener("click", () => choose(b)));
  dark.addEventListener("change", drawAll);

  function print(isPrinting) {
    printing = isPrinting;
    document.documentElement.classList.toggle("printing", printing);
    drawAll();
  }
  window.addEventListener("beforeprint", () => print(true));
  window.addEventListener("afterprint", () => print(false));
  drawAll();
})();
