// Ready examples of what `descry explain` says of a sentence.

const GUESSES = 3;

function Guess({ run, guess, rank }) {
  return html`<li><${Chip} run=${run} column=${guess.column} /> <b>${signed(guess.score)}</b> <small>of calibration's sentences, ${percent(guess.share)} score as high</small>
    <span class="speakers">${guess.neurons.map(([neuron, z]) => html`<span><${NeuronLink} run=${run} neuron=${neuron} /> <small>z ${signed(z)}</small></span> `)}</span></li>`;
}

function Example({ run, one }) {
  const [chosen, choose] = useState(0);
  const guess = one.guesses[chosen];
  const peak = guess ? Math.max(...guess.tokens, 0) : 0;
  const levels = guess ? guess.tokens.map((value) => (peak > 0 ? Math.round(9 * Math.max(value, 0) / peak) : 0)) : [];
  return html`<article class="example">
    <p class="said"><${Shaded} text=${one.text} spans=${one.spans.flat()} levels=${levels} /></p>
    ${one.aspects.length > 0 && html`<p class="note">Annotators: ${one.aspects.join(", ")}</p>`}
    ${one.guesses.length > 1 && html`<label class="note">Shaded: the tokens that speak for <select value=${String(chosen)} onChange=${(event) => choose(Number(event.target.value))}>${one.guesses.map((each, place) => html`<option value=${String(place)}>${run.descriptors[each.column].name}</option>`)}</select></label>`}
    <ol class="guesses">${one.guesses.slice(0, GUESSES).map((each) => html`<${Guess} run=${run} guess=${each} />`)}</ol>
  </article>`;
}

function Examples({ run }) {
  return html`<p class="lead">What the neurons say of a sentence of your own is calculated at the prompt:</p>
    <pre tabindex="0"><code>descry explain "The battery died after a week"</code></pre>
    <p class="note">Here are ${run.explained.length} sentences of validation, drawn at random, not chosen. Of each: the descriptors that its neurons name first, their score (standard deviations above the mean over calibration's sentences), and how many sentences score as high; the neurons that speak loudest (z: how far above their own mean they are); and shaded, the tokens that make them.</p>
    ${run.explained.map((one) => html`<${Example} run=${run} one=${one} />`)}`;
}
