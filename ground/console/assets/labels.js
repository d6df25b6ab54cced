// Names on the map: each beside its mark, where it covers no other name; one that finds no place waits until it does.

const PAD = 2, NEAR = 9, LETTER = 6.9, HEIGHT = 13;
const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

// Where a name of a width may stand about a mark: anchor, offset of its baseline, and the box that it fills.
const places = (width) => [
  ["start", NEAR, -7], ["start", NEAR, 16], ["end", -NEAR, -7], ["end", -NEAR, 16], ["middle", 0, -13], ["middle", 0, 23],
].map(([anchor, x, y]) => {
  const left = anchor === "start" ? x : anchor === "end" ? x - width : x - width / 2;
  return { anchor, x, y, box: [left - PAD, y - HEIGHT + 2, left + width + PAD, y + 4] };
});

// marks: [{ text: an SVG text, name, at: [x, y] in pixels }], those that matter most first.
export function arrange(marks, width, height) {
  const taken = marks.map(({ at: [x, y] }) => [x - 6, y - 6, x + 6, y + 6]);
  marks.forEach((mark, own) => {
    const { text, name, at } = mark, chosen = text.place ?? 0, all = places(name.length * LETTER);
    const boxAt = ({ box }) => [box[0] + at[0], box[1] + at[1], box[2] + at[0], box[3] + at[1]];
    const free = (place) => {
      const box = boxAt(place);
      return box[0] >= 0 && box[2] <= width && box[1] >= 0 && box[3] <= height && !taken.some((other, i) => i !== own && overlap(box, other));
    };
    // It stays where it is as long as it can, so that names do not dance.
    const index = free(all[chosen]) ? chosen : all.findIndex(free);
    const key = `${index}`;
    if (text.dataset.at !== key) {
      text.dataset.at = key;
      text.classList.toggle("crowded", index < 0);
      const { anchor, x, y } = all[Math.max(index, 0)];
      text.setAttribute("text-anchor", anchor); text.setAttribute("x", x); text.setAttribute("y", y);
    }
    text.place = Math.max(index, 0);
    if (index >= 0) taken.push(boxAt(all[index]));
  });
}
