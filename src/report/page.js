"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const ALL = { entity: "all entities", source: "all sources", outcome: "right or wrong", reason: "any reason", table: "train and test", verdict: "any verdict" };
const FILTERS = Object.keys(ALL);
const BAD = ["fp", "fn"];
let visible = [];
let current = null;
let boxes = true;

/** An element; children may be elements or texts, and are never parsed as HTML. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "rect", "line", "text", "title", "g"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const percent = (share) => (share === null ? "" : `${Math.round(100 * share)} %`);
const words = (name) => name.replaceAll("_", " ").replace(" recommendation", "");
const uri = (row) => $(`uri-${row.picture}`).textContent;
const picture = (row) => data.pictures[row.picture];

for (const row of data.rows) {
  row.id = (row.table === "train" ? "train-" : "") + row.index;
  const lines = picture(row).lines.map((line) => line[0]);
  row.text = [row.id, row.entity, row.answer, row.truth || "", row.model_answer, row.rules, row.link, ...lines].join("\n").toLowerCase();
}
const byId = new Map(data.rows.map((row) => [row.id, row]));

/* ---- filters ---- */

function valueOf(row, name) {
  if (name === "outcome") return row.outcome;
  if (name === "reason") return row.reason || (row.asked && !row.answer ? "empty" : "");
  return row[name];
}

function fillFilters() {
  for (const name of FILTERS) {
    const counts = new Map();
    for (const row of data.rows) counts.set(valueOf(row, name), (counts.get(valueOf(row, name)) || 0) + 1);
    counts.delete("");
    const options = [...counts].sort().map(([value, count]) => {
      const label = name === "outcome" ? data.outcomes[value] : words(value);
      return make("option", { value }, `${label} (${count})`);
    });
    if (name === "outcome" && counts.size) {
      options.unshift(make("option", { value: "ok" }, "right, all"), make("option", { value: "bad" }, "wrong, all"));
    }
    $(name).replaceChildren(make("option", { value: "" }, ALL[name]), ...options);
    if (name === "table" && counts.size > 1) $(name).querySelector("[value=test]").defaultSelected = true;
    $(name).hidden = counts.size < (name === "reason" ? 1 : 2);
  }
}

function passes(row) {
  const wanted = $("search").value.trim().toLowerCase();
  if (wanted && !(row.index === wanted || row.text.includes(wanted))) return false;
  for (const name of FILTERS) {
    const value = $(name).value;
    if (value === "ok" ? !["tp", "tn"].includes(row.outcome) : value === "bad" ? !BAD.includes(row.outcome) : value && valueOf(row, name) !== value) return false;
  }
  if ($("probability").value) {
    const [low, high] = $("probability").value.split("-").map(Number);
    if (row.probability === null || row.probability < low || row.probability >= high) return false;
  }
  return true;
}

const sure = (row) => (row.probability === null ? 2 : row.probability);
const ORDERS = {
  probability: (a, b) => sure(a) - sure(b),
  "-probability": (a, b) => sure(b) % 2 - sure(a) % 2,
  entity: (a, b) => a.entity.localeCompare(b.entity),
  outcome: (a, b) => BAD.includes(b.outcome) - BAD.includes(a.outcome) || sure(a) - sure(b),
};

function countsText(rows) {
  const n = { tp: 0, fp: 0, fn: 0, tn: 0 };
  for (const row of rows) if (row.outcome) n[row.outcome] += 1;
  const known = n.tp + n.fp + n.fn + n.tn;
  const parts = [make("b", { id: "count" }, `${rows.length}`), ` of ${data.rows.length}`];
  if (known) {
    const f1 = n.tp ? (2 * n.tp) / (2 * n.tp + n.fp + n.fn) : 0;
    parts.push(" · F1 ", make("b", { id: "f1" }, f1.toFixed(3)), ` · ${n.tp} right, `, make("span", { class: "fp" }, `${n.fp} wrong`));
    parts.push(`, ${n.fn} missed, ${n.tn} rightly empty`);
  }
  return parts;
}

function apply() {
  visible = data.rows.filter(passes);
  const order = ORDERS[$("sort").value];
  if (order) visible.sort(order); // a stable sort: ties stay as in the table
  const items = visible.map(item);
  $("list").replaceChildren(...(items.length ? items : [make("li", { class: "empty" }, "no such row")]));
  $("counts").replaceChildren(...countsText(visible));
}

/* ---- list ---- */

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const image = entry.target.firstChild;
    if (entry.isIntersecting && image.tagName === "IMG" && !image.src) image.src = uri(entry.target.row) || "data:,";
    else if (!entry.isIntersecting && image.tagName === "IMG") image.removeAttribute("src"); // decoded pixels are large
  }
}, { rootMargin: "400px" });

