/* One row: its image with boxes, its answer, its options and why, the text lines, the prompt. */
let boxes = true;
const open = { lines: false, prompt: false };

function overlay(row) {
  const { width, height, lines, segments, product } = imageOf(row);
  const scaled = ([left, top, right, bottom], attributes, ...children) => make("rect", { x: left * width, y: top * height,
    width: Math.max(1, (right - left) * width), height: Math.max(1, (bottom - top) * height), rx: 2, ...attributes }, ...children);
  const layer = make("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" });
  if (product.length) layer.append(scaled(product, { class: "product" }));
  for (const [x0, y0, x1, y1] of segments) {
    layer.append(make("line", { class: "segment", x1: x0 * width, y1: y0 * height, x2: x1 * width, y2: y1 * height }));
  }
  lines.forEach(([text, score, box], i) => layer.append(scaled(box, { class: "text", "data-link": `line-${i}` }, make("title", {}, `${text} (${percent(score)})`))));
  row.options.forEach((option, rank) => {
    option.boxes.forEach((box, i) => {
      layer.append(scaled(box, { class: `option ${option.chosen ? "chosen" : ""}`, style: `--c: var(--o${rank % 8})`, "data-link": `option-${rank}` },
        make("title", {}, `${rank + 1}: ${option.texts.join(" = ")}`)));
      if (i === 0) layer.append(badge(rank, box, width, height));
    });
  });
  return layer;
}

/** The number of an option at a corner of its box, outside, so that it hides no digit. */
function badge(rank, [left, top, right], width, height) {
  const size = Math.max(width, height) / 46;
  const x = left * width > size * 1.2 ? left * width - size * 0.7 : right * width + size * 0.7;
  const y = Math.max(size * 0.6, top * height - size * 0.4);
  return make("g", {}, make("rect", { class: "badge", style: `--c: var(--o${rank % 8})`, rx: size / 3, x: x - size * 0.6, y: y - size * 0.6, width: size * 1.2, height: size * 1.2 }),
    make("text", { x, y, "font-size": size * 0.9 }, `${rank + 1}`));
}

const COLUMNS = {
  rules: "the rules' probability", model: "the model's probability among these options",
  prior: "how usual the amount is among train labels: ×1 is average", combined: "the ensemble's probability, which decides",
};

function optionTable(row) {
  const names = Object.keys(COLUMNS).filter((name) => row.options.some((option) => option[name] !== null));
  const cell = (option, name) => {
    const value = option[name];
    if (name === "prior") return make("td", { class: "number" }, value === null ? "" : `×${value}`);
    return make("td", { class: "number" }, percent(value), value > 0.01 ? make("span", { class: "bar", style: `width: ${Math.round(100 * value)}%` }) : null);
  };
  const rows = row.options.map((option, rank) => {
    const abstains = !option.texts.length;
    const truth = `${row.table === "test" ? "truth" : "label"}${option.chosen && row.other_unit ? " in another unit" : ""}`;
    const marks = [option.chosen ? "answer" : "", option.truth ? truth : ""].filter(Boolean).join(", ");
    return make("tr", { class: option.chosen ? "chosen" : "", "data-link": `option-${rank}` },
      make("td", {}, abstains ? "" : make("span", { class: "key", style: `--c: var(--o${rank % 8})` }, `${rank + 1}`)),
      make("td", {}, abstains ? make("span", { class: "none-given" }, "(empty)") : option.texts.join(" = "),
        make("div", { class: `mark ${option.truth && !(option.chosen && row.other_unit) ? "tp" : ""}` }, marks)),
      ...names.map((name) => cell(option, name)));
  });
  if (row.something_else >= 0.005) {
    const share = make("td", { class: "number", title: "of the model's probability, before the options' was made 100 %" }, percent(row.something_else));
    rows.push(make("tr", { class: "else" }, make("td"), make("td", {}, "something else"), ...names.map((name) => (name === "model" ? share : make("td")))));
  }
  const heads = names.map((name) => make("th", { class: "number", title: COLUMNS[name] }, name));
  return make("table", { class: "options" }, make("tr", {}, make("th"), make("th", {}, "option"), ...heads), ...rows);
}

const SOURCES = { both: "rules and model", rules: "the rules", model: "the model", neither: "neither rules nor model" };

