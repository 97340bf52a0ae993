// The map: where in depth descriptors live, and which go together.

// A ratio as a place between the two ends of a diverging scale: -1 at 1/limit or below, 0 at 1 (chance), 1 at limit.
const balance = (ratio, limit) => (ratio > 0 ? Math.max(-1, Math.min(1, Math.log(ratio) / Math.log(limit))) : -1);
const tint = (place) => `--more:${Math.max(place, 0).toFixed(2)};--less:${Math.max(-place, 0).toFixed(2)}`;

function depthCsv(run, sizes, columns) {
  const rows = columns.map((column) => [run.descriptors[column].name, ...run.descriptors[column].layers]);
  return csvText([["descriptor", ...run.layers.map((layer) => `layer_${layer}`)], ["all neurons", ...sizes], ...rows]);
}

function Depth({ run, sizes, query, amend }) {
  const sort = query.sort ?? "depth";
  const columns = ordered(run, run.descriptors.map((_, column) => column).filter((column) => run.descriptors[column].neurons[0] > 0), sort);
  const cell = (one, place) => {
    const [share, overall] = [one.layers[place] / sizes[place], one.neurons[0] / run.neurons];
    return html`<td style=${tint(balance(share / overall, 4))} title=${`${one.name}, layer ${run.layers[place]}: ${percent(share)} of its ${whole(sizes[place])} neurons; ${percent(overall)} of all neurons`}>${percent(share)}</td>`;
  };
  return html`<h2 id="depth">Where descriptors live</h2>
    <p class="note">The share of each layer's neurons that carry a descriptor. Blue: more than its share of all neurons; orange: fewer; no colour: the same, which is what chance would give in every layer. The full colour is four times as many, or a quarter.</p>
    <div class="tools"><label>Sort by <select value=${sort} onChange=${(event) => amend({ sort: event.target.value })}>${["depth", "neurons", "name"].map((key) => html`<option value=${key}>${ORDERS[key][0]}</option>`)}</select></label>
      <${CsvButton} name="layers-descriptors" make=${() => depthCsv(run, sizes, columns)} /></div>
    <div class="scroll tall" role="region" aria-label="Layers and descriptors" tabindex="0"><table class="grid">
      <thead><tr><th scope="col">descriptor</th>${run.layers.map((layer) => html`<th scope="col">layer ${layer}</th>`)}</tr></thead>
      <tbody>${columns.map((column) => html`<tr key=${column}><th scope="row"><a href=${address("descriptor", run.descriptors[column].name)}>${run.descriptors[column].name}</a></th>${run.layers.map((_, place) => cell(run.descriptors[column], place))}</tr>`)}</tbody></table></div>`;
}

function Matrix({ run, map }) {
  const all = run.descriptors.length;
  const order = Array.from(map.order);
  const name = (column) => run.descriptors[column].name;
  const cell = (row, column, above) => {
    const at = row * all + column;
    if (row === column) return html`<td class="self"></td>`;
    const place = above ? Math.max(-1, Math.min(1, map.phi[at] / 0.3)) : balance(map.ratio[at], 3);
    const known = Number.isFinite(above ? map.phi[at] : map.ratio[at]);
    const said = above ? `in sentences: φ ${signed(map.phi[at])}` : `in neurons: ${times(map.ratio[at])} [${map.low[at].toFixed(2)}, ${map.high[at].toFixed(2)}]`;
    return html`<td style=${known ? tint(place) : ""} title=${`${name(row)} and ${name(column)}, ${said}`}></td>`;
  };
  return html`<div class="scroll tall" role="region" aria-label="Relations of descriptors" tabindex="0"><table class="grid matrix">
    <thead><tr><th scope="col"><span>descriptor</span></th>${order.map((column) => html`<th scope="col"><span>${name(column)}</span></th>`)}</tr></thead>
    <tbody>${order.map((row, up) => html`<tr key=${row}><th scope="row"><a href=${address("descriptor", name(row))}>${name(row)}</a></th>${order.map((column, left) => cell(row, column, left > up))}</tr>`)}</tbody></table></div>`;
}

const RELATION_COLUMNS = [
  { key: "pair", title: "descriptors" },
  { key: "ratio", title: "in neurons [95 %]", sorts: true, number: true, hint: "beyond what sentences explain; 1 by chance" },
  { key: "phi", title: "in sentences (φ)", sorts: true, number: true, hint: "correlation of the labels; 0 by chance" },
  { key: "shared", title: "neurons with both", sorts: true, number: true },
];

function relationRows(run, map, sort, up) {
  const all = run.descriptors.length;
  const rows = [];
  for (let row = 0; row < all; row++) {
    for (let column = row + 1; column < all; column++) {
      if (Number.isFinite(map.ratio[row * all + column])) rows.push(row * all + column);
    }
  }
  return rows.sort((a, b) => (up ? map[sort][a] - map[sort][b] : map[sort][b] - map[sort][a]) || a - b);
}

function Relations({ run, map, query, amend }) {
  const sort = query.by ?? "ratio";
  const rows = useMemo(() => relationRows(run, map, sort, query.up), [map, sort, query.up]);
  const all = run.descriptors.length;
  const both = (at) => [Math.floor(at / all), at % all];
  const cells = (at) => [
    html`${both(at).map((column) => html`<${Chip} run=${run} column=${column} /> `)}`,
    html`<b>${times(map.ratio[at])}</b> <small>[${map.low[at].toFixed(2)}, ${map.high[at].toFixed(2)}]</small>`,
    signed(map.phi[at]), whole(map.shared[at]),
  ];
  const csv = () => csvText([["descriptor", "other", "ratio", "low", "high", "phi", "shared"],
    ...rows.map((at) => [...both(at).map((column) => run.descriptors[column].name), ...["ratio", "low", "high", "phi", "shared"].map((key) => exact(map[key][at]))])]);
  return html`<h2 id="relations">What goes together</h2>
    <p class="note"><b>Above the diagonal</b>: in sentences, the correlation φ of the two labels; 0 by chance. <b>Below</b>: in neurons, corrected for that: how often the exemplars of one's neurons bear the other, over what their sharing of sentences explains; 1 by chance. Blue: more; orange: less; full colour at φ ± 0.3, and three times as often or a third. Blue below and none above: the model holds the two to be alike although nobody says both in a sentence.${map.order.length < all && ` The ${map.order.length} descriptors of most neurons are pictured; the table has all.`}</p>
    <${Matrix} run=${run} map=${map} />
    <div class="tools"><output class="count">${plural(rows.length, "pair")}</output><${CsvButton} name="relations" make=${csv} /></div>
    <${Table} label="Pairs of descriptors" columns=${RELATION_COLUMNS} rows=${rows} cells=${cells} sort=${sort} up=${query.up}
      onSort=${(key) => amend({ by: key, up: sort === key && !query.up, page: "" })} page=${Number(query.page ?? 0)} onPage=${(page) => amend({ page: page || "" })} size=${20} />`;
}

function MapView({ run, query, amend }) {
  const map = usePiece("map");
  if (!map) return html`<${Waiting} />`;
  const more = { run, query, amend };
  return html`<${Depth} ...${more} sizes=${Array.from(map.sizes)} /><${Relations} ...${more} map=${map} />`;
}
