/* Filters: which rows are listed, how many each choice would leave, and the address that says so. */
const ALL = {
  entity: "all entities", source: "all sources", outcome: "right or wrong", failure: "any failure", probability: "any probability",
  unit: "any units", reason: "any reason", change: "any change", table: "all tables", verdict: "any verdict",
  review: "any review",
};
const FILTERS = Object.keys(ALL);
const CONTROLS = ["search", ...FILTERS, "sort"];
const GROUPS = { ok: ["tp", "tn"], bad: BAD };
let visible = [];

function valueOf(row, name) {
  if (name === "reason") return row.reason || (row.asked && !row.answer ? "empty" : "");
  if (name === "review") return reviewKind(row);
  return name === "probability" ? row.range : row[name];
}

/** The choices of a filter, value and words, in the order in which they are offered. */
function choices(name) {
  const values = new Set(data.rows.map((row) => valueOf(row, name)));
  values.delete("");
  const fixed = { change: Object.keys(data.changes), review: ["corrected", "tagged"] }[name];
  if (fixed) return fixed.map((value) => [value, value]);
  if (name === "outcome" && values.size) return [["ok", "right, all"], ["bad", "wrong, all"], ...Object.entries(data.outcomes)];
  const named = { probability: data.ranges, failure: Object.fromEntries(Object.keys(data.failures).map((key) => [key, key])) }[name];
  if (named) return Object.entries(named).filter(([value]) => values.has(value));
  return [...values].sort().map((value) => [value, name === "unit" ? value.replace(">", "→") : words(value)]);
}

function fillFilters() {
  for (const name of FILTERS) {
    const offered = choices(name);
    $(name).replaceChildren(make("option", { value: "" }, ALL[name]), ...offered.map(([value, label]) => make("option", { value, "data-label": label })));
    if (name === "table" && offered.length > 1) $(name).querySelector("[value=test]").defaultSelected = true;
    $(name).dataset.choices = offered.length;
  }
}

const matches = (row, name, value) => (GROUPS[value] || [value]).includes(valueOf(row, name));

/** List the rows that pass all filters; a choice counts those that pass all others. */
function apply() {
  const state = FILTERS.map((name) => [name, $(name).value]).filter(([, value]) => value);
  const wanted = $("search").value.trim().toLowerCase();
  const counts = Object.fromEntries(FILTERS.map((name) => [name, new Map()]));
  visible = [];
  for (const row of data.rows) {
    if (wanted && row.index !== wanted && !row.text.includes(wanted) && !reviewText(row).includes(wanted)) continue;
    const failed = state.filter(([name, value]) => !matches(row, name, value));
    if (failed.length > 1) continue;
    if (!failed.length) visible.push(row);
    for (const name of failed.length ? [failed[0][0]] : FILTERS) counts[name].set(valueOf(row, name), (counts[name].get(valueOf(row, name)) || 0) + 1);
  }
  for (const name of FILTERS) showCounts(name, counts[name]);
  const order = ORDERS[$("sort").value];
  if (order) visible.sort(order); // a stable sort: ties stay as in the table
  $("counts").replaceChildren(...countsText(visible, Object.fromEntries(state)));
  list();
}

function showCounts(name, counts) {
  for (const option of [...$(name).options].slice(1)) {
    const count = (GROUPS[option.value] || [option.value]).reduce((sum, value) => sum + (counts.get(value) || 0), 0);
    option.textContent = `${option.dataset.label} (${count})`;
    option.disabled = !count && !option.selected;
  }
  const fewest = name === "unit" ? Infinity : name === "reason" || name === "failure" ? 1 : 2; // units come by their table
  const offered = name === "review" && !data.rows.some(reviewKind) ? 0 : $(name).dataset.choices;
  $(name).hidden = !$(name).value && offered < fewest;
}

/** The counts of the listed rows, and their F1 unless they were chosen by what it measures. */
function countsText(rows, state) {
  const n = { tp: 0, fp: 0, fn: 0, tn: 0 };
  for (const row of rows) if (row.outcome) n[row.outcome] += 1;
  const parts = [make("b", { id: "count" }, `${rows.length}`), ` of ${data.rows.length}`];
  if (!(n.tp + n.fp + n.fn + n.tn)) return parts;
  if (!data.chosen && !state.outcome && !state.failure && !state.unit && !state.change) {
    const f1 = n.tp ? (2 * n.tp) / (2 * n.tp + n.fp + n.fn) : 0;
    parts.push(" · F1 ", make("b", { id: "f1" }, f1.toFixed(3)));
  }
  parts.push(` · ${n.tp} right, `, make("span", { class: "fp" }, `${n.fp} wrong`), `, ${n.fn} missed, ${n.tn} rightly empty`);
  return parts;
}

const sure = (row) => (row.probability === null ? 2 : row.probability);
const ORDERS = {
  probability: (a, b) => sure(a) - sure(b),
  "-probability": (a, b) => sure(b) % 2 - sure(a) % 2,
  entity: (a, b) => a.entity.localeCompare(b.entity),
  outcome: (a, b) => BAD.includes(b.outcome) - BAD.includes(a.outcome) || sure(a) - sure(b),
};

/* ---- the address: #row-7&entity=height ---- */

const usual = (control) => ([...(control.options || [])].find((option) => option.defaultSelected) || control.options?.[0])?.value || "";

/** The address of a row (or none) among the rows that are listed now. */
function address(row) {
  const set = CONTROLS.filter((name) => $(name).value !== usual($(name))).map((name) => [name, $(name).value]);
  return `#${[row ? `row-${encodeURIComponent(row.id)}` : "", new URLSearchParams(set).toString()].filter(Boolean).join("&")}`;
}

/** The row's id (null: none) and the filters that the address names. */
function readAddress() {
  const [, , id, filters] = /^#?(row-([^&]*)(?:&|$))?(.*)$/.exec(location.hash);
  return { id: id === undefined ? null : decodeURIComponent(id), filters: new URLSearchParams(filters) };
}

/** Set every control as the address says, those that it does not name as usual. */
function setFilters(filters) {
  for (const name of CONTROLS) {
    $(name).value = filters.get(name) ?? usual($(name));
    if ($(name).selectedIndex < 0) $(name).value = "";
  }
}
