// Where each node is drawn. Pure: nodes and a width in, places out.
//
//     zone-a  5,000 nodes          a heading
//     ▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪▪             rows of cells, in the order given
//     ▪▪▪▪▪▪
//     zone-b  5,000 nodes

/** From far to near; the last has names. */
export const ZOOMS = [
  { width: 6, height: 6, gap: 1 },
  { width: 9, height: 9, gap: 1 },
  { width: 14, height: 14, gap: 2 },
  { width: 22, height: 22, gap: 3 },
  { width: 104, height: 22, gap: 4, named: true },
];
export const HEADING = 22;
const BETWEEN = 10;

/** `groups`: [{title, nodes}]; a group without a title has no heading. */
export class Layout {
  constructor(groups, width, zoom) {
    const { width: cell, height, gap } = ZOOMS[zoom];
    this.zoom = ZOOMS[zoom];
    this.columns = Math.max(1, Math.floor((width + gap) / (cell + gap)));
    this.stepX = cell + gap;
    this.stepY = height + gap;
    this.nodes = groups.flatMap((group) => group.nodes);
    this.blocks = [];
    let top = 0;
    let first = 0;
    for (const { title, nodes } of groups) {
      const cells = top + (title ? HEADING : 0);
      const rows = Math.ceil(nodes.length / this.columns);
      this.blocks.push({ title, top, cells, first, count: nodes.length, end: cells + rows * this.stepY });
      top = cells + rows * this.stepY + BETWEEN;
      first += nodes.length;
    }
    this.height = Math.max(0, top - BETWEEN);
  }

  /** The left upper corner of a node's cell. */
  place(index) {
    const block = this.blocks.find(({ first, count }) => index < first + count);
    const within = index - block.first;
    return {
      x: (within % this.columns) * this.stepX,
      y: block.cells + Math.floor(within / this.columns) * this.stepY,
    };
  }

  /** Which node is drawn there; -1: none. */
  at(x, y) {
    const block = this.blocks.find(({ cells, end }) => y >= cells && y < end);
    const column = Math.floor(x / this.stepX);
    if (!block || x < 0 || column >= this.columns) return -1;
    const within = Math.floor((y - block.cells) / this.stepY) * this.columns + column;
    return within < block.count ? block.first + within : -1;
  }

  /** Indices of nodes between two heights, as [from, until) for each block that is seen. */
  *seen(top, bottom) {
    for (const block of this.blocks) {
      if (block.end < top || block.top > bottom) continue;
      const from = Math.max(0, Math.floor((top - block.cells) / this.stepY)) * this.columns;
      const until = Math.min(block.count, (Math.floor((bottom - block.cells) / this.stepY) + 1) * this.columns);
      yield { block, from: block.first + from, until: block.first + Math.max(from, until) };
    }
  }
}

/** The nearest zoom at which all of it fits that height; the farthest if none does. */
export function fitting(groups, width, height) {
  for (let zoom = ZOOMS.length - 1; zoom > 0; zoom--) {
    if (new Layout(groups, width, zoom).height <= height) return zoom;
  }
  return 0;
}
