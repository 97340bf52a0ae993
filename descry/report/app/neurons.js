// Neurons: the table of all, and the card of one.

const TRIGGERS = { "token-bound": "one word (token-bound)", lexical: "a few words (lexical)", contextual: "no few words (contextual)" };

const NEURON_COLUMNS = [
  { key: "neuron", title: "neuron", sorts: true, hint: "layer:index" },
  { key: "descriptors", title: "descriptors", sorts: true, hint: "descriptors that are enriched among its strongest sentences, best first" },
  { key: "composition", title: "composition", sorts: true, number: true, wide: true, hint: "share of its strongest sentences that bear the first descriptor shown; mark: share of all sentences" },
  { key: "lift", title: "lift", sorts: true, number: true, hint: "composition over the share of all sentences; chance is 1" },
  { key: "q", title: "q", sorts: true, number: true, wide: true, hint: "false discovery rate" },
  { key: "again", title: "on validation", sorts: true, number: true, hint: "composition on other reviews; the pair replicates where p is at most 0.05" },
  { key: "correlation", title: "correlation", sorts: true, number: true, hint: "of activation and label on validation's sentences; chance is 0" },
];
const SHOWN_CHIPS = 3;

function neuronCells(run, neuron, pair) {
  const pairs = run.pairs(neuron);
  const ordered = pair < 0 ? pairs : [pair, ...pairs.filter((other) => other !== pair)];
  const more = ordered.length - SHOWN_CHIPS;
  const chips = ordered.slice(0, SHOWN_CHIPS).map((shown) => html`<${Chip} run=${run} column=${run.column[shown]} /> `);
  const names = html`${chips}${more > 0 && html`<small>and ${more} more</small>`}${ordered.length === 0 && html`<small>none</small>`}`;
  const name = html`<${NeuronLink} run=${run} neuron=${neuron} />`;
  if (pair < 0) return [name, names, "", "", "", "", ""];
  return [
    name, names,
    html`<span class="gauge"><${Meter} value=${run.composition(pair)} mark=${run.prevalence(pair)} /> <b>${percent(run.composition(pair))}</b></span>`,
    times(run.lift(pair)), chance(run.q[pair]), html`<${Replicates} run=${run} pair=${pair} />`, signed(run.pearson[pair]),
  ];
}

const Replicates = ({ run, pair }) => html`<span class=${run.replicated(pair) ? "good" : "bad"}>
  <span aria-hidden="true">${run.replicated(pair) ? "✓" : "✗"}</span><span class="hidden">${run.replicated(pair) ? "replicates:" : "does not replicate:"}</span> ${percent(run.validationComposition(pair))}</span>`;

const PAIR_HEADS = ["layer", "index", "descriptor", "count", "known", "composition", "lift", "q", "validation_count",
  "validation_known", "validation_composition", "validation_lift", "validation_p", "pearson", "pearson_low",
  "pearson_high", "auprc", "auprc_low", "auprc_high"];

const exact = (value) => Number(value.toPrecision(6));

// Every pair of these neurons, a row each; a neuron without any has a row of its own.
function pairsCsv(run, neurons) {
  const rows = [PAIR_HEADS];
  for (const neuron of neurons) {
    const place = [run.layer[neuron], run.index[neuron]];
    const pairs = run.pairs(neuron);
    if (!pairs.length) rows.push([...place, ...Array(PAIR_HEADS.length - 2).fill(null)]);
    for (const pair of pairs) {
      const lift = run.prevalence(pair, 1) > 0 ? run.validationComposition(pair) / run.prevalence(pair, 1) : 0;
      rows.push([
        ...place, run.descriptors[run.column[pair]].name, run.count[pair], run.known[pair], exact(run.composition(pair)),
        exact(run.lift(pair)), exact(run.q[pair]), run.validation_count[pair], run.validation_known[pair],
        exact(run.validationComposition(pair)), exact(lift), exact(run.validation_p[pair]),
        ...PAIR_HEADS.slice(13).map((head) => exact(run[head][pair])),
      ]);
    }
  }
  return csvText(rows);
}

const CsvButton = ({ name, make }) => html`<button type="button" class="csv" onClick=${() => download(`${name}.csv`, make())}>Download CSV</button>`;

