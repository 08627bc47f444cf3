// Walk around an object through its real views. Where cameras are unknown, through its views by number.

const DEGREES_PER_PIXEL = 0.6;

const turnFrom = (from, to) => (((to - from) % 360) + 360) % 360;

function nearest(views, azimuth, elevation) {
  const [x, y, z] = direction(azimuth, elevation);
  let best = views[0];
  let closest = -2;
  for (const view of views) {
    const [a, b, c] = direction(view.azimuth, view.elevation);
    const cosine = a * x + b * y + c * z;
    if (cosine > closest) [best, closest] = [view, cosine];
  }
  return best;
}

// The next view to the right (+1) or left (-1) that is nearest to the elevation at which the walk goes.
function beside(views, current, step, elevation) {
  const cost = (view) => {
    const turn = turnFrom(step * current.azimuth, step * view.azimuth) || 360;
    return turn + 2 * Math.abs(view.elevation - elevation);
  };
  return views.filter((view) => view !== current).reduce((one, other) => (cost(other) < cost(one) ? other : one), current);
}

// The next view above (+1) or below (-1), the one most straight so; the present one where there is none.
function above(views, current, step) {
  const cost = (view) => {
    const turn = turnFrom(current.azimuth, view.azimuth);
    return step * (view.elevation - current.elevation) + Math.min(turn, 360 - turn) * Math.cos((view.elevation * Math.PI) / 180);
  };
  const candidates = views.filter((view) => step * (view.elevation - current.elevation) > 0);
  return candidates.length ? candidates.reduce((one, other) => (cost(other) < cost(one) ? other : one)) : current;
}

function startTurntable(details) {
  const choices = DATA.turntables.map((turntable) => ({
    object: DATA.objects[turntable.object],
    views: turntable.views.map((number) => viewAt(number)),
  }));
  const [select, stage, spin] = [find("turned"), find("stage"), find("spin")];
  let views = [];
  let posed = false;
  let current = null;
  let aim = { azimuth: 0, elevation: 0 };
  let mark = () => {};
  let timer = null;

  function show(view) {
    current = view;
    paintView(find("frame"), view, { large: true });
    find("frame").setAttribute("aria-label", `View ${view.index}: ${view.caption || "no caption"}`);
    find("pose").textContent = `view ${view.index}: ${describeCamera(view)}`;
    find("turned-caption").textContent = view.caption || "(no caption)";
    mark(view);
  }

  function settle(view) {
    aim = { azimuth: view.azimuth, elevation: view.elevation };
    show(view);
  }

  function put(position, view) {
    views = choices[position].views;
    posed = views.every((one) => one.azimuth !== null);
    select.value = String(position);
    find("sphere-figure").hidden = !posed;
    mark = posed ? drawSphere(find("sphere"), views, settle) : () => {};
    settle(view || (posed ? nearest(views, 300, 20) : views[0]));
  }

  function step(sideways, upwards) {
    if (!posed) {
      const place = views.indexOf(current) + (sideways || upwards);
      show(views[(place + views.length) % views.length]);
    } else if (sideways) {
      const { elevation } = aim;
      settle(beside(views, current, sideways, elevation));
      aim.elevation = elevation; // or a walk around would drift up or down
    } else settle(above(views, current, upwards));
  }

  function stop() {
    clearInterval(timer);
    timer = null;
    spin.setAttribute("aria-pressed", "false");
  }

  stage.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (!steps[event.key]) return;
    event.preventDefault();
    stop();
    step(...steps[event.key]);
  });

  stage.addEventListener("pointerdown", (event) => {
    stop();
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!stage.hasPointerCapture(event.pointerId)) return;
    aim.azimuth = (aim.azimuth || 0) - event.movementX * DEGREES_PER_PIXEL;
    aim.elevation = Math.max(-90, Math.min(90, (aim.elevation || 0) + event.movementY * DEGREES_PER_PIXEL));
    if (posed) show(nearest(views, aim.azimuth, aim.elevation));
    else show(views[Math.floor((turnFrom(0, -aim.azimuth) / 360) * views.length)]);
  });
  stage.addEventListener("pointerup", () => posed && settle(current));

  spin.addEventListener("click", () => {
    if (timer !== null) return stop();
    timer = setInterval(() => step(1, 0), 160);
    spin.setAttribute("aria-pressed", "true");
  });
  find("turned-details").addEventListener("click", () => details()(current.number));
  select.addEventListener("change", () => {
    stop();
    put(Number(select.value));
  });
  choices.forEach(({ object }, position) => {
    const option = make("option", "", `${object.category}: ${object.name}`);
    option.value = String(position);
    select.append(option);
  });
  put(0);

  return {
    has: (object) => choices.some((choice) => choice.object === object),
    show: (object, number) => {
      const position = choices.findIndex((choice) => choice.object === object);
      put(position, choices[position].views.find((view) => view.number === number));
      find("turntable").scrollIntoView({ block: "start" });
      stage.focus({ preventScroll: true });
    },
  };
}