function answerOf(row) {
  if (!row.asked && row.table === "train") return `label: ${row.truth || "(none)"}`;
  return row.answer || (row.asked ? "(empty)" : "(not asked)");
}

function item(row) {
  if (row.item) return row.item;
  const wanted = row.truth === null || row.outcome === "tp" || row.outcome === "tn" ? null : ` ≠ ${row.truth || "(none)"}`;
  const from = [row.source, percent(row.probability), row.reason, row.verdict].filter(Boolean).join(" · ");
  row.item = make("li", { role: "option", id: `row-${row.id}`, "aria-selected": "false", onclick: () => select(row, true) },
    make("img", { class: "thumb", alt: "", decoding: "async" }),
    make("span", { class: "what" }, words(row.entity)), make("span", { class: "index" }, row.id),
    make("span", { class: `answer ${row.outcome} ${row.answer ? "" : "none-given"}` }, answerOf(row), row.asked ? wanted : null),
    make("span", { class: "from" }, from));
  row.item.row = row;
  seen.observe(row.item);
  return row.item;
}

/* ---- detail ---- */

function overlay(row) {
  const { width, height, lines, segments, product } = picture(row);
  const scaled = ([left, top, right, bottom], attributes, ...children) => make("rect", { x: left * width, y: top * height,
    width: Math.max(1, (right - left) * width), height: Math.max(1, (bottom - top) * height), rx: 2, ...attributes }, ...children);
  const layer = make("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" });
  if (product.length) layer.append(scaled(product, { class: "product" }));
  for (const [x0, y0, x1, y1] of segments) {
    layer.append(make("line", { class: "segment", x1: x0 * width, y1: y0 * height, x2: x1 * width, y2: y1 * height }));
  }
  for (const [text, score, box] of lines) layer.append(scaled(box, { class: "text" }, make("title", {}, `${text} (${percent(score)})`)));
  const size = Math.max(width, height) / 46;
  row.options.forEach((option, rank) => {
    for (const box of option.boxes) {
      const style = `--c: var(--o${rank % 8})`;
      layer.append(scaled(box, { class: `option ${option.chosen ? "chosen" : ""}`, style, "data-option": rank },
        make("title", {}, `${rank + 1}: ${option.texts.join(" = ")}`)));
      const x = Math.max(box[0] * width, size * 0.6);
      const y = Math.max(box[1] * height, size * 0.6);
      layer.append(make("g", {}, make("rect", { class: "badge", style, rx: size / 3, x: x - size * 0.6, y: y - size * 0.6, width: size * 1.2, height: size * 1.2 }),
        make("text", { x, y, "font-size": size * 0.9 }, `${rank + 1}`)));
    }
  });
  return layer;
}

function optionTable(row) {
  const cell = (share) => make("td", { class: "number" }, percent(share), !share || share < 0.01 ? null : make("span", { class: "bar", style: `width: ${Math.round(100 * share)}%` }));
  const byModel = row.options.some((option) => option.model !== null);
  const rows = row.options.map((option, rank) => {
    const hot = (on) => () => document.querySelectorAll(`[data-option="${rank}"]`).forEach((box) => box.classList.toggle("hot", on));
    const abstains = !option.texts.length;
    const marks = [option.chosen ? "answer" : "", option.truth ? (row.table === "train" ? "label" : "truth") : ""].filter(Boolean).join(", ");
    return make("tr", { class: option.chosen ? "chosen" : "", onmouseenter: hot(true), onmouseleave: hot(false) },
      make("td", {}, abstains ? "" : make("span", { class: "key", style: `--c: var(--o${rank % 8})` }, `${rank + 1}`)),
      make("td", { class: abstains ? "none-given" : "" }, abstains ? "(empty)" : option.texts.join(" = ")),
      cell(option.rules), byModel ? cell(option.model) : null, make("td", { class: option.truth ? "tp" : "" }, marks));
  });
  return make("table", { class: "options" }, make("tr", {}, ...["", "option", "rules", ...(byModel ? ["model"] : []), ""].map((name) => make("th", {}, name))), ...rows);
}

function facts(row) {
  const shown = (text, none = "(none)") => text || make("span", { class: "none-given" }, none);
  const pairs = [];
  const add = (name, ...value) => pairs.push(make("dt", {}, name), make("dd", {}, ...value));
  if (row.asked) {
    pairs.push(make("dt", {}, "answer"), make("dd", { class: `big ${row.outcome}` }, shown(row.answer, "(empty)")));
    if (row.outcome) add("result", make("span", { class: row.outcome }, data.outcomes[row.outcome]));
  }
  if (row.truth !== null) add(row.table === "train" ? "label" : "truth", shown(row.truth));
  if (row.verdict) add("audit", `${row.verdict}: ${row.action}`);
  if (row.reason) add("not asked", row.reason);
  if (row.source) add("source", `${row.source}${row.probability === null ? "" : `, probability ${percent(row.probability)}`}`);
  if (row.confidence !== null) add("model", shown(row.model_answer, "(empty)"), ` ${percent(row.confidence)}`);
  if (row.rules_probability !== null) add("rules", shown(row.rules, "(empty)"), ` ${percent(row.rules_probability)}`);
  if (row.link) add("picture", row.link);
  if (row.note) add("note", row.note);
  return make("dl", { class: "facts-list" }, ...pairs);
}