function NeuronTable({ run, query, amend, size }) {
  const { rows, shown } = useMemo(() => run.search(query), [run, query]);
  const sort = query.sort ?? "correlation";
  const turn = (key) => amend({ sort: key, up: sort === key && !query.up, page: "" });
  return html`<div class="tools">
      <output class="count">${plural(rows.length, "neuron")}</output>
      <${CsvButton} name="neurons" make=${() => pairsCsv(run, rows)} /></div>
    <${Table} label="Neurons" columns=${NEURON_COLUMNS} rows=${rows} cells=${(neuron, at) => neuronCells(run, neuron, shown[at])}
      sort=${sort} up=${query.up} onSort=${turn} page=${Number(query.page ?? 0)} onPage=${(page) => amend({ page: page || "" })} size=${size} />`;
}

function Neurons({ run, query, amend }) {
  const set = (key) => (event) => amend({ [key]: event.target.value, page: "" });
  const named = query.of && run.columns.has(query.of);
  const asked = named || !query.of ? query : { ...query, of: "" };
  return html`<p class="lead">Every neuron with its descriptors. The figures are those of the first descriptor shown.</p>
    <div class="tools" role="search" aria-label="Neurons">
      <label>Find <input id="find-neuron" type="search" value=${query.find ?? ""} onInput=${set("find")} placeholder="4:812 or a word" autocomplete="off" spellcheck="false" /></label>
      <label>Layer <select value=${query.layer ?? ""} onChange=${set("layer")}><option value="">all</option>${run.layers.map((layer) => html`<option value=${String(layer)}>${layer}</option>`)}</select></label>
      <label>Descriptors <select value=${query.count ?? ""} onChange=${set("count")}><option value="">any number</option><option value="0">none</option><option value="1">1 or more</option><option value="2">2 or more</option><option value="3">3 or more</option><option value="5">5 or more</option></select></label>
      ${run.kinds && html`<label>Triggered by <select value=${query.driven ?? ""} onChange=${set("driven")}><option value="">any words</option>${run.classes.map((kind) => html`<option value=${kind}>${TRIGGERS[kind]}</option>`)}</select></label>`}
      <label>Correlation at least <input type="number" min="-1" max="1" step="0.05" value=${query.least ?? ""} onInput=${set("least")} /></label>
      ${query.of && html`<span class="chip">${named ? `only ${query.of}` : `no descriptor ${query.of}`} <button type="button" class="plain-button" onClick=${() => amend({ of: "", page: "" })} aria-label="All descriptors">×</button></span>`}
    </div>
    <${NeuronTable} run=${run} query=${asked} amend=${amend} />`;
}

function Histogram({ bins, low, high, cut, label }) {
  const most = Math.max(...bins, 1);
  const [width, height] = [360, 90];
  const x = (value) => (high > low ? ((value - low) / (high - low)) * width : 0);
  return html`<figure class="histogram"><svg viewBox=${`0 -14 ${width} ${height + 34}`} role="img" aria-label=${label}>
    ${bins.map((count, bin) => count > 0 && html`<rect class=${low + ((bin + 1) * (high - low)) / bins.length > cut ? "bar firing" : "bar"}
      x=${(bin * width) / bins.length + 0.5} width=${width / bins.length - 1} y=${height - Math.max(Math.sqrt(count / most) * height, 1)} height=${Math.max(Math.sqrt(count / most) * height, 1)} />`)}
    ${Number.isFinite(cut) && html`<line class="cut" x1=${x(cut)} x2=${x(cut)} y1="-2" y2=${height} />
    <text x=${Math.min(Math.max(x(cut), 60), width - 60)} y="-5" text-anchor="middle">exemplars from ${cut.toFixed(2)}</text>`}
    <text x="0" y=${height + 15}>${low.toFixed(2)}</text><text x=${width} y=${height + 15} text-anchor="end">${high.toFixed(2)}</text>
  </svg><figcaption>Its activation over calibration's sentences (heights: square roots of counts).</figcaption></figure>`;
}

