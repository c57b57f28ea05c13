/** Positions of labels: above their face, or at the side that covers less of other faces and labels. */

const LOYALTY = 0.15; // a label changes sides only for an advantage larger than this, to avoid jumping

/**
 * The same rule as `place_labels` in `fer/annotation.py`, plus a memory of earlier frames.
 *
 * @param {{id: number, width: number, height: number, box: {left, top, right, bottom}}[]} labels earlier ones
 *   take precedence
 * @param {number} width width of the image, in the same unit @param {number} height
 * @param {Map<number, number>} sides the side of each face's label in the last frame; updated in place
 * @returns {{x: number, y: number}[]}
 */
export function placeLabels(labels, width, height, sides) {
  const taken = [];
  const before = new Map(sides);
  sides.clear();
  for (const label of labels) {
    const obstacles = [...labels.filter((other) => other !== label).map(({ box }) => box), ...taken];
    let best = null;
    let least = Infinity;
    optionsFor(label).forEach(([dislike, left, top, own], side) => {
      const x = Math.max(Math.min(left, width - label.width), 0);
      const y = Math.max(Math.min(top, height - label.height), 0);
      const place = { left: x, top: y, right: x + label.width, bottom: y + label.height };
      const hidden = obstacles.reduce((sum, obstacle) => sum + covered(place, obstacle), 0);
      const loyalty = before.get(label.id) === side ? LOYALTY : 0;
      const cost = dislike + own * covered(place, label.box) + 2 * hidden - loyalty;
      if (cost < least) {
        [best, least] = [place, cost];
        sides.set(label.id, side);
      }
    });
    taken.push(best);
  }
  return taken.map(({ left, top }) => ({ x: left, y: top }));
}

/** Positions as penalty, left, top, and the cost of covering the label's own face. */
function optionsFor({ box, width, height }) {
  const gap = height / 5;
  const [above, below] = [box.top - height - gap, box.bottom + gap];
  const options = [
    [0, box.left, above, 0.5],
    [0.05, box.right - width, above, 0.5],
    [0.15, box.left, below, 0.5],
    [0.2, box.right - width, below, 0.5],
    [0.25, box.right + gap, box.top, 0.5],
    [0.3, box.left - width - gap, box.top, 0.5],
  ];
  if (box.bottom - box.top > 4 * height) options.push([0.12, box.left, box.top + gap, 0]); // over the forehead
  return options;
}

/** The overlap as a share of the smaller box. */
function covered(one, other) {
  const width = Math.min(one.right, other.right) - Math.max(one.left, other.left);
  const height = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
  if (width <= 0 || height <= 0) return 0;
  return (width * height) / Math.max(Math.min(area(one), area(other)), 1);
}

function area({ left, top, right, bottom }) {
  return (right - left) * (bottom - top);
}
