/* The list of rows. */
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const image = entry.target.firstChild;
    if (image.tagName !== "IMG") continue;
    if (!entry.isIntersecting) image.removeAttribute("src"); // decoded pixels are large
    else if (!image.src) image.src = uri(entry.target.row) || "data:,";
  }
}, { rootMargin: "400px" });

function answerOf(row) {
  if (row.table === "train") return `label: ${row.truth || "(none)"}`;
  return row.answer || (row.asked ? "(empty)" : "(not asked)");
}

function item(row) {
  if (row.item) return row.item;
  const wanted = BAD.includes(row.outcome) && row.asked ? ` ≠ ${row.truth || "(none)"}` : null;
  const change = row.change && `${row.change}, other run: ${row.other || "(empty)"}`;
  const from = [change, row.failure || row.source, percent(row.probability), row.reason, row.verdict].filter(Boolean).join(" · ");
  row.item = make("li", { role: "option", id: `item-${row.id}`, "aria-selected": "false", onclick: () => select(row, true) },
    make("img", { class: "thumb", alt: "", decoding: "async" }),
    make("span", { class: "what" }, words(row.entity)), make("span", { class: "index" }, make("b", { class: "reviewed" }, reviewKind(row)), row.id),
    make("span", { class: `answer ${row.other_unit ? "fn" : row.outcome} ${row.answer ? "" : "none-given"}` }, answerOf(row), wanted),
    make("span", { class: "from" }, from));
  row.item.row = row;
  seen.observe(row.item);
  return row.item;
}

let listed = null; // the rows that the list shows

function list() {
  if (listed?.length === visible.length && visible.every((row, i) => row === listed[i])) return; // many rows take time
  listed = visible;
  const items = visible.map(item);
  $("list").replaceChildren(...(items.length ? items : [make("li", { class: "empty" }, "no such row")]));
}
