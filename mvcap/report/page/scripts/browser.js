// The list of captions: searched, filtered, a page at a time.

const PAGE = matchMedia("(max-width: 44rem)").matches ? 12 : 24;

function searchable(view) {
  const { uid, name, category, creator } = view.object;
  return [view.caption, uid, name, category, creator].filter(Boolean).join("\n").toLowerCase();
}

function card(view, open) {
  const item = make("li");
  const article = make("article", "view card");
  const picture = make("button", "picture");
  picture.type = "button";
  picture.setAttribute("aria-label", `Details of view ${view.index} of ${view.object.uid}`);
  const sprite = make("span", "sprite");
  paintView(sprite, view);
  picture.append(sprite);
  picture.addEventListener("click", () => open(view.number));
  const words = make("div");
  const chips = make("ul", "chips");
  chips.append(make("li", "chip", view.object.category));
  for (const complaint of complaints(view)) chips.append(make("li", "chip bad", complaint));
  words.append(make("p", "caption", view.caption || "(no caption)"), chips);
  words.append(make("p", "meta", describeCamera(view)), make("p", "meta", view.object.license || "licence unknown"));
  article.append(picture, words);
  item.append(article);
  return item;
}

function fillChoices(select, values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
  for (const [value, count] of [...counts].sort(([one], [other]) => (one < other ? -1 : 1))) {
    const option = make("option", "", `${value} (${count.toLocaleString("en")})`);
    option.value = value;
    select.append(option);
  }
}

function startBrowser(open) {
  const views = Array.from({ length: DATA.listed }, (_, number) => viewAt(number));
  const haystacks = views.map(searchable);
  const filters = {
    category: (view, value) => view.object.category === value,
    source: (view, value) => view.object.source === value,
    license: (view, value) => (view.object.license || "unknown") === value,
    flag: (view, value) => complaints(view).includes(value),
  };
  fillChoices(find("category"), views.map((view) => view.object.category));
  fillChoices(find("source"), views.map((view) => view.object.source));
  fillChoices(find("license"), views.map((view) => view.object.license || "unknown"));
  fillChoices(find("flag"), views.flatMap(complaints));

  const orders = {
    object: (one, other) => one.object.place - other.object.place || one.index - other.index,
    score: (one, other) => (one.score ?? Infinity) - (other.score ?? Infinity),
  };
  find("order").querySelector("[value=score]").hidden = views.every((view) => view.score === null);

  let found = [];
  let first = 0;

  function show() {
    const last = Math.min(first + PAGE, found.length);
    find("views").replaceChildren(...found.slice(first, last).map((number) => card(views[number], open)));
    if (!found.length) find("views").append(make("li", "nothing", "Nothing fits. Try fewer words, or another filter."));
    const range = found.length ? `${(first + 1).toLocaleString("en")}–${last.toLocaleString("en")} of ` : "";
    find("found").textContent = `${range}${found.length.toLocaleString("en")} ${found.length === 1 ? "view" : "views"}`;
    find("previous").disabled = first === 0;
    find("next").disabled = last >= found.length;
  }

  function search() {
    const words = find("query").value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = Object.entries(filters).filter(([name]) => find(name).value);
    found = [];
    for (let number = 0; number < views.length; number++) {
      const fits = words.every((word) => haystacks[number].includes(word));
      if (fits && chosen.every(([name, fit]) => fit(views[number], find(name).value))) found.push(number);
    }
    const before = orders[find("order").value];
    if (before) found.sort((one, other) => before(views[one], views[other]));
    first = 0;
    show();
  }

  function turnPage(step) {
    first += step * PAGE;
    show();
    find("captions").scrollIntoView({ block: "start" });
  }

  find("filters").addEventListener("submit", (event) => event.preventDefault());
  find("query").addEventListener("input", search);
  for (const name of [...Object.keys(filters), "order"]) find(name).addEventListener("change", search);
  find("previous").addEventListener("click", () => turnPage(-1));
  find("next").addEventListener("click", () => turnPage(1));
  search();
}
