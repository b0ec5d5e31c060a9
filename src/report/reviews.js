/* Reviews: a tag and a corrected label per row, kept in the browser and exported as rows for train.csv. */
const STORE = `reviews of ${location.pathname}`;
const NOT_SHOWN = "(empty)";
const TAGS = ["label is wrong", "not in the image", "cannot be read", "several values", "another product"];
const FORMULA = /^[=+@-]/;
const reviews = new Map(); // by image link and entity, which stay the same from run to run
let kept = true; // whether the browser keeps them

/** The review of a row; its label is null where it is not corrected, empty where the image does not show it. */
const reviewOf = (row) => reviews.get(row.reviewKey) || { tag: "", label: null };
const reviewText = (row) => reviewOf(row).tag.toLowerCase();
const unitsOf = (row) => (Object.hasOwn(data.units, row.entity) ? data.units[row.entity] : []);

function reviewKind(row) {
  const { tag, label } = reviewOf(row);
  return label !== null ? "corrected" : tag && "tagged";
}

/** What the browser keeps; throws where it keeps nothing. */
const stored = () => new Map(JSON.parse(localStorage.getItem(STORE) || "[]"));

function readReviews() {
  for (const row of data.rows) row.reviewKey = JSON.stringify([row.link, row.entity]);
  try {
    for (const [key, { tag, label }] of stored()) reviews.set(key, { tag, label });
  } catch {
    kept = false;
  }
  showExport();
}

/** Keep a review, beside those that another tab has kept by now. The selection stays, listed or not. */
function keep(row, review) {
  const change = (entries) => (review.tag || review.label !== null ? entries.set(row.reviewKey, review) : entries.delete(row.reviewKey));
  change(reviews);
  try {
    const entries = stored();
    change(entries);
    localStorage.setItem(STORE, JSON.stringify([...entries]));
  } catch {
    kept = false;
  }
  for (const other of data.rows) {
    if (other.item && other.reviewKey === row.reviewKey) other.item.querySelector(".reviewed").textContent = reviewKind(other);
  }
  showExport();
  apply();
}

/* ---- the form ---- */

/** The label that a text gives a row: null for none, undefined for one that is not valid. */
function labelOf(row, text) {
  const label = text.trim().replace(/\s+/g, " ").toLowerCase();
  if (!label || label === NOT_SHOWN) return label ? "" : null;
  const [, unit] = /^[0-9]+(?:\.[0-9]+)? (.+)$/.exec(label) || [];
  return unitsOf(row).includes(unit) ? label : undefined;
}

function reviewForm(row) {
  const { tag, label } = reviewOf(row);
  const units = unitsOf(row); // none for an entity that is not known: no label can be right
  const offered = (id, texts) => make("datalist", { id }, ...[...new Set(texts)].map((value) => make("option", { value })));
  const field = (id, name, value, texts, attributes) => make("label", {}, name, make("input", { id, list: `${id}-choices`, value, ...attributes }), offered(`${id}-choices`, texts));
  const allowed = `Not kept: write a number and one of ${units.join(", ")}; or ${NOT_SHOWN} if the image does not show it.`;
  const refused = make("p", { id: "refused", hidden: "" }, allowed);
  const lost = make("p", { id: "lost", hidden: kept ? "" : null }, "This browser does not keep reviews: export them before you leave or reload the page.");
  const update = () => {
    const given = units.length ? labelOf(row, $("label").value) : null;
    refused.hidden = given !== undefined;
    $("label")?.setAttribute("aria-invalid", given === undefined);
    keep(row, { tag: $("tag").value.trim(), label: given ?? null });
    lost.hidden = kept;
  };
  const texts = [...row.options.flatMap((option) => option.texts), NOT_SHOWN];
  return make("form", { id: "review-form", autocomplete: "off", oninput: update, onsubmit: (event) => event.preventDefault() },
    field("tag", "tag", tag, [...TAGS, ...[...reviews.values()].map((review) => review.tag).filter(Boolean)]),
    units.length ? field("label", "corrected label", label === "" ? NOT_SHOWN : label, texts, { placeholder: `12.5 ${units[0]}`, "aria-errormessage": "refused" }) : null,
    refused, lost);
}

/* ---- the export ---- */

/** The rows for train.csv, one per image and entity: those with a corrected label, and tagged ones whose label is known. */
function exported() {
  const rows = new Map();
  for (const row of data.rows) {
    const { tag, label } = reviewOf(row);
    const value = reviewKind(row) ? label ?? row.truth : null;
    if (value === null || !unitsOf(row).length || FORMULA.test(value) || rows.has(row.reviewKey)) continue;
    // train.csv needs links, groups and labels as they are, and no label begins like a formula. A tag is for people:
    // an apostrophe keeps a spreadsheet from running it.
    rows.set(row.reviewKey, [row.link, row.group, row.entity, value, FORMULA.test(tag) ? `'${tag}` : tag]);
  }
  return [...rows.values()];
}

function showExport() {
  const count = exported().length;
  $("export").hidden = !data.rows.some(reviewKind);
  $("export").disabled = !count;
  $("export").textContent = `export ${count} review${count === 1 ? "" : "s"}`;
}

function download() {
  const quoted = (cells) => cells.map((cell) => `"${cell.replaceAll('"', '""')}"`).join(",");
  const lines = ["image_link,group_id,entity_name,entity_value,tag", ...exported().map(quoted)];
  const url = URL.createObjectURL(new Blob(lines.map((line) => `${line}\r\n`), { type: "text/csv" }));
  make("a", { href: url, download: "reviews.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(url));
}