function Exemplars({ run, data, texts, at, split, heading, column }) {
  const ids = data[`${split}_exemplars`];
  const shown = ids.length / data.low.length;
  const bounds = data[`${split}_bounds`];
  const items = [];
  for (let slot = at * shown; slot < (at + 1) * shown; slot++) {
    const id = ids[slot];
    if (id < 0) continue;
    const labels = texts.labels.subarray(texts.label_bounds[id], texts.label_bounds[id + 1]);
    const mark = labels.includes(2 * column) ? "yes" : labels.includes(2 * column + 1) ? "unknown" : "no";
    const title = { yes: `Labelled ${run.descriptors[column]?.name}:`, no: "Not labelled so:", unknown: "Label missing:" }[mark];
    items.push(html`<li class=${column < 0 ? "" : mark}>
      ${column >= 0 && html`<span class="mark" title=${title}><span aria-hidden="true">${{ yes: "●", no: "○", unknown: "?" }[mark]}</span><span class="hidden">${title}</span></span>`}
      <span><${Shaded} text=${texts.content.texts[id]} spans=${texts.spans.subarray(texts.span_bounds[id], texts.span_bounds[id + 1])} levels=${bounds ? data[`${split}_levels`].subarray(bounds[slot], bounds[slot + 1]) : []} />
      <small> ${texts.content.products[texts.product[id]]} ${data[`${split}_values`][slot].toFixed(2)}</small></span></li>`);
  }
  return html`<section class="side"><h3>${heading}</h3><ol>${items}</ol>${!items.length && html`<p class="note">None: on no sentence is it more active than on many others.</p>`}</section>`;
}

const PAIR_COLUMNS = [{ title: "descriptor" }, { title: "composition", number: true }, { title: "lift", number: true },
  { title: "q", number: true }, { title: "on validation (p)", number: true },
  { title: "correlation [95 %]", number: true }, { title: "AUPRC (chance)", number: true },
  { title: "transfer", number: true, hint: "whether the pair replicates on the other corpus: p at most 0.05 there" }];

const Transferred = ({ run, pair }) => run.transferred[pair] > 1 ? "–" : html`<span class=${run.transferred[pair] ? "good" : "bad"}>
  <span aria-hidden="true">${run.transferred[pair] ? "✓" : "✗"}</span><span class="hidden">${run.transferred[pair] ? "replicates" : "does not replicate"}</span></span>`;

function pairCells(run, pair) {
  const interval = Number.isFinite(run.pearson[pair]) ? ` [${signed(run.pearson_low[pair])}, ${signed(run.pearson_high[pair])}]` : "";
  return [
    html`<${Chip} run=${run} column=${run.column[pair]} />`,
    html`<span class="gauge"><${Meter} value=${run.composition(pair)} mark=${run.prevalence(pair)} /> <b>${percent(run.composition(pair))}</b></span>`,
    times(run.lift(pair)), chance(run.q[pair]), html`<${Replicates} run=${run} pair=${pair} /> <small>(${chance(run.validation_p[pair])})</small>`,
    html`${signed(run.pearson[pair])}<small>${interval}</small>`,
    html`${signed(run.auprc[pair])} <small>(${signed(run.prevalence(pair, 1))})</small>`,
    html`<${Transferred} run=${run} pair=${pair} />`,
  ];
}

// What triggers a neuron: its class, its words and their shares, and whether they predict where it fires.
function Triggers({ run, neuron, trigger }) {
  const word = ([name, share]) => html`<span class="chip">${name} <small>${percent(share)}</small></span> `;
  const kind = run.triggered(neuron);
  return html`<section><h2>What triggers it</h2>
    <p>${kind && html`<b>${kind}</b>${run.classes[trigger.validation_class] === kind ? ", on validation too" : `, on validation ${run.classes[trigger.validation_class]}`}. `}${trigger.words.map(word)}${trigger.pattern && html`<span class="chip pattern">${trigger.pattern}</span>`}</p>
    <p class="note">A word's percentage is its share of the neuron's activation above what an even spread over tokens would give it. Token-bound: one word has a large share (by default a fifth); lexical: a few words together have (by default five); contextual: neither. The strongest token of a sentence has ${percent(trigger.peak)}. On validation the words occur in ${plural(trigger.sentences, "sentence")}, ${whole(trigger.count)} of them among its strongest (p ${chance(trigger.p)}); correlation of words and activation ${signed(trigger.correlation)}, where chance is 0.</p></section>`;
}

// The tokens that a neuron's output weights promote and suppress, and how its descriptors' words rank among them.
const token = (text) => html`<span class="chip">${text.replace(/^ /, "·").replace(/\s/g, "␣")}</span> `;
const Ranked = ({ run, pairs, end }) => pairs.length > 0 && html`<p>Words of its descriptors${end}: ${pairs.map(([column, auroc]) => html`<${Chip} run=${run} column=${column} /> ${auroc.toFixed(2)} `)}</p>`;

