// Analyses beyond the paper: lexical triggers, transfer, ablation.

const share = (value) => (value === null || value === undefined ? "–" : percent(value));
const bounds = (figures, name) => html`<b>${small(figures[name])}</b> <small>[${small(figures[`${name}_low`])}, ${small(figures[`${name}_high`])}]</small>`;
const small = (value) => (value === null ? "–" : value.toFixed(Math.abs(value) < 0.0995 ? 3 : 2).replace(/^-(?=.*[1-9])/, "−").replace("-", ""));
const lost = (value) => (value === null ? "–" : `${value < 0 ? "−" : ""}${percent(Math.abs(value))}`);

// Columns of the descriptors that have figures of a kind, by one of them, highest first; without a value last.
function sortedBy(run, kind, value, up) {
  const rows = run.descriptors.map((_, column) => column).filter((column) => run.descriptors[column][kind]);
  const key = (column) => value(run.descriptors[column], run.descriptors[column][kind]) ?? -Infinity;
  return rows.sort((a, b) => (up ? key(a) - key(b) : key(b) - key(a)) || a - b);
}

// A table of descriptors with figures of a kind. columns: {key, title, number, hint, value: what is sorted by, cell}.
function Figures({ run, kind, name, columns, query, amend }) {
  const sort = columns.some(({ key }) => key === query[name]) ? query[name] : columns[1].key;
  const up = query[`${name}_up`] === "true";
  const of = columns.find(({ key }) => key === sort);
  const rows = sortedBy(run, kind, of.value, up);
  const cells = (column) => columns.map(({ cell }) => cell(run.descriptors[column], run.descriptors[column][kind], column));
  const turn = (key) => amend({ [name]: key, [`${name}_up`]: sort === key && !up ? "true" : "", [`${name}_page`]: "" });
  const csv = () => {
    const keys = Object.keys(rows.length ? run.descriptors[rows[0]][kind] : {});
    return csvText([["descriptor", ...keys], ...rows.map((column) => [run.descriptors[column].name, ...keys.map((key) => run.descriptors[column][kind][key])])]);
  };
  return html`<div class="tools"><output class="count">${plural(rows.length, "descriptor")}</output><${CsvButton} name=${name} make=${csv} /></div>
    <${Table} label=${name} columns=${columns.map((column) => ({ ...column, sorts: true }))} rows=${rows} cells=${cells} sort=${sort} up=${up}
      onSort=${turn} page=${Number(query[`${name}_page`] ?? 0)} onPage=${(page) => amend({ [`${name}_page`]: page || "" })} size=${15} />`;
}

const NAME = { key: "descriptor", title: "descriptor", value: (descriptor) => descriptor.name, cell: (descriptor, _, column) => html`<a href=${address("descriptor", descriptor.name)}>${descriptor.name}</a>` };
const named = (run) => ({ ...NAME, value: (descriptor) => -[...run.descriptors.map((other) => other.name)].sort().indexOf(descriptor.name) });

const transferColumns = (run) => [
  named(run),
  { key: "again", title: "replication there", number: true, hint: "share of its neurons with p at most 0.05 there; mark: of all other neurons", value: (_, figures) => figures.replication,
    cell: (_, figures) => figures.replication === null ? "–" : html`<span class="gauge"><${Meter} value=${figures.replication} mark=${figures.unassigned ?? 0} /> <b>${share(figures.replication)}</b></span>` },
  { key: "chance", title: "other neurons", number: true, hint: "the same share of all other neurons: chance", value: (_, figures) => figures.unassigned, cell: (_, figures) => html`<span class="chance">${share(figures.unassigned)}</span>` },
  { key: "validation", title: "on validation", number: true, wide: true, value: (descriptor) => descriptor.replicates, cell: (descriptor) => share(descriptor.replicates) },
  { key: "neurons", title: "neurons", number: true, value: (descriptor) => descriptor.neurons[0], cell: (descriptor) => whole(descriptor.neurons[0]) },
  { key: "prevalence", title: "prevalence", number: true, wide: true, value: (descriptor) => descriptor.prevalence[0], cell: (descriptor) => share(descriptor.prevalence[0]) },
  { key: "there_prevalence", title: "prevalence there", number: true, wide: true, value: (_, figures) => figures.there_prevalence, cell: (_, figures) => share(figures.there_prevalence) },
];