function show(row) {
  const { width, height, lines } = picture(row);
  const source = uri(row);
  const ratio = (width / height).toFixed(3);
  const figure = make("figure", { class: boxes ? "" : "bare", style: `max-width: calc((100vh - var(--bar, 48px) - 110px) * ${ratio})` },
    source ? make("div", { class: "stage", style: `aspect-ratio: ${ratio}` }, make("img", { src: source, alt: `picture of row ${row.id}` }), overlay(row))
      : make("div", { class: "gone" }, "no picture"),
    source ? make("div", { class: "layers" }, ...[["text", "#7b8794"], ["candidates", "var(--o0)"], ["lines drawn near them", "var(--drawn)"]].map(([name, colour]) =>
      make("span", {}, make("i", { style: `--c: ${colour}` }), name))) : null);
  const nav = make("nav", {}, make("button", { type: "button", title: "key: k", onclick: () => step(-1) }, "‹ previous"),
    make("button", { type: "button", title: "key: j", onclick: () => step(1) }, "next ›"),
    make("button", { type: "button", class: "close", onclick: () => document.body.classList.remove("open") }, "close"));
  const read = lines.length ? make("details", {}, make("summary", {}, `${lines.length} lines read`),
    make("ol", { class: "lines" }, ...lines.map(([text, score]) => make("li", {}, text, " ", make("small", {}, percent(score)))))) : null;
  $("detail").replaceChildren(make("div", { class: "top" }, make("h2", {}, data.questions[row.entity] || row.entity),
    make("a", { href: `#row-${row.id}`, title: "link to this row" }, `#${row.id}`), nav), figure, make("div", {}, facts(row), optionTable(row), read));
  $("detail").scrollTop = 0;
}

function select(row, open = false) {
  if (current && current.item) current.item.setAttribute("aria-selected", "false");
  current = row;
  item(row).setAttribute("aria-selected", "true");
  $("list").setAttribute("aria-activedescendant", row.item.id);
  row.item.scrollIntoView({ block: "nearest" });
  show(row);
  if (open) {
    document.body.classList.add("open");
    history.replaceState(null, "", `#row-${row.id}`);
  }
}

function step(by, wanted = () => true) {
  if (innerWidth >= 760) $("filters").scrollIntoView({ block: "start" }); // the summary makes room
  let at = visible.indexOf(current) + by;
  while (at >= 0 && at < visible.length && !wanted(visible[at])) at += by;
  if (visible[at]) select(visible[at], true);
}

function goToHash() {
  const row = byId.get(decodeURIComponent(location.hash.replace(/^#row-/, "")));
  if (!row) return false;
  if (!visible.includes(row)) {
    $("filters").reset();
    $("table").value = row.table;
    apply();
  }
  select(row, true);
  if (innerWidth >= 760) $("filters").scrollIntoView({ block: "start" });
  return true;
}

const KEYS = {
  j: () => step(1), ArrowDown: () => step(1), n: () => step(1), k: () => step(-1), ArrowUp: () => step(-1), p: () => step(-1),
  w: () => step(1, (row) => BAD.includes(row.outcome)),
  b: () => { boxes = !boxes; document.querySelector("figure")?.classList.toggle("bare", !boxes); },
  "/": () => $("search").focus(),
  Escape: () => { if (document.body.classList.contains("open") && innerWidth < 760) document.body.classList.remove("open"); else $("filters").reset(); },
};
document.addEventListener("keydown", (event) => {
  const typing = ["INPUT", "SELECT"].includes(event.target.tagName);
  if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) return;
  if (typing) event.target.blur();
  const action = KEYS[event.key];
  if (action) { event.preventDefault(); action(); }
});
$("filters").addEventListener("input", apply);
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("filters").addEventListener("reset", () => setTimeout(apply));
$("scores")?.addEventListener("click", (event) => {
  if (event.target.dataset.entity === undefined) return;
  $("entity").value = event.target.dataset.entity;
  apply();
});
addEventListener("hashchange", goToHash);
const measure = () => document.documentElement.style.setProperty("--bar", innerWidth < 760 ? "0px" : `${$("filters").offsetHeight}px`);
addEventListener("resize", measure);

if (innerWidth < 760) $("summary").open = false;
fillFilters();
apply();
measure();
if (!goToHash() && visible.length) select(visible[0]);
