/* Choosing a row, by mouse, keys and address. */
let current = null;
let linked = null; // the row that the address names

function select(row, named = false) {
  current?.item?.setAttribute("aria-selected", "false");
  current = row;
  linked = named ? row : null;
  if (!row) return showNothing("no such row");
  item(row).setAttribute("aria-selected", "true");
  $("list").setAttribute("aria-activedescendant", row.item.id);
  row.item.scrollIntoView({ block: "nearest" });
  show(row);
  if (named) opened();
}

/** Name the row in the address; on a phone it lies over the list, until Back. */
function opened() {
  if (narrow() && !document.body.classList.contains("open")) {
    history.pushState({ overlay: true }, "", address(linked));
    document.body.classList.add("open");
  } else history.replaceState(history.state, "", address(linked));
}

function closeOverlay() {
  if (history.state?.overlay) history.back();
  else leave();
}

function leave() {
  document.body.classList.remove("open");
  linked = null;
  history.replaceState(null, "", address(null));
}

/** List the rows anew; the detail shows one of them. */
function refilter() {
  apply();
  if (!current || !visible.includes(current)) select(visible[0] || null);
  history.replaceState(history.state, "", address(linked));
}

const toTheList = () => { if (!narrow()) $("filters").scrollIntoView({ block: "start" }); }; // the summary makes room

function step(by, wanted = () => true) {
  toTheList();
  let at = visible.indexOf(current) + by;
  while (at >= 0 && at < visible.length && !wanted(visible[at])) at += by;
  if (visible[at]) select(visible[at], true);
}

function goToAddress() {
  const { id, filters } = readAddress();
  if (filters.size || id === null) setFilters(filters);
  apply();
  const row = byId.get(id);
  if (row && !visible.includes(row)) {
    setFilters(new URLSearchParams({ table: row.table }));
    apply();
  }
  if (id === null) {
    document.body.classList.remove("open");
    linked = null;
    if (!current || !visible.includes(current)) select(visible[0] || null);
    if (filters.size) $("filters").scrollIntoView({ block: "start" });
  } else if (row) {
    select(row, true);
    toTheList();
  } else {
    select(null);
    showNothing(`row ${id} is not on this page`);
    document.body.classList.add("open");
  }
}

const KEYS = {
  j: () => step(1), ArrowDown: () => step(1), n: () => step(1), k: () => step(-1), ArrowUp: () => step(-1), p: () => step(-1),
  w: () => step(1, (row) => BAD.includes(row.outcome)),
  b: () => { boxes = !boxes; document.querySelector("figure")?.classList.toggle("bare", !boxes); },
  "+": () => zoomBy(1.6), "-": () => zoomBy(1 / 1.6), 0: () => zoomBy(0),
  "/": () => $("search").focus(),
  Escape: () => { if (narrow() && document.body.classList.contains("open")) closeOverlay(); else $("filters").reset(); },
};
document.addEventListener("keydown", (event) => {
  const typing = ["INPUT", "SELECT"].includes(event.target.tagName);
  if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key !== "Escape")) return;
  if (typing) event.target.blur();
  if (event.target.form?.id === "review-form") return;
  const action = KEYS[event.key];
  if (action) { event.preventDefault(); action(); }
});
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
$("close").addEventListener("click", closeOverlay);
$("export").addEventListener("click", download);
$("filters").addEventListener("input", refilter);
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("filters").addEventListener("reset", () => setTimeout(refilter));
addEventListener("hashchange", goToAddress);
$("summary").addEventListener("focusin", (event) => event.target.scrollIntoView({ block: "nearest", inline: "nearest" })); // browsers leave one that is cut off
const measure = () => document.documentElement.style.setProperty("--bar", narrow() ? "0px" : `${$("filters").offsetHeight}px`);
addEventListener("resize", measure);
new ResizeObserver(measure).observe($("filters"));

if (narrow()) $("summary").open = false;
readReviews();
fillFilters();
measure();
if (narrow() && readAddress().id !== null) { // so that Back leads to the list
  const named = location.hash;
  history.replaceState(null, "", `#${readAddress().filters}`);
  history.pushState({ overlay: true }, "", named);
  document.body.classList.add("open");
}
goToAddress();
