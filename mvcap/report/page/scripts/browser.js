// The list of captions: searched, filtered, a page at a time.

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
    object: (one, other) => one.place - other.place || one.index - other.index,
    score: (one, other) => (one.score ?? Infinity) - (other.score ?? Infinity),
  };
  find("order").querySelector("[value=score]").hidden = views.every((view) => view.score === null);

  const showFound = makePager(find("views"), "view", (number) => card(views[number], open));

  function search() {
    const words = typedWords();
    const chosen = Object.entries(filters).filter(([name]) => find(name).value);
    const found = [];
    for (let number = 0; number < views.length; number++) {
      const fits = words.every((word) => haystacks[number].includes(word));
      if (fits && chosen.every(([name, fit]) => fit(views[number], find(name).value))) found.push(number);
    }
    const before = orders[find("order").value];
    if (before) found.sort((one, other) => before(views[one], views[other]));
    showFound(found);
  }

  find("filters").addEventListener("submit", (event) => event.preventDefault());
  find("query").addEventListener("input", search);
  for (const name of [...Object.keys(filters), "order"]) find(name).addEventListener("change", search);
  search();
}
