// The run: pieces of the page unpacked when they are first needed, and what is asked of them.

const ARRAYS = {
  U8: Uint8Array, U16: Uint16Array, U32: Uint32Array, I16: Int16Array, I32: Int32Array, I64: BigInt64Array,
  F32: Float32Array, F64: Float64Array,
};

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
  return bytes;
}

// A safetensors file: {name: typed array}, and what its metadata holds as `content`.
function arraysOf(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const { __metadata__: { content }, ...tensors } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const out = { content: JSON.parse(content) };
  for (const [name, { dtype, data_offsets: [start, stop] }] of Object.entries(tensors)) {
    out[name] = new ARRAYS[dtype](buffer.slice(8 + length + start, 8 + length + stop));
  }
  return out;
}

async function unpack(name) {
  const packed = bytesOf(document.getElementById(`piece-${name}`).textContent.trim());
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return arraysOf(await new Response(stream).arrayBuffer());
}

const asked = new Map();
function piece(name) {
  if (!asked.has(name)) asked.set(name, unpack(name));
  return asked.get(name);
}

// What all views read: neurons in order of layer, then index, and their pairs in order of rank.
class Run {
  constructor(core) {
    Object.assign(this, core.content, core);
    this.neurons = this.layer.length;
    this.columns = new Map(this.descriptors.map((descriptor, column) => [descriptor.name, column]));
    this.kinds = this.kind.some((kind) => kind < this.classes.length);
    this.words = this.descriptors.map((descriptor) => [descriptor.name, ...descriptor.members].join("\n").toLowerCase());
    this.starts = new Map();
    for (let neuron = 0; neuron < this.neurons; neuron++) {
      if (!this.starts.has(this.layer[neuron])) this.starts.set(this.layer[neuron], neuron);
    }
  }

  name(neuron) { return `${this.layer[neuron]}:${this.index[neuron]}`; }

  // The position of `layer:index`, -1 where there is none.
  find(name) {
    const [, layer, index] = /^(\d+):(\d+)$/.exec(name) ?? [];
    const start = this.starts.get(Number(layer));
    if (start === undefined) return -1;
    for (let neuron = start; neuron < this.neurons && this.layer[neuron] === Number(layer); neuron++) {
      if (this.index[neuron] === Number(index)) return neuron;
    }
    return -1;
  }

  place(neuron) { return neuron - this.starts.get(this.layer[neuron]); }
  pairs(neuron) { return Array.from({ length: this.bounds[neuron + 1] - this.bounds[neuron] }, (_, n) => this.bounds[neuron] + n); }
  prevalence(pair, split = 0) { return this.descriptors[this.column[pair]].prevalence[split]; }
  composition(pair) { return this.count[pair] / Math.max(this.known[pair], 1); }
  lift(pair) { return this.composition(pair) / this.prevalence(pair); }
  validationComposition(pair) { return this.validation_count[pair] / Math.max(this.validation_known[pair], 1); }
  replicated(pair) { return this.validation_p[pair] <= this.replicates; }

  // What triggers a neuron: "token-bound", "lexical", "contextual"; undefined where that is not known.
  triggered(neuron) { return this.classes[this.kind[neuron]]; }

  // Columns of the descriptors that a text is in, or in one of whose members it is.
  matching(text) {
    const wanted = text.trim().toLowerCase();
    return this.words.flatMap((words, column) => (words.includes(wanted) ? [column] : []));
  }

  // Neurons that pass all filters, best first, and of each the pair that is shown: its best among those asked for,
  // -1 for none. of: a descriptor's name; find: a neuron's name or its beginning, or a text; least: of correlation.
  search({ find = "", of = "", layer = "", least = "", count = "", driven = "", sort = "correlation", up = false }) {
    const named = /^\d+:\d*$/.test(find.trim()) ? find.trim() : "";
    const chosen = of ? [this.columns.get(of)] : find.trim() && !named ? this.matching(find) : null;
    const wanted = chosen && new Uint8Array(this.descriptors.length);
    for (const found of chosen ?? []) wanted[found] = 1;
    const only = layer === "" ? -1 : Number(layer);
    const floor = least === "" ? -Infinity : Number(least);
    const none = count === "0";
    const fewest = none ? 0 : Number(count);
    const { bounds, column, layer: layers, pearson } = this;
    const rows = [];
    const shown = [];
    for (let neuron = 0; neuron < this.neurons; neuron++) {
      if (only >= 0 && layers[neuron] !== only) continue;
      if (driven && this.triggered(neuron) !== driven) continue;
      if (named && !this.name(neuron).startsWith(named)) continue;
      const start = bounds[neuron];
      const stop = bounds[neuron + 1];
      if (none ? stop > start : stop - start < fewest) continue;
      let pair = -1;
      for (let at = start; at < stop; at++) {
        if ((!wanted || wanted[column[at]]) && (floor === -Infinity || pearson[at] >= floor)) {
          pair = at;
          break;
        }
      }
      if (pair < 0 && (wanted || floor > -Infinity)) continue;
      rows.push(neuron);
      shown.push(pair);
    }
    return this.sorted(rows, shown, sort, up);
  }

  sorted(rows, shown, sort, up) {
    const value = {
      correlation: (neuron, pair) => this.pearson[pair],
      lift: (neuron, pair) => this.lift(pair),
      composition: (neuron, pair) => this.composition(pair),
      q: (neuron, pair) => -Math.log10(this.q[pair]),
      again: (neuron, pair) => -Math.log10(this.validation_p[pair]),
      descriptors: (neuron) => this.bounds[neuron + 1] - this.bounds[neuron],
      neuron: (neuron) => -neuron,
    }[sort] ?? ((neuron) => -neuron);
    const always = sort === "neuron" || sort === "descriptors";
    const order = ranked(rows.length, (at) => (shown[at] < 0 && !always ? NaN : value(rows[at], shown[at])), up);
    return { rows: order.map((at) => rows[at]), shown: order.map((at) => shown[at]) };
  }
}

// Places 0 to count - 1 by the value of each, highest first (up: lowest), ties in order, NaN last. A float's bits, turned
// so that they sort as the float does, and the place behind them make one number, sorted without a comparison function.
const PLACES = 2 ** 21;
function ranked(count, value, up) {
  const float = new Float32Array(1);
  const bits = new Uint32Array(float.buffer);
  const keys = new Float64Array(count);
  for (let at = 0; at < count; at++) {
    const key = value(at);
    float[0] = Number.isNaN(key) ? Infinity : up ? key : -key;
    keys[at] = ((bits[0] & 0x80000000 ? ~bits[0] : bits[0] | 0x80000000) >>> 0) * PLACES + at;
  }
  const order = new Array(count);
  keys.sort().forEach((key, place) => { order[place] = key % PLACES; });
  return order;
}

const theRun = () => (theRun.kept ??= piece("core").then((core) => new Run(core)));
