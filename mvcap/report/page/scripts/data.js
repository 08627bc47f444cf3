// What Python wrote: columns of the shown views, the objects they belong to, and sheets of pictures.

const DATA = JSON.parse(find("data").textContent);

function viewAt(number, data = DATA) {
  const columns = data.views;
  const text = (place) => (place === null ? null : data.texts[place]);
  const texts = (places) => (places || []).map(text);
  return {
    number,
    data,
    object: data.objects[columns.object[number]],
    place: columns.object[number],
    index: columns.index[number],
    caption: text(columns.caption[number]),
    prompt: text(columns.prompt[number]),
    match: text(columns.match[number]),
    other: text(columns.other[number]),
    defects: texts(columns.defects[number]),
    judged: columns.defects[number] !== null,
    retried: columns.retried[number] === 1,
    flags: texts(columns.flags[number]),
    score: columns.score[number],
    azimuth: columns.azimuth[number],
    elevation: columns.elevation[number],
    distance: columns.distance[number],
    covered: columns.covered[number],
    width: columns.width[number],
    height: columns.height[number],
    thumbnail: columns.thumbnail[number],
    frame: columns.frame[number],
  };
}

// Everything that is wrong with a view, as chips and the filter name it.
function complaints(view) {
  const found = [...view.flags, ...view.defects];
  if (view.other !== null) found.push("names another category");
  else if (view.judged && view.match === null) found.push("category not named");
  if (view.caption === null) found.push("no caption");
  return found;
}

function describeCamera(view) {
  if (view.azimuth === null) return "camera unknown";
  return `azimuth ${Math.round(view.azimuth) % 360}°, elevation ${Math.round(view.elevation)}°`;
}
