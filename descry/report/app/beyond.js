// Beyond one split of one corpus: what drives neurons, another corpus, neurons switched off.

const share = (value) => (value === null || value === undefined ? "–" : percent(value));
const bounds = (one, name) => html`<b>${small(one[name])}</b> <small>[${small(one[`${name}_low`])}, ${small(one[`${name}_high`])}]</small>`;
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
    <${Table} label=${name} columns=${columns.map((one) => ({ ...one, sorts: true }))} rows=${rows} cells=${cells} sort=${sort} up=${up}
      onSort=${turn} page=${Number(query[`${name}_page`] ?? 0)} onPage=${(page) => amend({ [`${name}_page`]: page || "" })} size=${15} />`;
}

const NAME = { key: "descriptor", title: "descriptor", value: (one) => one.name, cell: (one, _, column) => html`<a href=${address("descriptor", one.name)}>${one.name}</a>` };
const named = (run) => ({ ...NAME, value: (one) => -[...run.descriptors.map((other) => other.name)].sort().indexOf(one.name) });

const transferColumns = (run) => [
  named(run),
  { key: "again", title: "found again there", number: true, hint: "share of its neurons with p at most 0.05 there; mark: of all other neurons", value: (_, own) => own.replication,
    cell: (_, own) => own.replication === null ? "–" : html`<span class="gauge"><${Meter} value=${own.replication} mark=${own.unassigned ?? 0} /> <b>${share(own.replication)}</b></span>` },
  { key: "chance", title: "by chance", number: true, hint: "share of all other neurons", value: (_, own) => own.unassigned, cell: (_, own) => html`<span class="chance">${share(own.unassigned)}</span>` },
  { key: "validation", title: "on validation", number: true, wide: true, value: (one) => one.replicates, cell: (one) => share(one.replicates) },
  { key: "neurons", title: "neurons", number: true, value: (one) => one.neurons[0], cell: (one) => whole(one.neurons[0]) },
  { key: "here", title: "sentences here", number: true, wide: true, value: (one) => one.prevalence[0], cell: (one) => share(one.prevalence[0]) },
  { key: "there", title: "there", number: true, wide: true, value: (_, own) => own.there_prevalence, cell: (_, own) => share(own.there_prevalence) },
];

const causeColumns = (run) => {
  const worded = run.descriptors.some((one) => one.causes?.words > 0);
  const kinds = [["", "AUROC", small], ["separation_", "separation", lost], ...(worded ? [["word_", "log-probability of its words", small]] : [])];
  return [
    named(run),
    ...kinds.slice(0, worded ? 3 : 2).reverse().flatMap(([prefix, title, shown]) => [
      { key: `${prefix}own`, title: `${title} lost`, number: true, value: (_, own) => own[`${prefix}own`], cell: (_, own) => html`<b>${shown(own[`${prefix}own`])}</b>` },
      ...(prefix ? [{ key: `${prefix}random`, title: "random neurons", number: true, hint: "as many random neurons of the same layers", value: (_, own) => own[`${prefix}random_own`], cell: (_, own) => html`<span class="chance">${shown(own[`${prefix}random_own`])}</span>` }] : []),
      { key: `${prefix}above`, title: "above random [95 %]", number: true, hint: "its own loss less the others', above the same of random neurons; 0 by chance", value: (_, own) => own[`${prefix}above`], cell: (_, own) => bounds(own, `${prefix}above`) },
    ]),
    { key: "neurons", title: "neurons off", number: true, wide: true, value: (_, own) => own.neurons, cell: (_, own) => whole(own.neurons) },
  ];
};

// Described neurons of every layer by what drives them.
function Driving({ run }) {
  const counts = run.layers.map(() => run.classes.map(() => 0));
  const place = new Map(run.layers.map((layer, at) => [layer, at]));
  for (let neuron = 0; neuron < run.neurons; neuron++) {
    if (run.kind[neuron] < run.classes.length) counts[place.get(run.layer[neuron])][run.kind[neuron]]++;
  }
  const csv = () => csvText([["layer", ...run.classes], ...counts.map((row, at) => [run.layers[at], ...row])]);
  return html`<h2 id="words">Which words drive neurons</h2>
    <p class="note">Token-bound: one word carries much of a neuron's activation (by default a fifth) beyond its part of the words. Lexical: a few together do (by default five). Contextual: no few words do. Of the described neurons; a neuron's words stand on its card.</p>
    <div class="tools"><${CsvButton} name="drivers" make=${csv} /></div>
    <div class="scroll" role="region" aria-label="What drives neurons, by layer" tabindex="0"><table class="grid">
      <thead><tr><th scope="col">layer</th>${run.classes.map((one) => html`<th scope="col">${one}</th>`)}</tr></thead>
      <tbody>${counts.map((row, at) => {
        const all = Math.max(row.reduce((sum, count) => sum + count, 0), 1);
        return html`<tr key=${at}><th scope="row">${run.layers[at]}</th>${row.map((count, kind) => html`<td style=${`--more:${(count / all).toFixed(2)}`}><a href=${address("neurons", undefined, { layer: run.layers[at], driven: run.classes[kind] })}>${percent(count / all)}</a> <small>${whole(count)}</small></td>`)}</tr>`;
      })}</tbody></table></div>`;
}

function BeyondView({ run, query, amend }) {
  const has = (kind) => run.descriptors.some((one) => one[kind]);
  const more = { run, query, amend };
  return html`${run.kinds && html`<${Driving} run=${run} />`}
    ${has("transfer") && html`<h2 id="transfer">Another corpus</h2>
      <p class="note">The same vocabulary and the same pairs of neuron and descriptor, looked for in another corpus, where nothing was learned or assigned. A descriptor that holds here alone fooled us.${run.chance.transfer !== null && ` Over all, pairs that were not assigned show in ${percent(run.chance.transfer)}.`}</p>
      <${Figures} ...${more} kind="transfer" name="transfer" columns=${transferColumns(run)} />`}
    ${has("causes") && html`<h2 id="causes">Neurons switched off</h2>
      <p class="note">Every descriptor's strongest neurons are switched off (by default they give their mean), and as many random described neurons of the same layers. A linear probe reads the descriptor off the model's final representation. AUROC: how well it ranks the sentences, where 1 leaves little to lose. Separation: how far its sentences lie from the others, which AUROC near 1 hides. Lost separation that random neurons do not take is what these neurons cause.</p>
      <${Figures} ...${more} kind="causes" name="causes" columns=${causeColumns(run)} />`}`;
}
