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
  return { color: legible(color, groundOf(element)), family: fontFamily };
}

// The ground under an element, where anything up to the page paints one.
function groundOf(element) {
  for (let one = element; one; one = one.parentElement) {
    const ground = getComputedStyle(one).backgroundColor;
    const [, , , alpha = 1] = channels(ground);
    if (ground && alpha > 0.5) return ground;
  }
  return null;
}

// Some hosts put an output on white and leave it the light text of their dark page: then the ground decides.
function legible(color, ground) {
  if (!color || !ground || Math.abs(lightness(color) - lightness(ground)) > 0.3) return color;
  return lightness(ground) > 0.5 ? "rgb(40, 40, 40)" : "rgb(215, 215, 215)";
}

const channels = (color) => (color.match(/[\d.]+/g) ?? []).map(Number);

function lightness(color) {
  const [red, green, blue] = channels(color);
  return (0.299 * red + 0.587 * green + 0.114 * blue) / 255;
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

// ---- titles as wide as the page ---------------------------------------------------------------------------------
// plotly cuts a title that is longer than its figure, and has a legend of several rows grow over it. Here a title goes
// on in the next line, and the figure grows by that and by the further rows of its legend, `tall` pixels in all.

const pen = document.createElement("canvas").getContext("2d");
const LINE = 1.3; // of the size of a font
const NARROWEST = 80; // pixels in which words still make a line
const LEAST = 6; // pixels of a number in a cell that somebody may still read
const ROW = 29; // pixels of a legend in one row: figures leave room for that between their title and the plot

function wrapped(text, font, room) {
  pen.font = font;
  const width = (words) => pen.measureText(words.replace(/<[^>]*>/g, "")).width;
  const lines = [];
  for (const word of text.split(/(?<!=) (?!=|[^<]*>)/)) {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : "";
    if (longer && width(longer) <= room) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

function fitted(layout, room, tall) {
  const look = layout.template?.layout ?? {};
  const { title } = layout;
  const given = { height: look.height, ...layout };
  const margin = { ...look.margin, ...layout.margin };
  if (!title?.text || !given.height || !margin.t || room < NARROWEST) return layout;
  let more = 0;
  const wrap = (text, size) => {
    const lines = wrapped(text, `${size}px ${layout.font.family}`, room);
    more += (lines.length - 1) * size * LINE;
    return lines.join("<br>");
  };
  const text = wrap(title.text, look.title?.font?.size ?? 17);
  const under = title.subtitle?.text && wrap(title.subtitle.text, look.title?.subtitle?.font?.size ?? 12);
  const lines = more;
  more += Math.max(0, tall - ROW);
  if (!more) return layout;
  const height = given.height + more;
  const grown = { ...layout, height, margin: { ...layout.margin, t: margin.t + more } };
  grown.title = { ...title, text, ...(under && { subtitle: { ...title.subtitle, text: under } }) };
  const { legend } = layout;
  const above = (1 - (legend?.y ?? 1)) * given.height + lines; // pixels from the top to a legend that stands there
  if (legend?.yref === "container") grown.legend = { ...legend, y: 1 - above / height };
  return grown;
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
  let width = 0; // both are asked where they may have changed: at every redraw, the page would lay itself out for it
  let ink = inkOf(el);
  const draw = () => {
    figure = kept(unpack(model.get("wire")), figure);
    picture.setAttribute("aria-label", model.get("alt"));
    const coloured = themed(figure.layout, ink);
    const shown = fitted(coloured, room(), tall());
    show(shown);
    if (!started) return;
    const better = fitted(coloured, room(), tall()); // plotly has placed labels on the left, and the legend's rows
    if (better.height !== shown.height) show(better);
    for (const { style } of picture.querySelectorAll(".heatmap-label text"))
      style.display = parseFloat(style.fontSize) < LEAST ? "none" : null;
    clearTimeout(rest);
    rest = setTimeout(() => model.send({ rests: true }), 500); // the kernel renews the still now, not in between
  };
  const room = () => width - (picture._fullLayout?._size.l ?? 56) - 8;
  const tall = () => picture._fullLayout?.legend?._height ?? 0;
  const show = (layout) => {
    picture.style.height = `${layout.height ?? 360}px`;
    if (started) page.Plotly.react(picture, figure.data, layout, CONFIG);
  };
  const drawStill = () => {
    if (!started) picture.innerHTML = model.get("still");
  };
  const start = () => {
    started = true;
    ink = inkOf(el);
    width = el.clientWidth;
    picture.replaceChildren();
    draw();
  };
  const recolour = () => {
    const before = ink.color;
    ink = inkOf(el);
    if (ink.color !== before) draw();
  };
  const view = { model, start };

  const resized = new ResizeObserver(() => {
    if (!started || !el.clientWidth || el.clientWidth === width) return;
    width = el.clientWidth;
    ink = inkOf(el); // a view may be drawn before it stands on the page, where nothing has a colour yet
    draw();
  });
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
