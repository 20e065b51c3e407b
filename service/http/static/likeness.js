// How alike the attention of positions is.

/** The attention that two maps have in common, 0 to 1: the sum of the lesser of each position's two weights. */
export function inCommon(one, other) {
  return Math.max(0, one.reduce((sum, value, index) => sum + Math.min(value, other[index]), 0));
}

/** How often two positions are in one cluster: {neighbours, any}, shares of neighbours in a row or column and of all pairs. */
export function likeness({ rows, columns }, assignment) {
  let together = 0;
  const sizes = new Map();
  assignment.forEach((cluster, index) => {
    sizes.set(cluster, (sizes.get(cluster) ?? 0) + 1);
    if ((index + 1) % columns && cluster === assignment[index + 1]) together += 1;
    if (index + columns < assignment.length && cluster === assignment[index + columns]) together += 1;
  });
  const edges = rows * (columns - 1) + columns * (rows - 1);
  const pairs = [...sizes.values()].reduce((sum, size) => sum + size * (size - 1), 0);
  const count = assignment.length;
  return { neighbours: edges ? together / edges : 1, any: count > 1 ? pairs / (count * (count - 1)) : 1 };
}
