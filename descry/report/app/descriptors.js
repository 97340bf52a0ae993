// Descriptors: the cards of all, and the view of one.

const ORDERS = {
  neurons: ["neurons", (one) => -one.neurons[0]],
  sentences: ["sentences", (one) => -one.sentences[0]],
  again: ["found again", (one) => -(one.replicates ?? -1)],
  correlation: ["correlation", (one) => -(one.correlation ?? -2)],
  best: ["best neuron", (one) => -(one.best?.[1] ?? -2)],
  depth: ["depth", depth],
  name: ["name", () => 0],
};

// The mean layer of a descriptor's neurons.
function depth(one) {
  const all = one.layers.reduce((sum, count) => sum + count, 0);
  return all ? one.layers.reduce((sum, count, place) => sum + count * place, 0) / all : Infinity;
}

function ordered(run, columns, sort) {
  const key = ORDERS[sort]?.[1] ?? ORDERS.neurons[1];
  const of = (column) => run.descriptors[column];
  return [...columns].sort((a, b) => key(of(a)) - key(of(b)) || of(a).name.localeCompare(of(b).name));
}

const Layers = ({ run, one }) => html`<span class="heat" role="img" style=${`--layers:${run.layers.length}`} aria-label=${`Neurons by layer: ${run.layers.map((layer, place) => `${layer}: ${one.layers[place]}`).join(", ")}`}>
  ${run.layers.map((layer, place) => html`<i title=${`layer ${layer}: ${plural(one.layers[place], "neuron")}`} style=${`--share:${(one.layers[place] / Math.max(...one.layers, 1)).toFixed(2)}`}></i>`)}</span>`;

function descriptorsCsv(run, columns) {
  const head = ["descriptor", "sentences", "prevalence", "validation_sentences", "validation_prevalence", "neurons",
    "validation_neurons", "replicates", "median_pearson", "best_layer", "best_index", "best_pearson", "best_low",
    "best_high", ...run.layers.map((layer) => `layer_${layer}`), "members"];
  const rows = columns.map((column) => {
    const one = run.descriptors[column];
    const [neuron, ...strength] = one.best ?? [null, null, null, null];
    const best = neuron === null ? [null, null] : [run.layer[neuron], run.index[neuron]];
    return [one.name, one.sentences[0], one.prevalence[0], one.sentences[1], one.prevalence[1], ...one.neurons,
      one.replicates, one.correlation, ...best, ...strength, ...one.layers, one.members.join("; ")];
  });
  return csvText([head, ...rows]);
}

const Card = ({ run, column }) => {
  const one = run.descriptors[column];
  return html`<li class="card"><h2><a href=${address("descriptor", one.name)}>${one.name}</a></h2>
    <p><b>${whole(one.neurons[0])}</b> ${one.neurons[0] === 1 ? "neuron" : "neurons"} · <b>${whole(one.sentences[0])}</b> ${one.sentences[0] === 1 ? "sentence" : "sentences"} <small>(${percent(one.prevalence[0])})</small></p>
    <${Layers} run=${run} one=${one} />
    <p>${one.replicates !== null && html`found again <b>${percent(one.replicates)}</b> <small class="chance">by chance ${percent(run.replicates)}</small>`}</p>
    <p>${one.best && html`best: <${NeuronLink} run=${run} neuron=${one.best[0]} /> correlation <b>${signed(one.best[1])}</b> <small>[${signed(one.best[2])}, ${signed(one.best[3])}]</small>`}</p>
  </li>`;
};

function Descriptors({ run, query, amend }) {
  const sort = query.sort ?? "neurons";
  const columns = useMemo(() => ordered(run, run.matching(query.find ?? ""), sort), [run, query]);
  const all = run.descriptors.length;
  return html`<p class="lead">The vocabulary. The squares are the layers, first to last: the stronger, the more of the descriptor's neurons lie there. “Found again”: the share of its neurons that show it on validation too. Correlation is that of the neuron's activation and the label on validation's sentences; 0 by chance.</p>
    <div class="tools" role="search" aria-label="Descriptors">
      <label>Find <input id="find" type="search" value=${query.find ?? ""} onInput=${(event) => amend({ find: event.target.value })} placeholder="a word" autocomplete="off" spellcheck="false" /></label>
      <label>Sort by <select id="order" value=${sort} onChange=${(event) => amend({ sort: event.target.value })}>${Object.entries(ORDERS).map(([key, [title]]) => html`<option value=${key}>${title}</option>`)}</select></label>
      <output id="count" class="count">${columns.length === all ? plural(all, "descriptor") : `${columns.length} of ${plural(all, "descriptor")}`}</output>
      <${CsvButton} name="descriptors" make=${() => descriptorsCsv(run, columns)} /></div>
    <ul class="cards">${columns.map((column) => html`<${Card} key=${column} run=${run} column=${column} />`)}</ul>`;
}

