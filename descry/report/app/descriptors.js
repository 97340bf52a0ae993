// Descriptors: the cards of all, and the view of a single one.

const ORDERS = {
  neurons: ["neurons", (descriptor) => -descriptor.neurons[0]],
  sentences: ["sentences", (descriptor) => -descriptor.sentences[0]],
  replication: ["replication", (descriptor) => -(descriptor.replicates ?? -1)],
  correlation: ["correlation", (descriptor) => -(descriptor.correlation ?? -2)],
  best: ["strongest neuron", (descriptor) => -(descriptor.best?.[1] ?? -2)],
  depth: ["depth", depth],
  name: ["name", () => 0],
};

// The mean layer of a descriptor's neurons.
function depth(descriptor) {
  const all = descriptor.layers.reduce((sum, count) => sum + count, 0);
  return all ? descriptor.layers.reduce((sum, count, place) => sum + count * place, 0) / all : Infinity;
}

function ordered(run, columns, sort) {
  const key = ORDERS[sort]?.[1] ?? ORDERS.neurons[1];
  const of = (column) => run.descriptors[column];
  return [...columns].sort((a, b) => key(of(a)) - key(of(b)) || of(a).name.localeCompare(of(b).name));
}

const Layers = ({ run, descriptor }) => html`<span class="heat" role="img" style=${`--layers:${run.layers.length}`} aria-label=${`Neurons by layer: ${run.layers.map((layer, place) => `${layer}: ${descriptor.layers[place]}`).join(", ")}`}>
  ${run.layers.map((layer, place) => html`<i title=${`layer ${layer}: ${plural(descriptor.layers[place], "neuron")}`} style=${`--share:${(descriptor.layers[place] / Math.max(...descriptor.layers, 1)).toFixed(2)}`}></i>`)}</span>`;

function descriptorsCsv(run, columns) {
  const head = ["descriptor", "sentences", "prevalence", "validation_sentences", "validation_prevalence", "neurons",
    "validation_neurons", "replicates", "median_pearson", "best_layer", "best_index", "best_pearson", "best_low",
    "best_high", ...run.layers.map((layer) => `layer_${layer}`), "members"];
  const rows = columns.map((column) => {
    const descriptor = run.descriptors[column];
    const [neuron, ...strength] = descriptor.best ?? [null, null, null, null];
    const best = neuron === null ? [null, null] : [run.layer[neuron], run.index[neuron]];
    return [descriptor.name, descriptor.sentences[0], descriptor.prevalence[0], descriptor.sentences[1], descriptor.prevalence[1], ...descriptor.neurons,
      descriptor.replicates, descriptor.correlation, ...best, ...strength, ...descriptor.layers, descriptor.members.join("; ")];
  });
  return csvText([head, ...rows]);
}

const Card = ({ run, column }) => {
  const descriptor = run.descriptors[column];
  return html`<li class="card"><h2><a href=${address("descriptor", descriptor.name)}>${descriptor.name}</a></h2>
    <p><b>${whole(descriptor.neurons[0])}</b> ${descriptor.neurons[0] === 1 ? "neuron" : "neurons"} · <b>${whole(descriptor.sentences[0])}</b> ${descriptor.sentences[0] === 1 ? "sentence" : "sentences"} <small>(${percent(descriptor.prevalence[0])})</small></p>
    <${Layers} run=${run} descriptor=${descriptor} />
    <p>${descriptor.replicates !== null && html`<b>${percent(descriptor.replicates)}</b> of its neurons replicate`}</p>
    <p>${descriptor.best && html`strongest: <${NeuronLink} run=${run} neuron=${descriptor.best[0]} /> correlation <b>${signed(descriptor.best[1])}</b> <small>[${signed(descriptor.best[2])}, ${signed(descriptor.best[3])}]</small>`}</p>
  </li>`;
};

