// A frozen explorer: its controls, and the pictures of each of their positions, with no kernel behind them.
//
// It stands after view.js in one script and draws with the very same view: to a view, a frozen explorer is a
// model that has `wire`, `alt` and `still`, tells of changes, and hands over plotly.js when asked.

async function inflate(text) {
  const packed = Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

// ---- the parts of a story, put together again ----------------------------------------------------------------

function assembler(parts) {
  const known = new Map();
  const part = (number) => {
    if (!known.has(number)) known.set(number, whole(parts[number]));
    return known.get(number);
  };
  const whole = (node) => {
    if (Array.isArray(node)) return node.map(whole);
    if (node === null || typeof node !== "object") return node;
    if ("$" in node) return part(node.$);
    if (typeof node.bytes === "string") return fine({ ...node, bytes: bytesOf(node.bytes) });
    return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, whole(value)]));
  };
  return part;
}

// A picture kept in one byte a cell as the float32 numbers that a view takes.
function fine({ step, bytes, ...array }) {
  if (!step) return { ...array, bytes };
  const digits = Math.max(0, Math.ceil(-Math.log10(step)));
  const numbers = Float32Array.from(new Int8Array(bytes.buffer), (count) => Number((count * step).toFixed(digits)));
  return { ...array, dtype: "f4", bytes: new Uint8Array(numbers.buffer) };
}

function bytesOf(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

// ---- what a view takes for a model --------------------------------------------------------------------------

class Model {
  constructor(state) {
    this.state = state;
    this.listeners = {};
  }
  get(name) {
    return this.state[name];
  }
  on(event, listener) {
    (this.listeners[event] ??= []).push(listener);
  }
  tell(event, ...what) {
    for (const listener of this.listeners[event] ?? []) listener(...what);
  }
  set(state) {
    Object.assign(this.state, state);
    this.tell("change:wire");
  }
  send({ page: asked }) {
    const library = asked && document.getElementById("lorakit-plotly");
    if (library) this.tell("msg:custom", { library: asked }, [bytesOf(library.textContent.trim())]);
  }
}

// ---- controls -----------------------------------------------------------------------------------------------

let controlled = 0;

function control({ kind, label }, moved) {
  const row = document.createElement("label");
  const input = document.createElement(kind === "slider" ? "input" : kind === "menu" ? "select" : "span");
  const said = document.createElement("output");
  row.htmlFor = input.id = said.htmlFor = `lorakit-control-${++controlled}`;
  row.append(`${label} `, input, ...(kind === "slider" ? [said] : []));
  if (kind === "slider") Object.assign(input, { type: "range", min: 0, step: 1 });
  input.addEventListener("input", () => moved(Number(kind === "slider" ? input.value : input.selectedIndex)));
  const offer = (labels, at) => {
    if (kind === "fixed") input.textContent = labels[at];
    if (kind === "menu") {
      const same = input.length === labels.length && labels.every((text, i) => input.options[i].text === text);
      if (!same) input.replaceChildren(...labels.map((text) => new Option(text)));
      input.selectedIndex = at;
    }
    if (kind === "slider") {
      input.max = labels.length - 1;
      input.value = at;
      said.value = labels[at];
      input.setAttribute("aria-valuetext", labels[at]);
    }
  };
  return { row, offer };
}

// ---- the whole ----------------------------------------------------------------------------------------------

async function thaw(root) {
  const story = JSON.parse(await inflate(root.querySelector("script").textContent));
  const part = assembler(story.parts);
  const wanted = []; // the label a reader left each control at: kept where another menu offers it too

  const leaf = () => {
    let node = story.tree;
    for (const [i, { offer }] of controls.entries()) {
      const kept = node.labels.indexOf(wanted[i]);
      const at = kept >= 0 ? kept : Math.min(node.at, node.labels.length - 1);
      offer(node.labels, at);
      wanted[i] = node.labels[at];
      node = node.next[at];
    }
    return [...node];
  };
  const nodeOf = (depth) => {
    let node = story.tree;
    for (let i = 0; i < depth; i += 1) node = node.next[node.labels.indexOf(wanted[i])];
    return node;
  };
  const states = () => {
    const numbers = leaf();
    return story.panels.map(({ kind }) => {
      if (kind === "words") return { words: part(numbers.shift()) };
      return { wire: part(numbers.shift()), alt: part(numbers.shift()), still: "" };
    });
  };
  const controls = story.controls.map((head, depth) =>
    control(head, (at) => {
      wanted[depth] = nodeOf(depth).labels[at];
      states().forEach((state, i) => shown[i](state));
    }),
  );
  const desk = document.createElement("div");
  desk.className = "lorakit-controls";
  desk.append(...controls.map(({ row }) => row));

  const wall = document.createElement("div");
  wall.className = "lorakit-panels";
  const begun = states();
  root.replaceChildren(...(controls.length ? [desk] : []), wall);
  const shown = story.panels.map(({ kind, style }, i) => panel(wall, kind, style, begun[i]));
}

function panel(wall, kind, style, state) {
  const el = document.createElement("div");
  el.style = style || "width: 100%";
  wall.append(el);
  if (kind === "words") {
    el.innerHTML = state.words;
    return ({ words }) => {
      el.innerHTML = words;
    };
  }
  const model = new Model(state);
  initialize({ model });
  render({ model, el });
  return (next) => model.set(next);
}

if (globalThis.Plotly) page.Plotly = globalThis.Plotly;
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  document.documentElement.dataset.lorakitScheme = Math.random(); // views look at their ink again
});
const thawAll = () => document.querySelectorAll(".lorakit-frozen").forEach(thaw);
if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", thawAll);
else thawAll();
