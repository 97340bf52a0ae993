// Which view an address shows, the theme, and the tables that are part of the page itself.

const VIEWS = {
  descriptors: ["Descriptors", Descriptors], descriptor: [null, Descriptor], neurons: ["Neurons", Neurons],
  neuron: [null, Neuron], map: ["Map", MapView], beyond: ["Beyond the paper: triggers, transfer, ablation", BeyondView], try: ["Try it", Examples],
};
const PARENTS = { descriptor: "descriptors", neuron: "neurons" };
const stage = document.getElementById("stage");
const still = [...document.querySelectorAll("main > section[data-view]")];

function parsed(hash) {
  const [path, query] = hash.replace(/^#/, "").split("?");
  const [view, ...rest] = path.split("/");
  let argument;
  try {
    argument = rest.length ? decodeURIComponent(rest.join("/")) : undefined;
  } catch {
    argument = rest.join("/");
  }
  const asked = Object.fromEntries(new URLSearchParams(query));
  if (asked.up) asked.up = asked.up === "true";
  return { view, argument, query: asked };
}

function View({ route, go }) {
  const [run, keep] = useState(theRun.done ?? null);
  useEffect(() => { theRun().then((made) => keep((theRun.done = made))); }, []);
  const amend = (changes) => {
    const kept = Object.fromEntries(Object.entries({ ...route.query, ...changes }).filter(([, value]) => value !== "" && value !== false));
    history.replaceState(null, "", address(route.view, route.argument, kept));
    go({ ...route, query: kept });
  };
  const [title, Component] = VIEWS[route.view];
  const heading = title ?? html`<small>${route.view === "neuron" ? "Neuron" : "Descriptor"}</small> ${route.argument}`;
  return html`<h1 tabindex="-1">${heading}</h1>${run ? html`<${Component} key=${`${route.view}/${route.argument}`} run=${run} argument=${route.argument} query=${route.query} amend=${amend} />` : html`<${Waiting} />`}`;
}

const base = document.title;
let before = null;

function show(route) {
  const target = !VIEWS[route.view] && route.view ? document.getElementById(route.view) : null;
  const here = target?.closest("section[data-view]") ?? still[0];
  const moving = VIEWS[route.view] !== undefined;
  for (const section of still) section.hidden = moving || section !== here;
  stage.hidden = !moving;
  if (moving) preact.render(html`<${View} route=${route} go=${show} />`, stage);
  const current = moving ? (PARENTS[route.view] ?? route.view) : here.dataset.view;
  for (const link of document.querySelectorAll("header nav a")) {
    if (link.hash === `#${current}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const place = `${route.view}/${route.argument ?? ""}`;
  document.title = moving ? `${[VIEWS[route.view][0] ?? route.argument]} – ${base}` : base;
  if (before !== null && before !== place) {
    if (!moving && target && target !== here) {
      for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
      target.scrollIntoView();
    } else {
      scrollTo(0, 0);
      (moving ? stage : here).querySelector("h1, h2")?.focus({ preventScroll: true });
    }
  } else if (before === null && target && target !== here) target.scrollIntoView();
  before = place;
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  document.getElementById("theme").setAttribute("aria-pressed", String(theme === "dark"));
}

function startTheme() {
  const store = { get: () => { try { return localStorage.getItem("descry-theme"); } catch { return null; } },
    set: (theme) => { try { localStorage.setItem("descry-theme", theme); } catch { /* a browser without storage */ } } };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  setTheme(store.get() ?? (dark.matches ? "dark" : "light"));
  dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
  document.getElementById("theme").addEventListener("click", () => {
    const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    store.set(theme);
    setTheme(theme);
  });
}

for (const button of document.querySelectorAll("button[data-table]")) {
  button.addEventListener("click", async () => download(`${button.dataset.table}.csv`, (await piece("tables")).content[button.dataset.table]));
}
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("main").focus();
});
startTheme();
addEventListener("hashchange", () => show(parsed(location.hash)));
show(parsed(location.hash));