function facts(row) {
  const shown = (text, none = "(none)") => text || make("span", { class: "none-given" }, none);
  const pairs = [];
  const add = (name, ...value) => pairs.push(make("dt", {}, name), make("dd", {}, ...value));
  const colour = row.other_unit ? "fn" : row.outcome;
  if (row.asked) {
    pairs.push(make("dt", {}, "answer"), make("dd", { class: `big ${colour}` }, shown(row.answer, "(empty)")));
    if (row.outcome) add("result", make("span", { class: colour }, row.other_unit ? "same amount, other unit" : data.outcomes[row.outcome]));
  }
  if (row.failure) add("failure", `${row.failure}: ${data.failures[row.failure]}`);
  if (row.truth !== null) add(row.table === "test" ? "truth" : "label", shown(row.truth));
  if (row.other !== null) add("other run", shown(row.other, "(empty)"), row.change ? ` (${row.change}: ${data.changes[row.change]})` : "");
  if (row.why) add("why", row.why);
  if (row.verdict) add("audit", `${row.verdict}: ${row.action}`);
  if (row.reason) add("not asked", row.reason);
  if (row.source) add("source", SOURCES[row.source], row.probability === null ? "" : `, probability ${percent(row.probability)}`);
  if (row.confidence !== null) add("model", shown(row.model_answer, "(empty)"), ` ${percent(row.confidence)}`);
  if (row.rules_probability !== null) add("rules", shown(row.rules, "(empty)"), ` ${percent(row.rules_probability)}`);
  if (row.link) add("image", row.link);
  if (row.note) add("note", row.note);
  return make("dl", { class: "facts-list" }, ...pairs);
}

/** A part that stays open or closed from row to row. */
function folded(name, title, content) {
  return make("details", { open: open[name] ? "" : null, ontoggle: (event) => { open[name] = event.target.open; } }, make("summary", {}, title), content);
}

function figureOf(row) {
  const source = uri(row);
  if (!source) return make("figure", {}, make("div", { class: "gone" }, "no image"));
  const { width, height } = imageOf(row);
  const ratio = (width / height).toFixed(3);
  const layers = [["text", "#7b8794"], ["options", "var(--o0)"], ["lines drawn near them", "var(--drawn)"]];
  const stage = make("div", { class: "stage" }, make("img", { src: source, alt: `image of row ${row.id}`, draggable: "false" }), overlay(row));
  return make("figure", { class: boxes ? "" : "bare", style: `max-width: calc((100vh - var(--bar, 48px) - 110px) * ${ratio})` },
    zoomable(stage, `aspect-ratio: ${ratio}`),
    make("div", { class: "layers" }, ...layers.map(([name, colour]) => make("span", {}, make("i", { style: `--c: ${colour}` }), name)), zoomButtons()));
}

/** Return the prompt of a row, as src/model/prompts.py makes it. */
function promptOf(row) {
  const { before, template, after } = data.prompt;
  const words = { context: imageOf(row).context, question: data.questions[row.entity] };
  return `${before} ${template.replace(/{(context|question)}/g, (_, name) => words[name]).trim()}${after}`;
}

function show(row) {
  const { lines } = imageOf(row);
  const read = make("ol", { class: "lines" }, ...lines.map(([text, score], i) => make("li", { "data-link": `line-${i}` }, text, " ", make("small", {}, percent(score)))));
  const prompt = data.prompt && data.questions[row.entity] && make("pre", {}, promptOf(row));
  $("question").textContent = data.questions[row.entity] || row.entity;
  $("self").textContent = `#${row.id}`;
  $("self").href = address(row);
  $("view").replaceChildren(figureOf(row), make("div", {}, facts(row), row.link ? reviewForm(row) : null, row.options.length ? optionTable(row) : null,
    lines.length ? folded("lines", `${lines.length} lines read`, read) : null, prompt && !row.reason ? folded("prompt", "prompt", prompt) : null));
  $("detail").scrollTop = 0;
}

/** Show a sentence in place of a row. */
function showNothing(sentence) {
  $("question").textContent = sentence;
  $("self").textContent = "";
  $("view").replaceChildren(data.chosen);
}

/** Mark what belongs together: a text line or an option, in the lists and on the image. */
function link(event) {
  const under = event.type === "pointerleave" ? [] : document.elementsFromPoint(event.clientX, event.clientY);
  const keys = new Set(under.map((element) => element.closest("[data-link]")?.dataset.link));
  for (const element of $("detail").querySelectorAll("[data-link]")) element.classList.toggle("hot", keys.has(element.dataset.link));
}
for (const type of ["pointermove", "pointerleave"]) $("detail").addEventListener(type, link);
