"use strict";
// The theme before anything is drawn, so that a dark room never flashes white.
const root = document.documentElement;
const chosen = localStorage.getItem("theme");
if (chosen) root.dataset.theme = chosen;

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-theme-switch]")) return;
  root.dataset.theme = isDark() ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});

// Server-sent events: when anything changes in the ledger, what asked for it is loaded anew.
document.addEventListener("DOMContentLoaded", () => {
  const page = document.body.dataset.root;
  if (page === undefined) return;
  const stream = new EventSource(page + "/live");
  const said = (text) => { const line = document.getElementById("live"); if (line) line.textContent = text; };
  stream.addEventListener("changed", (event) => {
    said("live");
    if (event.data !== "first") htmx.trigger(document.body, "changed");
  });
  stream.addEventListener("error", () => said("not connected: the numbers may be old"));
  addEventListener("pagehide", () => stream.close());
});

// Keys: "/" searches, j and k walk through rows, arrows go to the next radiograph.
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const rows = [...document.querySelectorAll("a.row")];
  const step = { j: 1, k: -1 }[event.key];
  if (step && rows.length) {
    const next = rows.indexOf(document.activeElement) + step;
    rows[Math.min(Math.max(next, 0), rows.length - 1)].focus();
  } else if (event.key === "/" && document.getElementById("search")) {
    event.preventDefault();
    document.getElementById("search").focus();
  } else {
    const link = [...document.querySelectorAll("a[data-key]")].find((a) => a.dataset.key === event.key);
    if (link) location.assign(link.href);
  }
});

// The viewer: opacity of the overlay; level and window, shown at once and then computed from the full depth.
let waiting = 0;

function parts() {
  const find = (name) => document.getElementById(name);
  return { figure: find("viewer"), original: find("original"), overlay: find("overlay"), opacity: find("opacity"),
           level: find("level"), width: find("width"), invert: find("invert") };
}

function draw() {
  const { figure, original, overlay, opacity, level, width, invert } = parts();
  if (overlay && opacity) overlay.style.opacity = opacity.value / 100;
  const [l, w] = [level.value / 100, width.value / 100];
  const inverted = invert.getAttribute("aria-pressed") === "true" ? " invert(1)" : "";
  const [shownLevel, shownWidth] = (figure.dataset.shown || "0.5 1").split(" ").map(Number);
  const preview = shownLevel !== l || shownWidth !== w;
  // (x - (l - w / 2)) / w as the two filters that browsers have: brightness multiplies, contrast turns around 0.5.
  const relative = preview && shownLevel === 0.5 && shownWidth === 1;
  original.style.filter = (relative ? `brightness(${1 / (2 * l)}) contrast(${(2 * l) / w})` : "") + inverted;
  if (!preview) return;
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    const picture = new Image();
    picture.onload = () => {
      figure.dataset.shown = `${l} ${w}`;
      original.src = picture.src;
      draw();
    };
    picture.src = `${figure.dataset.picture}?level=${l}&width=${w}`;
  }, 250);
}

document.addEventListener("input", (event) => {
  if (["opacity", "level", "width"].includes(event.target.id)) draw();
});

document.addEventListener("click", (event) => {
  const { invert, level, width } = parts();
  if (event.target.id === "invert") {
    invert.setAttribute("aria-pressed", invert.getAttribute("aria-pressed") === "true" ? "false" : "true");
    draw();
  } else if (event.target.id === "reset") {
    [level.value, width.value] = [50, 100];
    invert.setAttribute("aria-pressed", "false");
    draw();
  }
});

// Dragging on the picture moves level (up and down) and window (left and right), as viewers do.
document.addEventListener("pointerdown", (event) => {
  const { figure, level, width } = parts();
  if (!figure || !figure.contains(event.target) || event.pointerType === "touch") return;
  event.preventDefault();
  const start = { x: event.clientX, y: event.clientY, level: Number(level.value), width: Number(width.value) };
  const move = (at) => {
    level.value = start.level + (at.clientY - start.y) / 5;
    width.value = start.width + (at.clientX - start.x) / 5;
    draw();
  };
  addEventListener("pointermove", move);
  addEventListener("pointerup", () => removeEventListener("pointermove", move), { once: true });
});