function Descriptors({ run, query, amend }) {
  const sort = query.sort ?? "neurons";
  const columns = useMemo(() => ordered(run, run.matching(query.find ?? ""), sort), [run, query]);
  const all = run.descriptors.length;
  return html`<p class="note">The vocabulary. Squares: the layers, first to last; the stronger the colour, the more of the descriptor's neurons lie there. Replicate: p ≤ ${run.replicates} on validation, the rate to expect without any association. Correlation: of the neuron's activation and the label on validation's sentences; chance is 0.</p>
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

// Descriptors that its neurons have too, beyond what co-occurrence in sentences explains, the clearest first.
function Related({ run, column }) {
  const map = usePiece("map");
  if (!map) return html`<${Waiting} />`;
  const all = run.descriptors.length;
  const at = (other) => column * all + other;
  const others = !map.q ? [] : run.descriptors.map((_, other) => other).filter((other) => other !== column && map.q[at(other)] <= RELATED_Q)
    .sort((a, b) => map.z[at(b)] - map.z[at(a)]).slice(0, RELATED);
  if (!others.length) return html`<p class="note">None beyond what co-occurrence in sentences explains.</p>`;
  return html`<ul class="related">${others.map((other) => html`<li><${Chip} run=${run} column=${other} /> <b>${times(map.ratio[at(other)])}</b> <small>q ${chance(map.q[at(other)])}, ${map.replicates[at(other)] ? "replicates" : "does not replicate"}; in sentences φ ${signed(map.phi[at(other)])}; ${plural(map.neurons[at(other)], "neuron")} with both, ${map.neurons_expected[at(other)].toFixed(1)} expected</small></li>`)}</ul>`;
}

// Whether the neurons of a descriptor fire together on its sentences.
const Cofiring = ({ compared, units, sentences, ratio, split, absorbed, chance: byChance }) => html`${plural(units, "neuron")} with it as their first descriptor${compared < units && `, ${whole(compared)} of them compared`}${ratio !== null && html`: two fire together <b>${times(ratio)}</b> as often as independent ones on its ${plural(sentences, "sentence")} of validation's probe; <b>${whole(split)}</b> ${split === 1 ? "pair splits" : "pairs split"} them, in <b>${whole(absorbed)}</b> one neuron is absorbed (chance ${byChance.toFixed(1)})`}`;

// Transfer, ablation and depth of a descriptor, and its neurons' co-firing.
function Further({ descriptor, run }) {
  const { transfer, causes, depth: placed, cofiring } = descriptor;
  if (!transfer && !causes && !placed && !cofiring) return null;
  return html`<dl class="facts small">
    ${transfer && transfer.replication !== null && html`<div><dt>Transfer to another corpus</dt><dd><b>${percent(transfer.replication)}</b> of its neurons replicate, ${percent(transfer.unassigned ?? 0)} of all others; ${percent(transfer.there_prevalence)} of the sentences there bear it</dd></div>`}
    ${causes && causes.separation_own !== null && html`<div><dt>Ablation</dt><dd>without ${plural(causes.neurons, "neuron")} <b>${lost(causes.separation_own)}</b> of its separation is lost, without as many random ones ${lost(causes.separation_random_own)}</dd></div>`}
    ${placed && html`<div><dt>Depth</dt><dd><b>${placed.depth.toFixed(2)}</b> (0 is the first layer, 1 the last); chance ${placed.low.toFixed(2)} to ${placed.high.toFixed(2)}</dd></div>`}
    ${cofiring && html`<div><dt>Co-firing</dt><dd><${Cofiring} ...${cofiring} /></dd></div>`}
  </dl>`;
}

function Descriptor({ run, argument, query, amend }) {
  const column = run.columns.get(argument);
  const texts = usePiece("sentences");
  const asked = useMemo(() => ({ ...query, of: argument }), [query, argument]);
  if (column === undefined) return html`<p class="lead">There is no descriptor <b>${argument}</b> in this run. <a href="#descriptors">All descriptors</a></p>`;
  const descriptor = run.descriptors[column];
  const examples = texts ? Array.from(texts.examples.subarray((column * texts.examples.length) / run.descriptors.length, ((column + 1) * texts.examples.length) / run.descriptors.length)).filter((id) => id >= 0) : [];
  return html`<dl class="facts small">
      ${descriptor.gloss && html`<div><dt>Meaning</dt><dd>${descriptor.gloss} <small>(as the language model writes)</small></dd></div>`}
      <div><dt>Members</dt><dd>${descriptor.members.slice(0, MEMBERS).map((member) => html`<span class="chip">${member}</span> `)}${descriptor.members.length > MEMBERS && `and ${descriptor.members.length - MEMBERS} more`}</dd></div>
      <div><dt>Sentences</dt><dd>${whole(descriptor.sentences[0])} of calibration (${percent(descriptor.prevalence[0])}), ${whole(descriptor.sentences[1])} of validation (${percent(descriptor.prevalence[1])})</dd></div>
      <div><dt>Neurons</dt><dd>${whole(descriptor.neurons[0])} on calibration, ${whole(descriptor.neurons[1])} on validation${descriptor.replicates !== null && html`; <b>${percent(descriptor.replicates)}</b> replicate (p ≤ ${run.replicates})`}</dd></div>
      <div><dt>Layers</dt><dd>${run.layers.map((layer, place) => html`<span class="layer">${layer}: <b>${whole(descriptor.layers[place])}</b></span> `)}</dd></div>
    </dl>
    <${Further} descriptor=${descriptor} run=${run} />
    <div class="sides">
      <section><h2>Sentences with this label</h2>${texts ? html`<ul class="examples">${examples.map((id) => html`<li class="text">${texts.content.texts[id]}</li>`)}</ul>` : html`<${Waiting} />`}</section>
      <section><h2>Related descriptors</h2><p class="note">Descriptors that the exemplars of its neurons bear too, and how many times as often as co-occurrence in sentences explains; chance is 1.</p><${Related} run=${run} column=${column} /></section>
    </div>
    <h2>Its neurons</h2>
    <${NeuronTable} run=${run} query=${asked} amend=${amend} size=${20} />`;
}
