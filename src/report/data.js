"use strict";
/* The page's data, and how elements are made of it. */
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const BAD = ["fp", "fn"];
const SVG = ["svg", "rect", "line", "text", "title", "g"];

/** An element; children may be elements or texts, and are never parsed as HTML. */
function make(tag, attributes = {}, ...children) {
  const element = SVG.includes(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const percent = (share) => (share === null ? "" : `${Math.round(100 * share)} %`);
const words = (name) => name.replaceAll("_", " ").replace(" recommendation", "");
const narrow = () => innerWidth < 760;
const uri = (row) => $(`uri-${row.image}`).textContent;
const imageOf = (row) => data.images[row.image];

for (const row of data.rows) {
  const lines = imageOf(row).lines.map((line) => line[0]);
  row.text = [row.id, row.entity, row.answer, row.truth || "", row.other || "", row.model_answer, row.rules, row.link, ...lines].join("\n").toLowerCase();
}
const byId = new Map(data.rows.map((row) => [row.id, row]));