const causeColumns = (run) => {
  const worded = run.descriptors.some((descriptor) => descriptor.causes?.words > 0);
  const kinds = [["", "AUROC", small], ["separation_", "separation", lost], ...(worded ? [["word_", "log-probability of its words", small]] : [])];
  return [
    named(run),
    ...kinds.slice(0, worded ? 3 : 2).reverse().flatMap(([prefix, title, shown]) => [
      { key: `${prefix}own`, title: `${title} lost`, number: true, value: (_, figures) => figures[`${prefix}own`], cell: (_, figures) => html`<b>${shown(figures[`${prefix}own`])}</b>` },
      ...(prefix ? [{ key: `${prefix}random`, title: "random neurons", number: true, hint: "lost without as many random neurons of the same layers: chance", value: (_, figures) => figures[`${prefix}random_own`], cell: (_, figures) => html`<span class="chance">${shown(figures[`${prefix}random_own`])}</span>` }] : []),
      { key: `${prefix}above`, title: "above random [95 %]", number: true, hint: "its loss less the other descriptors', above the same of random neurons; chance is 0", value: (_, figures) => figures[`${prefix}above`], cell: (_, figures) => bounds(figures, `${prefix}above`) },
    ]),
    { key: "neurons", title: "ablated", number: true, wide: true, value: (_, figures) => figures.neurons, cell: (_, figures) => whole(figures.neurons) },
  ];
};

// Described neurons of every layer by what triggers them.
function TriggersByLayer({ run }) {
  const counts = run.layers.map(() => run.classes.map(() => 0));
  const place = new Map(run.layers.map((layer, at) => [layer, at]));
  for (let neuron = 0; neuron < run.neurons; neuron++) {
    if (run.kind[neuron] < run.classes.length) counts[place.get(run.layer[neuron])][run.kind[neuron]]++;
  }
  const csv = () => csvText([["layer", ...run.classes], ...counts.map((row, at) => [run.layers[at], ...row])]);
  return html`<h2 id="words">Lexical triggers</h2>
    <p class="note">Described neurons by what triggers them. Token-bound: one word has a large share of the neuron's activation (by default a fifth). Lexical: a few words together have (by default five). Contextual: neither. The words are on the neuron's card.</p>
    <div class="tools"><${CsvButton} name="triggers" make=${csv} /></div>
    <div class="scroll" role="region" aria-label="Lexical triggers by layer" tabindex="0"><table class="grid">
      <thead><tr><th scope="col">layer</th>${run.classes.map((kind) => html`<th scope="col">${kind}</th>`)}</tr></thead>
      <tbody>${counts.map((row, at) => {
        const all = Math.max(row.reduce((sum, count) => sum + count, 0), 1);
        return html`<tr key=${at}><th scope="row">${run.layers[at]}</th>${row.map((count, kind) => html`<td style=${`--more:${(count / all).toFixed(2)}`}><a href=${address("neurons", undefined, { layer: run.layers[at], driven: run.classes[kind] })}>${percent(count / all)}</a> <small>${whole(count)}</small></td>`)}</tr>`;
      })}</tbody></table></div>`;
}

function BeyondView({ run, query, amend }) {
  const has = (kind) => run.descriptors.some((descriptor) => descriptor[kind]);
  const more = { run, query, amend };
  return html`${run.kinds && html`<${TriggersByLayer} run=${run} />`}
    ${has("transfer") && html`<h2 id="transfer">Transfer to another corpus</h2>
      <p class="note">The same pairs of neuron and descriptor, tested on another corpus, on which nothing was learned or assigned. A descriptor that does not transfer may be an artefact of the first corpus.${run.chance.transfer !== null && ` Chance over all descriptors: ${percent(run.chance.transfer)}.`}</p>
      <${Figures} ...${more} kind="transfer" name="transfer" columns=${transferColumns(run)} />`}
    ${has("causes") && html`<h2 id="causes">Ablation</h2>
      <p class="note">Each descriptor's strongest neurons are ablated (by default set to their mean), and, for comparison, as many random described neurons of the same layers. A linear probe reads the descriptor off the model's final representation. AUROC: how well the probe ranks the sentences; near 1 there is little to lose. Separation: the distance between sentences with and without the descriptor, which AUROC near 1 hides. Separation that is lost without these neurons, and not without random ones, is their causal effect.</p>
      <${Figures} ...${more} kind="causes" name="causes" columns=${causeColumns(run)} />`}`;
}
