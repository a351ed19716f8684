// One plotly figure on the page, redrawn with a single Plotly.react a change.
//
// Until plotly.js is there, or for good where no kernel answers, the still picture (an SVG the kernel drew)
// stands in its place. The library is asked for once a page, whatever the number of views, and lives only in
// this page's memory: a saved notebook holds the figures, never the library.

const page = (globalThis.lorakitPage ??= {
  id: Math.random().toString(36).slice(2),
  Plotly: null,
  waiting: [],
  patience: 5000, // ms; doubled at every repeated question
});

// ---- plotly.js: ask, receive, load ----------------------------------------------------------------------

function want(view) {
  if (page.Plotly) return view.start();
  page.waiting.push(view);
  if (page.waiting.length === 1) ask();
}

function ask() {
  // A view restored from a saved notebook has nobody to answer it: if no answer comes, the next one asks.
  clearTimeout(page.timer);
  const view = page.waiting.shift();
  if (!view) return;
  page.waiting.push(view);
  view.model.send({ page: page.id });
  page.timer = setTimeout(ask, page.patience);
  page.patience *= 2;
}

async function receive(message, buffers) {
  if (message.library !== page.id || page.Plotly) return;
  const packed = new Blob([buffers[0]]).stream().pipeThrough(new DecompressionStream("gzip"));
  const library = { exports: {} }; // a module of its own: RequireJS's `define` stays out of it
  const scope = new Function("module", "exports", "define", await new Response(packed).text());
  scope.call(globalThis, library, library.exports);
  page.Plotly ??= library.exports;
  clearTimeout(page.timer);
  page.waiting.splice(0).forEach((view) => view.start());
}

// ---- the figure: binary arrays back to numbers, the page's colours into the layout ----------------------

const ARRAYS = { f4: Float32Array, f8: Float64Array, i4: Int32Array };

function unpack(node) {
  if (Array.isArray(node)) return node.map(unpack);
  if (node === null || typeof node !== "object") return node;
  if (node.bytes) return numbers(node);
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, unpack(value)]));
}

function numbers({ bytes, dtype, shape }) {
  const aligned = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  return nested(new ARRAYS[dtype](aligned), shape);
}

function nested(flat, [length, ...inner]) {
  if (inner.length === 0) return flat;
  const step = flat.length / length;
  return Array.from({ length }, (_, i) => nested(flat.subarray(i * step, (i + 1) * step), inner));
}

// `now`, with every part that equals what it was as the very object it was: by that plotly sees what to leave alone.
function kept(now, before) {
  const branches = [now, before].every((one) => one !== null && typeof one === "object");
  if (!branches || now.constructor !== before.constructor) return now;
  const keys = Object.keys(now);
  const parts = keys.map((key) => kept(now[key], before[key]));
  const same = keys.length === Object.keys(before).length && keys.every((key, i) => Object.is(parts[i], before[key]));
  if (same) return before;
  if (ArrayBuffer.isView(now)) return now;
  return Array.isArray(now) ? parts : Object.fromEntries(keys.map((key, i) => [key, parts[i]]));
}

function inkOf(element) {
  const { color, fontFamily } = getComputedStyle(element);
  return { color, family: fontFamily };
}

function themed(layout, ink) {
  const clear = "rgba(0, 0, 0, 0)";
  return {
    paper_bgcolor: clear,
    plot_bgcolor: clear,
    uirevision: "kept", // zoom and hidden traces survive a redraw
    autosize: true,
    ...layout,
    font: { ...ink, ...layout.font },
  };
}

const CONFIG = {
  displaylogo: false,
  toImageButtonOptions: { format: "svg" },
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
};

// ---- the view -------------------------------------------------------------------------------------------

function initialize({ model }) {
  model.on("msg:custom", receive);
}

function render({ model, el }) {
  const picture = document.createElement("div");
  picture.className = "lorakit-view";
  picture.setAttribute("role", "img");
  el.append(picture);

  let started = false;
  let rest = null;
  let figure = null;
  let ink = inkOf(el); // asked once a theme: asking at every redraw would have the page lay itself out
  const draw = () => {
    figure = kept(unpack(model.get("wire")), figure);
    const { data, layout } = figure;
    picture.setAttribute("aria-label", model.get("alt"));
    picture.style.height = `${layout.height ?? 360}px`;
    if (!started) return;
    page.Plotly.react(picture, data, themed(layout, ink), CONFIG);
    clearTimeout(rest);
    rest = setTimeout(() => model.send({ rests: true }), 500); // the kernel renews the still now, not in between
  };
  const drawStill = () => {
    if (!started) picture.innerHTML = model.get("still");
  };
  const start = () => {
    started = true;
    ink = inkOf(el);
    picture.replaceChildren();
    draw();
  };
  const recolour = () => {
    const before = ink.color;
    ink = inkOf(el);
    if (ink.color !== before) draw();
  };
  const view = { model, start };

  const resized = new ResizeObserver(() => started && el.clientWidth && page.Plotly.Plots.resize(picture));
  const recoloured = new MutationObserver(() => requestAnimationFrame(recolour));
  model.on("change:wire", draw);
  model.on("change:still", drawStill);
  draw();
  drawStill();
  want(view);
  resized.observe(el);
  for (const root of [document.documentElement, document.body]) recoloured.observe(root, { attributes: true });

  return () => {
    page.waiting = page.waiting.filter((other) => other !== view);
    clearTimeout(rest);
    resized.disconnect();
    recoloured.disconnect();
    if (started) page.Plotly.purge(picture);
  };
}

export default { initialize, render };
