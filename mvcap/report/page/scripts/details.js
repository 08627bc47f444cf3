// One view with all that is known of it, and the command that makes its picture again.

function shellWord(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}

function commandFor(view) {
  const words = ["--out", DATA.folder, "--uid", view.object.uid, "--view", String(view.index), "--save", "again.png"];
  return `mvcap render ${words.map(shellWord).join(" ")}`;
}

function fieldsOf(view) {
  const known = (value, write) => (value === null ? null : write(value));
  return [
    ["object", `${view.object.name} (${view.object.uid})`],
    ["category", view.object.category],
    ["named as", view.match],
    ["names instead", view.other],
    ["flags", [...view.flags, ...view.defects].join(", ") || null],
    ["CLIP score", known(view.score, String)],
    ["prompt", view.prompt],
    ["written", view.retried ? "a second time" : null],
    ["camera", known(view.azimuth, () => `azimuth ${view.azimuth}°, elevation ${view.elevation}°, distance ${view.distance}`)],
    ["picture", `${view.width} × ${view.height} px`],
    ["covered", known(view.covered, (share) => `${(100 * share).toFixed(1)} %`)],
    ["source, split", `${view.object.source}, ${view.object.split}`],
    ["licence", view.object.license || "unknown"],
    ["creator", view.object.creator],
  ].filter(([, value]) => value !== null);
}

function linkTo(address) {
  const link = make("a", "", address);
  link.href = address; // Python let only http and https through
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  return link;
}

function startDetails(turn) {
  const dialog = find("details");
  let shown = null;

  function open(number) {
    shown = viewAt(number);
    find("details-title").textContent = shown.caption || "(no caption)";
    const picture = find("details-picture");
    paintView(picture, shown, { large: true });
    picture.setAttribute("aria-label", `View ${shown.index} of ${shown.object.category}`);
    const fields = find("details-fields");
    fields.replaceChildren();
    for (const [name, value] of fieldsOf(shown)) fields.append(make("dt", "", name), make("dd", "", value));
    if (shown.object.url) {
      const place = make("dd");
      place.append(linkTo(shown.object.url));
      fields.append(make("dt", "", "from"), place);
    }
    find("details-again").hidden = find("details-copy").hidden = !shown.object.rendered;
    find("details-copy").textContent = "Copy the command";
    find("details-command").textContent = commandFor(shown);
    find("details-turn").hidden = !turn.has(shown.object);
    dialog.showModal();
  }

  find("details-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  find("details-copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(commandFor(shown));
      find("details-copy").textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(find("details-command"));
    }
  });
  find("details-turn").addEventListener("click", () => {
    dialog.close();
    turn.show(shown.object, shown.number);
  });
  for (const button of document.querySelectorAll("[data-details]")) {
    button.addEventListener("click", () => open(Number(button.dataset.details)));
  }
  return open;
}
