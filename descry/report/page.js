"use strict";
// Filter, sort, and open what an address points to. The page reads without any of it.
const list = document.getElementById("cards");
const cards = [...list.children];
const find = document.getElementById("find");
const order = document.getElementById("order");
const count = document.getElementById("count");

function filter() {
  const wanted = find.value.trim().toLowerCase();
  let shown = 0;
  for (const card of cards) {
    card.hidden = !card.dataset.words.toLowerCase().includes(wanted);
    shown += card.hidden ? 0 : 1;
  }
  count.textContent = shown === cards.length ? `${shown} descriptors` : `${shown} of ${cards.length} descriptors`;
}

function sort() {
  const key = order.value;
  const name = (card) => card.dataset.words;
  const ranked = [...cards].sort((a, b) =>
    (key === "words" ? 0 : Number(b.dataset[key]) - Number(a.dataset[key])) || name(a).localeCompare(name(b)));
  list.append(...ranked);
}

function open() {
  const target = document.getElementById(location.hash.slice(1));
  if (!target) return;
  for (let node = target; node; node = node.parentElement) {
    if (node.hidden) { find.value = ""; filter(); }
    if (node.tagName === "DETAILS") node.open = true;
  }
  target.scrollIntoView();
}

document.getElementById("tools").hidden = false;
find.addEventListener("input", filter);
order.addEventListener("change", sort);
addEventListener("hashchange", open);
filter();
open();