function Writes({ run, writes }) {
  return html`<section><h2>What it writes</h2>
    <p>Promotes ${writes.promoted.map(token)}</p><p>Suppresses ${writes.suppressed.map(token)}</p>
    <${Ranked} run=${run} pairs=${writes.positive} end="" /><${Ranked} run=${run} pairs=${writes.negative} end=" at its negative end" />
    <p class="note">The tokens whose logits its output weights raise and lower most, through the final norm and the unembedding, without a forward pass; · begins a word. Where its activation is negative, the two are exchanged. Beside a descriptor: how often one of its words ranks above another token among those that the neuron promotes at that end (AUROC); chance is 0.5.</p></section>`;
}

const NEGATIVE_COLUMNS = PAIR_COLUMNS.slice(0, 4).concat([{ title: "on validation (p)", number: true }, { title: "correlation", number: true }]);

function negativeCells(run, [column, composition, lift, q, there, p, correlation]) {
  const again = p <= run.replicates;
  return [
    html`<${Chip} run=${run} column=${column} />`,
    html`<span class="gauge"><${Meter} value=${composition} mark=${run.descriptors[column].prevalence[0]} /> <b>${percent(composition)}</b></span>`,
    times(lift), chance(q),
    html`<span class=${again ? "good" : "bad"}><span aria-hidden="true">${again ? "✓" : "✗"}</span><span class="hidden">${again ? "replicates:" : "does not replicate:"}</span> ${percent(there)}</span> <small>(${chance(p)})</small>`,
    signed(correlation),
  ];
}

// The other side of a neuron: descriptors and sentences where it is most negative.
function NegativeEnd({ run, data, texts, at }) {
  const pairs = data.content.negative[at];
  const column = pairs.length ? pairs[0][0] : -1;
  return html`<h2>Its negative end</h2>
    <p class="note">${pairs.length ? `${plural(pairs.length, "descriptor")}, enriched among the sentences on which it is most negative; correlations are of the negated activation.${` Marked: sentences labelled ${run.descriptors[column].name}.`}` : "No descriptor of the sentences on which it is most negative."}</p>
    ${pairs.length > 0 && html`<${Table} label="Descriptors of its negative end" columns=${NEGATIVE_COLUMNS} rows=${pairs} cells=${(pair) => negativeCells(run, pair)} size=${1000} />`}
    <div class="sides">
      <${Exemplars} run=${run} data=${data} texts=${texts} at=${at} split="negative_calibration" heading="Calibration: where it is most negative" column=${column} />
      <${Exemplars} run=${run} data=${data} texts=${texts} at=${at} split="negative_validation" heading="Validation: other reviews" column=${column} />
    </div>`;
}

// What is said of a neuron in free text, each beside other neurons' texts and the descriptor's name.
const WHOSE = { given: "Given", written: "Written by the language model" };
const JUDGED_COLUMNS = [{ title: "whose" }, { title: "description" }, { title: "AUROC", number: true },
  { title: "other neurons' texts", number: true }, { title: "its descriptor's name", number: true }];

const judgedCells = ([whose, text, ...aurocs]) => [WHOSE[whose], text, ...aurocs.map((auroc) => signed(auroc ?? NaN))];

const Judged = ({ judged }) => html`<section><h2>In free text</h2>
  <${Table} label="Descriptions in free text" columns=${JUDGED_COLUMNS} rows=${judged} cells=${judgedCells} size=${1000} />
  <p class="note">How well a text's fit to validation's sentences tells on which of them the neuron fires (AUROC), beside the mean of the descriptions of other neurons of its layer; chance is 0.5.</p></section>`;

function Neighbour({ run, data, slot, size }) {
  const neuron = data.neighbour[slot];
  const pairs = run.pairs(neuron).slice(0, SHOWN_CHIPS);
  return html`<li><${NeuronLink} run=${run} neuron=${neuron} /> <b>${data.shared[slot]}</b> of ${size} shared <small>(${data.shared_validation[slot]} on validation)</small> ${pairs.map((pair) => html`<${Chip} run=${run} column=${run.column[pair]} /> `)}</li>`;
}

