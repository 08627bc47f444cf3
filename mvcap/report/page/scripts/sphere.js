// Where cameras stand: the hemisphere around an object, seen from a little above.

const RADIUS = 100;
const TILT = (22 * Math.PI) / 180;

function direction(azimuth, elevation) {
  const [turn, rise] = [azimuth, elevation].map((angle) => (angle * Math.PI) / 180);
  return [Math.cos(turn) * Math.cos(rise), Math.sin(turn) * Math.cos(rise), Math.sin(rise)];
}

// The viewer looks along +Y: x to the right, z up; depth > 0 is in front.
function project([x, y, z]) {
  return {
    x: RADIUS * x,
    y: -RADIUS * (z * Math.cos(TILT) + y * Math.sin(TILT)),
    depth: z * Math.sin(TILT) - y * Math.cos(TILT),
  };
}

function outline(points) {
  return points.map(({ x, y }, index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
}

function drawSphere(svg, views, choose) {
  const around = Array.from({ length: 73 }, (_, step) => step * 5);
  const up = Array.from({ length: 10 }, (_, step) => step * 10);
  svg.replaceChildren();
  svg.append(makeSvg("path", { class: "horizon", d: outline(around.map((azimuth) => project(direction(azimuth, 0)))) }));
  for (const elevation of [30, 60]) {
    svg.append(makeSvg("path", { class: "ring", d: outline(around.map((azimuth) => project(direction(azimuth, elevation)))) }));
  }
  for (let azimuth = 0; azimuth < 360; azimuth += 45) {
    svg.append(makeSvg("path", { class: "ring", d: outline(up.map((elevation) => project(direction(azimuth, elevation)))) }));
  }
  const ray = makeSvg("line", { class: "ray", x1: 0, y1: 0 });
  svg.append(makeSvg("rect", { class: "object", x: -7, y: -9, width: 14, height: 14, rx: 3 }), ray);
  const dots = views.map((view) => {
    const place = project(direction(view.azimuth, view.elevation));
    const dot = makeSvg("circle", { cx: place.x.toFixed(1), cy: place.y.toFixed(1) });
    dot.addEventListener("click", () => choose(view));
    return { view, place, dot };
  });
  for (const { dot } of [...dots].sort((one, other) => one.place.depth - other.place.depth)) svg.append(dot);
  return (current) => {
    for (const { view, place, dot } of dots) {
      const now = view === current;
      dot.setAttribute("class", now ? "dot now" : place.depth < 0 ? "dot behind" : "dot");
      dot.setAttribute("r", now ? 6 : 3);
      if (now) {
        ray.setAttribute("x2", place.x.toFixed(1));
        ray.setAttribute("y2", place.y.toFixed(1));
      }
    }
  };
}
