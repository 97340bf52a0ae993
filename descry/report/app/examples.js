// Ready examples of what `descry explain` says of a sentence.

const GUESSES = 3;

function Guess({ run, guess, rank }) {
  return html`<li><${Chip} run=${run} column=${guess.column} /> <b>${percent(guess.probability)}</b> <small>${percent(guess.prevalence)} of calibration's sentences have it</small>
    <span class="speakers">${guess.neurons.map(([neuron, z]) => html`<span><${NeuronLink} run=${run} neuron=${neuron} /> <small>z ${signed(z)}</small></span> `)}</span></li>`;
}

function Example({ run, example }) {
  const [chosen, choose] = useState(0);
  const guess = example.guesses[chosen];
  const peak = guess ? Math.max(...guess.tokens, 0) : 0;
  const levels = guess ? guess.tokens.map((value) => (peak > 0 ? Math.round(9 * Math.max(value, 0) / peak) : 0)) : [];
  return html`<article class="example">
    <p class="said"><${Shaded} text=${example.text} spans=${example.spans.flat()} levels=${levels} /></p>
    ${example.aspects.length > 0 && html`<p class="note">Gold aspects: ${example.aspects.join(", ")}</p>`}
    ${example.guesses.length > 1 && html`<label class="note">Shaded: the tokens that contribute to <select value=${String(chosen)} onChange=${(event) => choose(Number(event.target.value))}>${example.guesses.map((guess, place) => html`<option value=${String(place)}>${run.descriptors[guess.column].name}</option>`)}</select></label>`}
    <ol class="guesses">${example.guesses.slice(0, GUESSES).map((guess) => html`<${Guess} run=${run} guess=${guess} />`)}</ol>
  </article>`;
}

function Examples({ run }) {
  return html`<p class="lead">To have a sentence of your own explained by the neurons, use the prompt:</p>
    <pre tabindex="0"><code>descry explain "The battery died after a week"</code></pre>
    <p class="note">Here are ${run.explained.length} sentences of validation, drawn at random. For each: the descriptors that are most probable by the vote of its neurons, and the share of calibration's sentences that have them; the neurons that contribute most (z: how far above their own mean they are); and shaded, the tokens that contribute to the vote.</p>
    ${run.explained.map((example) => html`<${Example} run=${run} example=${example} />`)}`;
}
