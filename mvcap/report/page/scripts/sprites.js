// Pictures lie in sheets; each sheet is decoded when one of its pictures is first shown.

const opened = new Map();

function sheetAddress(sheets, number) {
  const uri = sheets.uris[number];
  if (!opened.has(uri)) {
    const bytes = Uint8Array.from(atob(uri.slice(uri.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
    opened.set(uri, URL.createObjectURL(new Blob([bytes], { type: "image/webp" })));
  }
  return opened.get(uri);
}

// Fill an element with the picture at a place of the sheets; percentages make it fit any size.
function paint(element, sheets, place) {
  const cell = place % sheets.cells;
  const sheet = (place - cell) / sheets.cells;
  const last = sheet === sheets.uris.length - 1;
  const column = cell % sheets.columns;
  const row = (cell - column) / sheets.columns;
  const rows = last ? sheets.lastRows : sheets.cells / sheets.columns;
  element.style.backgroundImage = `url("${sheetAddress(sheets, sheet)}")`;
  element.style.backgroundSize = `${sheets.columns * 100}% ${rows * 100}%`;
  element.style.backgroundPosition = `${(100 * column) / (sheets.columns - 1)}% ${rows > 1 ? (100 * row) / (rows - 1) : 0}%`;
}

function paintView(element, view, { large = false } = {}) {
  element.classList.remove("none");
  element.textContent = "";
  if (view.frame !== null && (large || view.thumbnail === null)) paint(element, view.data.frames, view.frame);
  else if (view.thumbnail !== null) paint(element, view.data.thumbnails, view.thumbnail);
  else {
    element.style.backgroundImage = "none";
    element.classList.add("none");
    element.textContent = "no picture here";
  }
}

function paintWritten() {
  for (const element of document.querySelectorAll("[data-view]")) {
    const data = element.dataset.of ? DATA[element.dataset.of] : DATA;
    paintView(element, viewAt(Number(element.dataset.view), data));
  }
}