const MEMBERS = 40;
const RELATED = 6;
const RELATED_Q = 0.05;

// Descriptors that its neurons show too, beyond what sentences explain, the clearest first.
function Related({ run, column }) {
  const map = usePiece("map");
  if (!map) return html`<${Waiting} />`;
  const all = run.descriptors.length;
  const at = (other) => column * all + other;
  const others = !map.q ? [] : run.descriptors.map((_, other) => other).filter((other) => other !== column && map.q[at(other)] <= RELATED_Q)
    .sort((a, b) => map.z[at(b)] - map.z[at(a)]).slice(0, RELATED);
  if (!others.length) return html`<p class="note">None goes with it beyond what the sentences explain.</p>`;
  return html`<ul class="related">${others.map((other) => html`<li><${Chip} run=${run} column=${other} /> <b>${times(map.ratio[at(other)])}</b> <small>q ${chance(map.q[at(other)])}, ${map.again[at(other)] ? "" : "not "}found again; in sentences φ ${signed(map.phi[at(other)])}; ${plural(map.neurons[at(other)], "neuron")} with both, by chance ${map.neurons_expected[at(other)].toFixed(1)}</small></li>`)}</ul>`;
}

// What becomes of a descriptor in another corpus, when its neurons are switched off, and where in depth it lives.
function Further({ one, run }) {
  const { transfer, causes, depth: placed } = one;
  if (!transfer && !causes && !placed) return null;
  return html`<dl class="facts small">
    ${transfer && transfer.replication !== null && html`<div><dt>In another corpus</dt><dd>found again <b>${percent(transfer.replication)}</b>, by chance ${percent(transfer.unassigned ?? 0)}; ${percent(transfer.there_prevalence)} of its sentences bear it</dd></div>`}
    ${causes && causes.separation_own !== null && html`<div><dt>Its neurons switched off</dt><dd>${plural(causes.neurons, "neuron")}: <b>${lost(causes.separation_own)}</b> of its separation lost, by random neurons ${lost(causes.separation_random_own)}</dd></div>`}
    ${placed && html`<div><dt>Depth</dt><dd><b>${placed.depth.toFixed(2)}</b> of 1, by chance ${placed.low.toFixed(2)} to ${placed.high.toFixed(2)}</dd></div>`}
  </dl>`;
}

function Descriptor({ run, argument, query, amend }) {
  const column = run.columns.get(argument);
  const texts = usePiece("sentences");
  const asked = useMemo(() => ({ ...query, of: argument }), [query, argument]);
  if (column === undefined) return html`<p class="lead">There is no descriptor <b>${argument}</b> in this run. <a href="#descriptors">All descriptors</a></p>`;
  const one = run.descriptors[column];
  const examples = texts ? Array.from(texts.examples.subarray((column * texts.examples.length) / run.descriptors.length, ((column + 1) * texts.examples.length) / run.descriptors.length)).filter((id) => id >= 0) : [];
  return html`<dl class="facts small">
      <div><dt>Members</dt><dd>${one.members.slice(0, MEMBERS).map((member) => html`<span class="chip">${member}</span> `)}${one.members.length > MEMBERS && `and ${one.members.length - MEMBERS} more`}</dd></div>
      <div><dt>Sentences</dt><dd>${whole(one.sentences[0])} of calibration (${percent(one.prevalence[0])}), ${whole(one.sentences[1])} of validation (${percent(one.prevalence[1])})</dd></div>
      <div><dt>Neurons</dt><dd>${whole(one.neurons[0])} on calibration, ${whole(one.neurons[1])} on validation${one.replicates !== null && html`; found again <b>${percent(one.replicates)}</b>, by chance ${percent(run.replicates)}`}</dd></div>
      <div><dt>Layers</dt><dd>${run.layers.map((layer, place) => html`<span class="layer">${layer}: <b>${whole(one.layers[place])}</b></span> `)}</dd></div>
    </dl>
    <${Further} one=${one} run=${run} />
    <div class="sides">
      <section><h2>Sentences labelled so</h2>${texts ? html`<ul class="examples">${examples.map((id) => html`<li class="text">${texts.content.texts[id]}</li>`)}</ul>` : html`<${Waiting} />`}</section>
      <section><h2>Goes with</h2><p class="note">What the exemplars of its neurons bear too, and how many times as often as the sharing of sentences explains; 1 by chance.</p><${Related} run=${run} column=${column} /></section>
    </div>
    <h2>Its neurons</h2>
    <${NeuronTable} run=${run} query=${asked} amend=${amend} size=${20} />`;
}