function Neuron({ run, argument, query, amend }) {
  const neuron = run.find(argument ?? "");
  const data = usePiece(neuron < 0 ? "core" : `layer-${run.layer[neuron]}`);
  const texts = usePiece("sentences");
  if (neuron < 0) return html`<p class="lead">There is no neuron <b>${argument}</b> in this run; its layers are ${run.layers[0]} to ${run.layers.at(-1)}. <a href="#neurons">All neurons</a></p>`;
  const at = run.place(neuron);
  const pairs = run.pairs(neuron);
  const column = run.columns.get(query.of) ?? (pairs.length ? run.column[pairs[0]] : -1);
  const columns = run.chance.transfer === null ? PAIR_COLUMNS.slice(0, -1) : PAIR_COLUMNS;
  const same = (other) => other >= 0 && other < run.neurons && html`<${NeuronLink} run=${run} neuron=${other} />`;
  const near = data?.low ? Array.from({ length: data.neighbour.length / data.low.length }, (_, n) => at * (data.neighbour.length / data.low.length) + n).filter((slot) => data.neighbour[slot] >= 0) : [];
  const sizes = data?.low ? data.sizes.subarray(2 * at, 2 * at + 2) : [];
  const byChance = (split) => ((sizes[split] * run.compared[split]) / run.sentences[split]).toFixed(1);
  return html`<p class="lead">Layer ${run.layer[neuron]}, neuron ${run.index[neuron]}: ${pairs.length ? `${plural(pairs.length, "descriptor")}, enriched among its strongest sentences.` : "no descriptor under the rule of this run."}
      <span class="steps">${same(neuron - 1)} ← → ${same(neuron + 1)}</span></p>
    ${pairs.length > 0 && html`<${Table} label="Its descriptors" columns=${columns} rows=${pairs} cells=${(pair) => pairCells(run, pair).slice(0, columns.length)} size=${1000} />
      <p class="tools"><${CsvButton} name=${`neuron-${run.layer[neuron]}-${run.index[neuron]}`} make=${() => pairsCsv(run, [neuron])} /></p>`}
    ${!data?.low || !texts ? html`<${Waiting} />` : html`
    <h2>Its strongest sentences</h2>
    <p class="note">${Number.isFinite(data.peak[at]) && `The stronger the shade, the higher this neuron's activation on the token, from its mean to its peak of ${data.peak[at].toFixed(2)}; underlined: the sentence's strongest token. The number is its activation on the sentence.`}
      ${pairs.length === 1 && ` Marked: sentences labelled ${run.descriptors[column].name}.`}
      ${pairs.length > 1 && html` <label>Marked: sentences labelled <select value=${run.descriptors[column].name} onChange=${(event) => amend({ of: event.target.value })}>${pairs.map((pair) => html`<option value=${run.descriptors[run.column[pair]].name}>${run.descriptors[run.column[pair]].name}</option>`)}</select></label>`}</p>
    <div class="sides">
      <${Exemplars} run=${run} data=${data} texts=${texts} at=${at} split="calibration" heading="Calibration: where its descriptors were assigned" column=${column} />
      <${Exemplars} run=${run} data=${data} texts=${texts} at=${at} split="validation" heading="Validation: other reviews" column=${column} />
    </div>
    ${data.content.negative && html`<${NegativeEnd} run=${run} data=${data} texts=${texts} at=${at} />`}
    ${data.content.triggers && html`<${Triggers} run=${run} neuron=${neuron} trigger=${data.content.triggers[at]} />`}
    ${data.content.judged?.[at].length > 0 && html`<${Judged} judged=${data.content.judged[at]} />`}
    ${data.content.writes && html`<${Writes} run=${run} writes=${data.content.writes[at]} />`}
    <div class="sides">
      <section><h2>Activation</h2><${Histogram} bins=${Array.from(data.histogram.subarray((at * data.histogram.length) / data.low.length, ((at + 1) * data.histogram.length) / data.low.length))} low=${data.low[at]} high=${data.high[at]} cut=${data.cut[at]} label=${`Histogram of the neuron's activation, from ${data.low[at].toFixed(2)} to ${data.high[at].toFixed(2)}`} /></section>
      <section><h2>Nearest neighbours</h2><p class="note">Neurons that share most of its ${sizes[0]} strongest sentences of calibration. Chance: ${byChance(0)}, on validation ${byChance(1)}.</p>
        <ol class="neighbours">${near.map((slot) => html`<${Neighbour} run=${run} data=${data} slot=${slot} size=${sizes[0]} />`)}</ol></section>
    </div>`}`;
}
