// Values of encoder positions, drawn over the image: one cell for each position.

/** The colour of weights below 0, which tangent attention has in places, and from little to much: red, green, blue. */
const BELOW = [29, 99, 200];
const RAMP = [[255, 214, 102], [247, 127, 0], [214, 40, 57], [114, 9, 120], [40, 6, 80]];
const GOLDEN_ANGLE = 137.508;
/** Degrees between the hues of successive clusters: neighbours in number get hues far apart. */

/** Colour every position {rows, columns} by its cluster; `chosen` stands out, null leaves all alike. */
export function drawClusters(canvas, grid, assignment, chosen) {
  const { context, cell } = prepared(canvas, grid);
  each(grid, (row, column, index) => {
    const cluster = assignment[index];
    context.globalAlpha = chosen === null ? 0.6 : cluster === chosen ? 0.8 : 0.32;
    context.fillStyle = `hsl(${cluster * GOLDEN_ANGLE % 360} ${cluster % 3 ? 85 : 60}% ${40 + 8 * (cluster % 4)}%)`;
    context.fillRect(...cell(row, column));
  });
  outline(context, grid, cell, (index) => assignment[index], 1, "rgb(0 0 0 / .35)");
  if (chosen === null) return;
  const within = (index) => assignment[index] === chosen;
  outline(context, grid, cell, within, 4, "#fff");
  outline(context, grid, cell, within, 2, "#111");
}

/** Colour every position by its attention, of which `most` has the last colour of the ramp; the ramp is of the root. */
export function drawAttention(canvas, grid, values, most) {
  const { context, cell } = prepared(canvas, grid);
  each(grid, (row, column, index) => {
    const share = Math.sqrt(Math.min(1, Math.abs(values[index]) / most));
    context.globalAlpha = Math.min(0.92, 1.5 * share);
    context.fillStyle = `rgb(${(values[index] < 0 ? BELOW : heat(share)).join(" ")})`;
    context.fillRect(...cell(row, column));
  });
}

/** Mark a position. */
export function drawPoint(canvas, grid, { row, column }) {
  const context = canvas.getContext("2d");
  const [x, y, width, height] = cells(canvas, grid)(row, column);
  context.globalAlpha = 1;
  for (const [line, colour, grown] of [[5, "#fff", 2], [2.5, "#111", 2]]) {
    context.lineWidth = line * devicePixelRatio;
    context.strokeStyle = colour;
    const by = grown * devicePixelRatio;
    context.strokeRect(x - by, y - by, width + 2 * by, height + 2 * by);
  }
}

/** Clear a map. */
export function clearMap(canvas) {
  canvas.width = 0;
}

function prepared(canvas, grid) {
  canvas.width = Math.round(canvas.clientWidth * devicePixelRatio);
  canvas.height = Math.round(canvas.clientHeight * devicePixelRatio);
  return { context: canvas.getContext("2d"), cell: cells(canvas, grid) };
}

/** A function of row and column to x, y, width and height in the canvas, without gaps. */
function cells(canvas, { rows, columns }) {
  const x = (column) => Math.round(canvas.width * column / columns);
  const y = (row) => Math.round(canvas.height * row / rows);
  return (row, column) => [x(column), y(row), x(column + 1) - x(column), y(row + 1) - y(row)];
}

function each({ rows, columns }, visit) {
  for (let index = 0; index < rows * columns; index++) visit(Math.floor(index / columns), index % columns, index);
}

/** Draw a line between neighbours of different values. */
function outline(context, grid, cell, valueOf, width, colour) {
  context.globalAlpha = 1;
  context.lineWidth = width * devicePixelRatio;
  context.strokeStyle = colour;
  context.beginPath();
  each(grid, (row, column, index) => {
    const [x, y, w, h] = cell(row, column);
    if (column + 1 < grid.columns && valueOf(index) !== valueOf(index + 1)) {
      context.moveTo(x + w, y);
      context.lineTo(x + w, y + h);
    }
    if (row + 1 < grid.rows && valueOf(index) !== valueOf(index + grid.columns)) {
      context.moveTo(x, y + h);
      context.lineTo(x + w, y + h);
    }
  });
  context.stroke();
}

function heat(share) {
  const at = share * (RAMP.length - 1);
  const from = Math.min(RAMP.length - 2, Math.floor(at));
  return RAMP[from].map((value, channel) => Math.round(value + (at - from) * (RAMP[from + 1][channel] - value)));
}
