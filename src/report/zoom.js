/* Zoom and pan of the image: buttons, keys, double click, pinch, Ctrl and the wheel; once zoomed, wheel and drag. */
const MOST_ZOOM = 6;
let zoom = null; // of the image that is shown: its stage, scale and place in the frame, px

function zoomable(stage, style) {
  const frame = make("div", { class: "frame", style }, stage);
  const pointers = new Map();
  zoom = { stage, scale: 1, x: 0, y: 0 };
  const at = (event) => { const box = frame.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  frame.addEventListener("wheel", (event) => {
    if (zoom.scale === 1 && !event.ctrlKey && !event.metaKey) return; // the page scrolls
    event.preventDefault();
    zoomBy(2 ** (-event.deltaY / 300), at(event));
  }, { passive: false });
  frame.addEventListener("dblclick", (event) => zoomBy(zoom.scale > 1 ? 0 : 3, at(event)));
  frame.addEventListener("pointerdown", (event) => { pointers.set(event.pointerId, at(event)); frame.setPointerCapture(event.pointerId); });
  for (const type of ["pointerup", "pointercancel"]) frame.addEventListener(type, (event) => pointers.delete(event.pointerId));
  frame.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const before = [...pointers.values()];
    pointers.set(event.pointerId, at(event));
    const after = [...pointers.values()];
    const middle = (points) => [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
    const [[x0, y0], [x1, y1]] = [middle(before), middle(after)];
    zoom.x += x1 - x0;
    zoom.y += y1 - y0;
    const spread = ([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1]) || 1;
    zoomBy(after.length > 1 ? spread(after) / spread(before) : 1, [x1, y1]);
  });
  return frame;
}

/** Zoom about a point of the frame (its middle by default); the image keeps covering the frame. */
function zoomBy(factor, at) {
  const { clientWidth: width, clientHeight: height } = zoom.stage.parentElement;
  const [x, y] = at || [width / 2, height / 2];
  const scale = Math.min(MOST_ZOOM, Math.max(1, zoom.scale * factor));
  const within = (place, size) => Math.min(0, Math.max(size * (1 - scale), place));
  zoom.x = within(x - ((x - zoom.x) * scale) / zoom.scale, width);
  zoom.y = within(y - ((y - zoom.y) * scale) / zoom.scale, height);
  zoom.scale = scale;
  zoom.stage.style.cssText = `transform: translate(${zoom.x}px, ${zoom.y}px) scale(${scale}); --zoom: ${scale}`;
  zoom.stage.parentElement.classList.toggle("zoomed", scale > 1);
}

function zoomButtons() {
  const buttons = [["−", "zoom out", 1 / 1.6], ["+", "zoom in", 1.6], ["1:1", "whole image", 0]];
  return make("span", { class: "zoom" }, ...buttons.map(([text, label, factor]) =>
    make("button", { type: "button", "aria-label": label, title: label, onclick: () => zoomBy(factor) }, text)));
}
