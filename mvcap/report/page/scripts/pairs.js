// Views of two datasets side by side.

function pairAt([first, second, samePicture]) {
  return { first: viewAt(first, DATA.first), second: viewAt(second, DATA.second), samePicture: samePicture === 1 };
}

const isNamed = (view) => view.judged && view.match !== null;

// What can be asked of a pair; most needs both captions to be of one view.
const DIFFERENCES = {
  "captions differ": ({ first, second }) => first.caption !== second.caption,
  "the same caption": ({ first, second }) => first.caption === second.caption,
  "category named in the first only": ({ first, second }) => isNamed(first) && second.judged && !isNamed(second),
  "category named in the second only": ({ first, second }) => isNamed(second) && first.judged && !isNamed(first),
  "pictures differ": (pair) => !pair.samePicture,
};

function side(view, key) {
  const part = make("div", "side");
  const chips = make("ul", "chips");
  for (const complaint of complaints(view)) chips.append(make("li", "chip bad", complaint));
  const caption = make("p", `key ${key}`);
  caption.append(make("span", "heard", `${key}: `), make("span", "caption", view.caption || "(no caption)"));
  part.append(caption);
  if (chips.childElementCount) part.append(chips);
  return part;
}

function pairCard(pair) {
  const item = make("li");
  const article = make("article", "pair card");
  const pictures = make("div", "pictures");
  for (const view of pair.samePicture ? [pair.first] : [pair.first, pair.second]) {
    const sprite = make("span", "sprite");
    sprite.setAttribute("role", "img");
    sprite.setAttribute("aria-label", `View ${view.index} of ${view.object.uid}`);
    paintView(sprite, view);
    pictures.append(sprite);
  }
  const words = make("div");
  const chips = make("ul", "chips");
  chips.append(make("li", "chip", pair.first.object.category));
  const { uid } = pair.first.object;
  const names = DATA.sameViews ? `${uid}, view ${pair.first.index}` : `${uid} and ${pair.second.object.uid}`;
  words.append(chips, side(pair.first, "first"), side(pair.second, "second"), make("p", "meta", names));
  article.append(pictures, words);
  item.append(article);
  return item;
}

function startPairs() {
  const pairs = DATA.pairs.map(pairAt);
  const haystacks = pairs.map(({ first, second }) =>
    [first.caption, second.caption, first.object.uid, second.object.uid, first.object.category].filter(Boolean).join("\n").toLowerCase(),
  );
  fillChoices(find("category"), pairs.map((pair) => pair.first.object.category));
  fillChoices(
    find("difference"),
    pairs.flatMap((pair) => Object.keys(DIFFERENCES).filter((name) => DIFFERENCES[name](pair))),
  );
  const showFound = makePager(find("pairs"), "pair", pairCard);

  function search() {
    const words = typedWords();
    const category = find("category").value;
    const differs = DIFFERENCES[find("difference").value] || (() => true);
    const fits = (pair, number) =>
      (!category || pair.first.object.category === category) &&
      differs(pair) &&
      words.every((word) => haystacks[number].includes(word));
    showFound(pairs.filter(fits));
  }

  find("filters").addEventListener("submit", (event) => event.preventDefault());
  find("query").addEventListener("input", search);
  for (const name of ["category", "difference"]) find(name).addEventListener("change", search);
  search();
}
