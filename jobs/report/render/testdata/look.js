// Looks at the page in the frame and puts what is wrong into the document.
window.onload = () => {
  const frame = document.querySelector("iframe"), doc = frame.contentDocument, view = frame.contentWindow, wrong = [];
  const luminance = (c) => { const f = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; return 0.2126 * f(c[0]) + 0.7152 * f(c[1]) + 0.0722 * f(c[2]); };
  const numbers = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const ground = (e) => { for (; e; e = e.parentElement) { const c = numbers(view.getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
  let texts = 0;
  for (const e of doc.querySelectorAll("body *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()), style = view.getComputedStyle(e);
    if (!own || ["title", "style"].includes(e.tagName.toLowerCase())) continue;
    texts++;
    const a = luminance(numbers(e instanceof view.SVGElement ? style.fill : style.color)), b = luminance(ground(e));
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) wrong.push(`contrast ${contrast.toFixed(2)}: ${e.tagName} ${e.textContent.slice(0, 30)}`);
  }
  if (texts < 200) wrong.push(`only ${texts} texts were looked at`);
  const root = doc.documentElement;
  if (root.scrollWidth > root.clientWidth) {
    wrong.push(`${root.scrollWidth} wide on a screen of ${root.clientWidth}`);
    for (const e of doc.querySelectorAll("body *")) if (!e.closest(".scroll") && e.getBoundingClientRect().right > root.clientWidth) wrong.push(`too wide: ${e.tagName} ${e.className}`);
  }
  const loaded = view.performance.getEntriesByType("resource");
  for (const r of loaded) wrong.push(`loads ${r.name}`);
  let level = 0;
  for (const h of doc.querySelectorAll("h1,h2,h3,h4,h5,h6")) { const n = Number(h.tagName[1]); if (n > level + 1) wrong.push(`${h.tagName} after H${level}`); level = n; }
  document.body.innerHTML = wrong.length ? `<pre>WRONG ${wrong.slice(0, 20).join("\nWRONG ").replace(/</g, "&lt;")}</pre>` : `<pre>LOOKED at ${texts} texts, dark: ${view.matchMedia("(prefers-color-scheme: dark)").matches}</pre>`;
};
