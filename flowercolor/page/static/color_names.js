// Colors in words, for who does not see them.

const HUES = [
  [15, "red"], [40, "orange"], [68, "yellow"], [160, "green"], [195, "turquoise"],
  [255, "blue"], [290, "violet"], [335, "pink"], [361, "red"],
];

/** A name such as "pale pink" of "#rrggbb". */
export function nameOf(color) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16) / 255);
  const most = Math.max(red, green, blue);
  const least = Math.min(red, green, blue);
  const range = most - least;
  const light = (most + least) / 2;
  const tone = light < 0.3 ? "dark " : light > 0.75 ? "pale " : "";
  if (range < 0.06) return light > 0.9 ? "white" : light < 0.1 ? "black" : `${tone}gray`;
  const sector = most === red ? (green - blue) / range : most === green ? 2 + (blue - red) / range : 4 + (red - green) / range;
  const degrees = (sector * 60 + 360) % 360;
  const hue = HUES.find(([end]) => degrees < end)[1];
  const dull = range / (1 - Math.abs(2 * light - 1)) < 0.3 ? "dull " : "";
  return dull + tone + (hue === "orange" && light < 0.35 ? "brown" : hue);
}

/** A name for each color; of several that would share one, the later ones are numbered. */
export function namesOf(colors) {
  const count = new Map();
  return colors.map((color) => {
    const name = nameOf(color);
    count.set(name, (count.get(name) ?? 0) + 1);
    return count.get(name) > 1 ? `${name} ${count.get(name)}` : name;
  });
}
