// A list that is shown a page at a time; `draw` makes an element of one of its items.

const PAGE = matchMedia("(max-width: 44rem)").matches ? 12 : 24;

function makePager(list, noun, draw) {
  let found = [];
  let first = 0;

  function show() {
    const last = Math.min(first + PAGE, found.length);
    list.replaceChildren(...found.slice(first, last).map(draw));
    if (!found.length) list.append(make("li", "nothing", "Nothing fits. Try fewer words, or another filter."));
    const range = found.length ? `${(first + 1).toLocaleString("en")}–${last.toLocaleString("en")} of ` : "";
    find("found").textContent = `${range}${found.length.toLocaleString("en")} ${noun}${found.length === 1 ? "" : "s"}`;
    find("previous").disabled = first === 0;
    find("next").disabled = last >= found.length;
  }

  function turnPage(step) {
    first += step * PAGE;
    show();
    find("captions").scrollIntoView({ block: "start" });
  }

  find("previous").addEventListener("click", () => turnPage(-1));
  find("next").addEventListener("click", () => turnPage(1));
  return (items) => {
    found = items;
    first = 0;
    show();
  };
}

// What was typed, as words that must all be there.
const typedWords = () => find("query").value.toLowerCase().split(/\s+/).filter(Boolean);

function fillChoices(select, values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
  for (const [value, count] of [...counts].sort(([one], [other]) => (one < other ? -1 : 1))) {
    const option = make("option", "", `${value} (${count.toLocaleString("en")})`);
    option.value = value;
    select.append(option);
  }
}
