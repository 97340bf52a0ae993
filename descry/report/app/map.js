// The map: where in depth descriptors lie, and which are related.

// A ratio as a place between the two ends of a diverging scale: -1 at 1/limit or below, 0 at 1 (chance), 1 at limit.
const balance = (ratio, limit) => (ratio > 0 ? Math.max(-1, Math.min(1, Math.log(ratio) / Math.log(limit))) : -1);
const tint = (place) => `--more:${Math.max(place, 0).toFixed(2)};--less:${Math.max(-place, 0).toFixed(2)}`;

function depthCsv(run, sizes, columns) {
  const placed = ["depth", "expected", "low", "high", "q"];
  const rows = columns.map((column) => [run.descriptors[column].name, ...run.descriptors[column].layers, ...placed.map((key) => run.descriptors[column].depth?.[key] ?? null)]);
  const head = ["descriptor", ...run.layers.map((layer) => `layer_${layer}`), ...placed];
  return csvText([head, ["all neurons", ...sizes, ...placed.map(() => null)], ...rows]);
}

// The mean relative depth of a descriptor's neurons, beside what shuffled layers would give.
function Placed({ descriptor }) {
  if (!descriptor.depth) return "–";
  const { depth, low, high } = descriptor.depth;
  const side = depth < low ? "earlier" : depth > high ? "later" : "";
  return html`<b>${depth.toFixed(2)}</b> ${side}`;
}

function Depth({ run, sizes, query, amend }) {
  const sort = query.sort ?? "depth";
  const columns = ordered(run, run.descriptors.map((_, column) => column).filter((column) => run.descriptors[column].neurons[0] > 0), sort);
  const cell = (descriptor, place) => {
    const [share, overall] = [descriptor.layers[place] / sizes[place], descriptor.neurons[0] / run.neurons];
    return html`<td style=${tint(balance(share / overall, 4))} title=${`${descriptor.name}, layer ${run.layers[place]}: ${percent(share)} of its ${whole(sizes[place])} neurons; ${percent(overall)} of all neurons`}>${percent(share)}</td>`;
  };
  return html`<h2 id="depth">Localization in depth</h2>
    <p class="note">The share of each layer's neurons that have a descriptor. Blue: more than its share of all neurons; orange: fewer; no colour: the same, as it would be by chance. The full colour is four times as many, or a quarter. Depth: the mean over its neurons, 0 the first layer, 1 the last; “earlier” or “later” where shuffled layers give as much in fewer than one case in twenty.</p>
    <div class="tools"><label>Sort by <select value=${sort} onChange=${(event) => amend({ sort: event.target.value })}>${["depth", "neurons", "name"].map((key) => html`<option value=${key}>${ORDERS[key][0]}</option>`)}</select></label>
      <${CsvButton} name="layers-descriptors" make=${() => depthCsv(run, sizes, columns)} /></div>
    <div class="scroll tall" role="region" aria-label="Layers and descriptors" tabindex="0"><table class="grid">
      <thead><tr><th scope="col">descriptor</th>${run.layers.map((layer) => html`<th scope="col">layer ${layer}</th>`)}<th scope="col">depth</th></tr></thead>
      <tbody>${columns.map((column) => html`<tr key=${column}><th scope="row"><a href=${address("descriptor", run.descriptors[column].name)}>${run.descriptors[column].name}</a></th>${run.layers.map((_, place) => cell(run.descriptors[column], place))}<td><${Placed} descriptor=${run.descriptors[column]} /></td></tr>`)}</tbody></table></div>`;
}

// How often the neurons of either show the other, beyond what sentences explain: the geometric mean of both directions.
const mutual = (map, at, turned) => Math.sqrt(map.ratio[at] * map.ratio[turned]);

function Matrix({ run, map }) {
  const all = run.descriptors.length;
  const order = Array.from(map.order);
  const name = (column) => run.descriptors[column].name;
  const cell = (row, column, above) => {
    const [at, turned] = [row * all + column, column * all + row];
    if (row === column) return html`<td class="self"></td>`;
    const ratio = mutual(map, at, turned);
    const clear = above ? map.low[at] > 0 || map.high[at] < 0 : Math.abs(map.z[at] + map.z[turned]) > 4;
    const place = above ? Math.max(-1, Math.min(1, map.phi[at] / 0.3)) : balance(ratio, 3);
    const known = clear && Math.abs(place) >= 0.1 && Number.isFinite(above ? map.phi[at] : ratio);
    const title = above ? `in sentences: φ ${signed(map.phi[at])} [${signed(map.low[at])}, ${signed(map.high[at])}]` : `in neurons: ${times(map.ratio[at])}, in the other direction ${times(map.ratio[turned])}`;
    return html`<td style=${known ? tint(place) : ""} title=${`${name(row)} and ${name(column)}, ${title}`}></td>`;
  };
  return html`<div class="scroll tall" role="region" aria-label="Relations of descriptors" tabindex="0"><table class="grid matrix">
    <thead><tr><th scope="col"><span>descriptor</span></th>${order.map((column) => html`<th scope="col"><span>${name(column)}</span></th>`)}</tr></thead>
    <tbody>${order.map((row, up) => html`<tr key=${row}><th scope="row"><a href=${address("descriptor", name(row))}>${name(row)}</a></th>${order.map((column, left) => cell(row, column, left > up))}</tr>`)}</tbody></table></div>`;
}

