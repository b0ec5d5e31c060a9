/* What a look at the page finds, as functions for the tests. */

/** Texts whose contrast with their ground is below 4.5. */
const lowContrasts = () => {
  const channels = (colour) => (colour.match(/[0-9.]+/g) || [0, 0, 0, 0]).map(Number);
  const luminance = (rgb) => rgb.slice(0, 3).reduce((sum, level, i) => {
    const c = level / 255;
    return sum + [0.2126, 0.7152, 0.0722][i] * (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  }, 0);
  const backOf = (element) => {
    for (let it = element; it; it = it.parentElement) {
      const back = channels(getComputedStyle(it).backgroundColor);
      if (back.length < 4 || back[3] === 1) return back;
    }
    return [255, 255, 255];
  };
  const low = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility() || element.closest("script, select")) continue;
    const style = getComputedStyle(element), svg = element.closest("svg");
    const badge = element.previousElementSibling?.classList.contains("badge") ? element.previousElementSibling : null;
    const text = luminance(channels(svg ? style.fill : style.color));
    const back = luminance(badge ? channels(getComputedStyle(badge).fill) : backOf(svg || element));
    const ratio = (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${element.tagName}.${element.className.baseVal ?? element.className}: ${walker.currentNode.textContent.slice(0, 30)}`);
  }
  return low;
};

/** Elements whose focus ring is cut off at a side, or not there. */
const cutRings = () => {
  const cut = [];
  for (const element of document.querySelectorAll("a[href], button, input, select, summary, [tabindex]")) {
    if (!element.checkVisibility()) continue;
    element.focus({ focusVisible: true });
    const style = getComputedStyle(element), grown = parseFloat(style.outlineOffset) + parseFloat(style.outlineWidth);
    const box = element.getBoundingClientRect();
    if (style.outlineStyle === "none") cut.push(`none: ${element.outerHTML.slice(0, 80)}`);
    for (let it = element.parentElement; it; it = it.parentElement) {
      if (getComputedStyle(it).overflowX === "visible" || it === document.body) continue;
      const clip = it.getBoundingClientRect();
      if (box.left - grown < clip.left - 0.5 || box.right + grown > clip.right + 0.5) cut.push(`${it.tagName}#${it.id} cuts ${element.outerHTML.slice(0, 80)}`);
    }
  }
  return cut;
};
