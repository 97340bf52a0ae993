// What several views are made of.

const html = htm.bind(preact.h);
const { useEffect, useMemo, useRef, useState } = preactHooks;

const RAISED = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
const whole = (number) => Math.round(number).toLocaleString("en");
const plural = (number, word) => `${whole(number)} ${word}${number === 1 ? "" : "s"}`;
const signed = (value) => (Number.isFinite(value) ? value.toFixed(2).replace("-", "−").replace("−0.00", "0.00") : "–");
const times = (lift) => (lift < 9.95 ? `${lift.toFixed(1)}\u00a0×` : `${whole(lift)}\u00a0×`);
function percent(share) {
  const hundredths = 100 * share;
  if (hundredths > 0 && hundredths < 0.05) return "<\u00a00.1\u00a0%";
  return hundredths >= 9.95 ? `${hundredths.toFixed(0)}\u00a0%` : `${Number(hundredths.toFixed(1))}\u00a0%`;
}
function chance(p) {
  if (p >= 0.001) return p.toFixed(3);
  if (p < 1e-300) return "< 10⁻³⁰⁰";
  const [digits, power] = p.toExponential(0).split("e");
  return `${digits} × 10${String(Number(power)).replace(/./g, (sign) => RAISED[sign])}`;
}

// A table as CSV: texts in quotes, none that a spreadsheet takes for a formula.
const FORMULA = /^ *[=+\-@\t\r\n＝＋－＠]/;
function csvCell(value) {
  if (typeof value !== "string") return value === null || Number.isNaN(value) ? "" : String(value);
  return `"${(FORMULA.test(value) ? `'${value}` : value).replaceAll('"', '""')}"`;
}
const csvText = (rows) => rows.map((row) => row.map(csvCell).join(",")).join("\n") + "\n";

function download(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

const address = (view, argument, query) => {
  const asked = Object.entries(query ?? {}).filter(([, value]) => value !== "" && value !== undefined && value !== false);
  const tail = new URLSearchParams(asked.map(([key, value]) => [key, String(value)])).toString();
  return `#${view}${argument === undefined ? "" : `/${encodeURIComponent(argument)}`}${tail ? `?${tail}` : ""}`;
};

const NeuronLink = ({ run, neuron }) => html`<a class="address" href=${`#neuron/${run.name(neuron)}`}>${run.name(neuron)}</a>`;
const Chip = ({ run, column }) =>
  html`<a class="chip" href=${address("descriptor", run.descriptors[column].name)}>${run.descriptors[column].name}</a>`;

// A share, and chance as a mark on it.
const Meter = ({ value, mark }) => html`<span class="meter" aria-hidden="true">
  <span class="fill" style=${`width:${(100 * value).toFixed(1)}%`}></span>
  <span class="tick" style=${`left:${(100 * mark).toFixed(1)}%`}></span></span>`;

// A text with its tokens shaded: levels from 0 to 9, the strongest marked. spans: start and stop of every token in turn.
function Shaded({ text, spans, levels }) {
  const letters = Array.from(text);
  const peak = levels.length ? Math.max(...levels) : 0;
  const out = [];
  let place = 0;
  let plain = "";
  const flush = () => { if (plain) out.push(plain); plain = ""; };
  for (let token = 0; 2 * token < spans.length; token++) {
    const start = Math.max(spans[2 * token], place);
    const stop = spans[2 * token + 1];
    if (stop <= start) continue;
    const word = letters.slice(start, stop).join("");
    plain += letters.slice(place, start).join("");
    if (levels[token] > 0) {
      flush();
      const style = `--level:${levels[token]}`;
      out.push(levels[token] === peak ? html`<mark style=${style}>${word}</mark>` : html`<span class="token" style=${style}>${word}</span>`);
    } else plain += word;
    place = stop;
  }
  plain += letters.slice(place).join("");
  flush();
  return html`<span class="text">${out}</span>`;
}

const PAGE = 25;

// Rows a page at a time; columns: {key, title, hint, sorts, number, wide (not
// on a phone)}; cells: gives a row's cells in their order.
function Table({ label, columns, rows, cells, sort, up, onSort, page = 0, onPage, size = PAGE }) {
  const last = Math.max(Math.ceil(rows.length / size) - 1, 0);
  const here = Math.min(page, last);
  const shown = rows.slice(here * size, (here + 1) * size);
  const kind = ({ number, wide }) => `${number ? "number" : ""} ${wide ? "wide" : ""}`;
  const head = ({ key, title, hint, sorts, ...more }) => {
    const state = sort === key ? (up ? "ascending" : "descending") : undefined;
    const name = sorts ? html`<button type="button" class="sort" onClick=${() => onSort(key)}>${title}<span aria-hidden="true">${{ ascending: " ↑", descending: " ↓" }[state] ?? ""}</span></button>` : title;
    return html`<th scope="col" class=${kind(more)} title=${hint} aria-sort=${state}>${name}</th>`;
  };
  const pager = last > 0 && html`<nav class="pager" aria-label=${`Pages of ${label}`}>
    <button type="button" disabled=${here === 0} onClick=${() => onPage(here - 1)}>Previous</button>
    <span>${whole(here * size + 1)} to ${whole(here * size + shown.length)} of ${whole(rows.length)}</span>
    <button type="button" disabled=${here === last} onClick=${() => onPage(here + 1)}>Next</button></nav>`;
  return html`<div class="scroll" role="region" aria-label=${label} tabindex="0"><table class="rows">
    <thead><tr>${columns.map(head)}</tr></thead>
    <tbody>${shown.map((row, place) => html`<tr key=${row}>${cells(row, here * size + place).map((cell, column) => column
      ? html`<td class=${kind(columns[column])}>${cell}</td>` : html`<th scope="row">${cell}</th>`)}</tr>`)}</tbody>
    </table></div>${pager}`;
}

// What a piece holds, null until it is unpacked.
function usePiece(name) {
  const [held, hold] = useState({});
  useEffect(() => { piece(name).then((found) => hold({ name, found })); }, [name]);
  return held.name === name ? held.found : null;
}

const Waiting = () => html`<p class="note" role="status">Unpacking …</p>`;