const RELATION_COLUMNS = [
  { key: "pair", title: "neurons of → also bear" },
  { key: "ratio", title: "ratio", sorts: true, number: true, hint: "times as often as co-occurrence in sentences explains; chance is 1" },
  { key: "z", title: "z", sorts: true, number: true, wide: true, hint: "standard deviations above permuted labels; chance is 0" },
  { key: "replicates", title: "replicates", number: true, hint: "p at most 0.05 on validation" },
  { key: "neurons", title: "with both", sorts: true, number: true, hint: "neurons that have both, and in brackets as many as co-occurrence in sentences explains" },
  { key: "phi", title: "φ [95 %]", sorts: true, number: true, wide: true, hint: "correlation of the two labels over sentences; chance is 0" },
  { key: "bearing", title: "implies", sorts: true, number: true, wide: true, hint: "share of the sentences with the first label that have the second; in brackets: of all sentences" },
];

function relationRows(run, map, sort, up) {
  const all = run.descriptors.length;
  const rows = [];
  for (let at = 0; at < all * all; at++) {
    if (at % (all + 1) && Number.isFinite(map.ratio[at]) && Number.isFinite(map.z[at])) rows.push(at);
  }
  const order = ranked(rows.length, (place) => map[sort][rows[place]], up);
  return order.map((place) => rows[place]);
}

function Relations({ run, map, query, amend }) {
  const sort = query.by ?? "z";
  const rows = useMemo(() => relationRows(run, map, sort, query.up), [map, sort, query.up]);
  const all = run.descriptors.length;
  const both = (at) => [Math.floor(at / all), at % all];
  const cells = (at) => {
    const [first, second] = both(at);
    return [
      html`<span class="pair"><${Chip} run=${run} column=${first} /> → <${Chip} run=${run} column=${second} /></span>`,
      html`<b>${times(map.ratio[at])}</b>`, html`<span title=${`q ${chance(map.q[at])}`}>${map.z[at].toFixed(1).replace("-", "−")}</span>`,
      html`<span class=${map.replicates[at] ? "good" : "bad"}><span aria-hidden="true">${map.replicates[at] ? "✓" : "✗"}</span><span class="hidden">${map.replicates[at] ? "replicates" : "does not replicate"}</span></span>`,
      html`${whole(map.neurons[at])} <small>(${map.neurons_expected[at].toFixed(1)})</small>`,
      html`${signed(map.phi[at])} <small>[${signed(map.low[at])}, ${signed(map.high[at])}]</small>`,
      html`${percent(map.bearing[at])} <small>(${percent(run.descriptors[second].prevalence[0])})</small>`,
    ];
  };
  const keys = ["ratio", "z", "q", "replicates", "neurons", "neurons_expected", "phi", "low", "high", "bearing"];
  const csv = () => csvText([["descriptor", "other", ...keys],
    ...rows.map((at) => [...both(at).map((column) => run.descriptors[column].name), ...keys.map((key) => exact(map[key][at]))])]);
  return html`<h2 id="relations">Relations between descriptors</h2>
    <p class="note"><b>Above the diagonal</b>: in sentences, the correlation φ of the two labels; chance is 0. <b>Below</b>: in neurons, how often the exemplars of one descriptor's neurons bear the other, over what co-occurrence in sentences explains (labels of the second permuted among the sentences with the first, and among those without); chance is 1. Blue: more; orange: less; full colour at φ ± 0.3, and at three times as often or a third; no colour: no clear difference from chance. Blue below and no colour above: the model represents the two alike although they do not co-occur in sentences.${map.order.length < all && ` The ${map.order.length} descriptors of most neurons are pictured; the table has all.`}</p>
    <${Matrix} run=${run} map=${map} />
    <div class="tools"><output class="count">${plural(rows.length, "pair")}</output><${CsvButton} name="relations" make=${csv} /></div>
    <${Table} label="Pairs of descriptors" columns=${RELATION_COLUMNS} rows=${rows} cells=${cells} sort=${sort} up=${query.up}
      onSort=${(key) => amend({ by: key, up: sort === key && !query.up, page: "" })} page=${Number(query.page ?? 0)} onPage=${(page) => amend({ page: page || "" })} size=${20} />`;
}

function MapView({ run, query, amend }) {
  const map = usePiece("map");
  if (!map) return html`<${Waiting} />`;
  const more = { run, query, amend };
  return html`<${Depth} ...${more} sizes=${Array.from(map.sizes)} />${map.ratio && html`<${Relations} ...${more} map=${map} />`}`;
}
