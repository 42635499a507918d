//! Places for the boxes of a DAG, in layers from top to bottom (Sugiyama's method): longest paths make the layers, sweeps by
//! barycentre order them, and boxes move towards their neighbours as far as the order allows. An edge over several layers
//! goes through a narrow lane in each. Everything is bounded: so many sweeps, so many lanes; an edge without a lane goes
//! straight. No crate fits: those at hand give boxes their places and edges none, or take seconds for 500 steps.

/// Between two layers.
const LAYER_GAP: f64 = 56.0;
/// Between two boxes of a layer.
const BOX_GAP: f64 = 36.0;
/// What an edge takes in a layer that it only passes.
const LANE_WIDTH: f64 = 14.0;
/// Lanes in all.
const LANES_MAX: usize = 20_000;
/// Sweeps over the order, and over the places.
const SWEEPS: usize = 12;

/// A box to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub width: f64,
    pub height: f64,
}

/// An edge between two boxes, from one of a lower to one of a higher layer, with where it leaves and enters, from the left
/// side of each box.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub leaves: f64,
    pub enters: f64,
}

/// A part of an edge's way: down through a layer at one place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lane {
    pub x: f64,
    pub top: f64,
    pub bottom: f64,
}

/// Where everything is.
#[derive(Debug)]
pub struct Places {
    /// The left upper corner of each box.
    pub boxes: Vec<(f64, f64)>,
    /// The bottom of the layer of each box: edges turn below it.
    pub bottoms: Vec<f64>,
    /// The lanes that each edge takes between its ends, downwards.
    pub lanes: Vec<Vec<Lane>>,
    pub width: f64,
    pub height: f64,
}

/// Places boxes. `edges` have no cycle.
pub fn place(sizes: &[Size], edges: &[Edge]) -> Places {
    let mut grid = Grid::new(sizes, edges);
    grid.order();
    grid.spread();
    grid.places(sizes, edges)
}

/// A box, or a lane, in its layer.
#[derive(Debug)]
struct Cell {
    width: f64,
    left: f64,
    /// Its place in its layer.
    at: usize,
    /// Cells of the layer above and below, with how far its left side is from theirs if the edge between is straight.
    above: Vec<(usize, f64)>,
    below: Vec<(usize, f64)>,
    lane: bool,
}

#[derive(Debug)]
struct Grid {
    cells: Vec<Cell>,
    layers: Vec<Vec<usize>>,
    layer_of: Vec<usize>,
    /// The cells of each edge's lanes.
    lanes: Vec<Vec<usize>>,
}

impl Grid {
    fn new(sizes: &[Size], edges: &[Edge]) -> Self {
        let layer_of = layers(sizes.len(), edges);
        let count = layer_of.iter().max().map_or(0, |last| last + 1);
        let mut grid = Self {
            cells: sizes.iter().map(|size| Cell::new(size.width)).collect(),
            layers: vec![Vec::new(); count],
            layer_of,
            lanes: vec![Vec::new(); edges.len()],
        };
        for (cell, layer) in grid.layer_of.iter().enumerate() {
            grid.layers[*layer].push(cell);
        }
        for (nth, edge) in edges.iter().enumerate() {
            grid.connect(nth, edge);
        }
        for layer in &grid.layers {
            for (at, cell) in layer.iter().enumerate() {
                grid.cells[*cell].at = at;
            }
        }
        grid
    }

    fn connect(&mut self, nth: usize, edge: &Edge) {
        let passed = self.layer_of[edge.from] + 1..self.layer_of[edge.to];
        let taken = self.cells.len() - self.layer_of.len();
        if taken + passed.len() > LANES_MAX {
            return;
        }
        let (mut last, mut port) = (edge.from, edge.leaves);
        for layer in passed {
            let lane = self.cells.len();
            self.cells.push(Cell {
                lane: true,
                ..Cell::new(LANE_WIDTH)
            });
            self.layers[layer].push(lane);
            self.lanes[nth].push(lane);
            self.join(last, port, lane, LANE_WIDTH / 2.0);
            (last, port) = (lane, LANE_WIDTH / 2.0);
        }
        self.join(last, port, edge.to, edge.enters);
    }

    fn join(&mut self, upper: usize, leaves: f64, lower: usize, enters: f64) {
        self.cells[upper].below.push((lower, enters - leaves));
        self.cells[lower].above.push((upper, leaves - enters));
    }

    /// Orders each layer, and keeps the order with the fewest crossings.
    fn order(&mut self) {
        let mut best = (self.crossings(), self.layers.clone());
        for sweep in 0..SWEEPS {
            if best.0 == 0 {
                break;
            }
            let down = sweep % 2 == 0;
            for nth in 0..self.layers.len() {
                let nth = if down {
                    nth
                } else {
                    self.layers.len() - 1 - nth
                };
                self.order_layer(nth, down);
            }
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.layers.clone());
            }
        }
        self.layers = best.1;
        self.number();
    }

    fn order_layer(&mut self, nth: usize, down: bool) {
        let centre = |cell: usize| {
            let neighbours = self.cells[cell].neighbours(down);
            let sum: usize = neighbours
                .iter()
                .map(|(next, _)| self.cells[*next].at)
                .sum();
            match neighbours.len() {
                0 => precise(self.cells[cell].at),
                count => precise(sum) / precise(count),
            }
        };
        let mut layer: Vec<(f64, usize)> = (self.layers[nth].iter())
            .map(|cell| (centre(*cell), *cell))
            .collect();
        layer.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.layers[nth] = layer.into_iter().map(|(_, cell)| cell).collect();
        for (at, cell) in self.layers[nth].iter().enumerate() {
            self.cells[*cell].at = at;
        }
    }

    fn number(&mut self) {
        for layer in &self.layers {
            for (at, cell) in layer.iter().enumerate() {
                self.cells[*cell].at = at;
            }
        }
    }

    /// How many pairs of edges cross, counted layer by layer with a tree of sums.
    fn crossings(&self) -> usize {
        let mut crossings = 0;
        for (nth, layer) in self.layers.iter().enumerate() {
            let lower = self.layers.get(nth + 1).map_or(0, Vec::len);
            let mut sums = vec![0_usize; lower + 1];
            let mut counted = 0;
            for cell in layer {
                let below = &self.cells[*cell].below;
                let ends = || below.iter().map(|(next, _)| self.cells[*next].at);
                for end in ends() {
                    crossings += counted - prefix(&sums, end + 1);
                }
                for end in ends() {
                    add(&mut sums, end);
                    counted += 1;
                }
            }
        }
        crossings
    }

    /// Gives each cell its left side.
    fn spread(&mut self) {
        for nth in 0..self.layers.len() {
            let mut left = 0.0;
            for cell in &self.layers[nth] {
                self.cells[*cell].left = left;
                left += self.cells[*cell].width + BOX_GAP;
            }
        }
        for sweep in 0..SWEEPS {
            let down = sweep % 2 == 0;
            for nth in 0..self.layers.len() {
                let nth = if down {
                    nth
                } else {
                    self.layers.len() - 1 - nth
                };
                self.spread_layer(nth, down);
            }
        }
        let least = self.cells.iter().map(|cell| cell.left);
        let least = least.fold(f64::INFINITY, f64::min);
        for cell in &mut self.cells {
            cell.left -= least;
        }
    }

    /// Moves the cells of a layer as near as their order allows to where their edges would be straight: an isotonic
    /// regression, by pooling neighbours that want to pass each other.
    fn spread_layer(&mut self, nth: usize, down: bool) {
        let mut pools: Vec<Pool> = Vec::new();
        let mut offset = 0.0;
        let mut offsets = Vec::new();
        for cell in &self.layers[nth] {
            let cell = &self.cells[*cell];
            let neighbours = cell.neighbours(down);
            let wished: f64 = neighbours
                .iter()
                .map(|(next, straight)| self.cells[*next].left + straight)
                .sum();
            let (wish, weight) = match neighbours.len() {
                0 => (cell.left, 0.1),
                // Lanes want to be straight more than boxes want to be centred.
                count => {
                    let heavy = if cell.lane { 4.0 } else { 1.0 };
                    (wished / precise(count), heavy)
                }
            };
            offsets.push(offset);
            pools.push(Pool {
                sum: (wish - offset) * weight,
                weight,
                cells: 1,
            });
            Pool::merge(&mut pools);
            offset += cell.width + BOX_GAP;
        }
        let mut at = 0;
        for pool in pools {
            for _ in 0..pool.cells {
                let cell = self.layers[nth][at];
                self.cells[cell].left = pool.mean() + offsets[at];
                at += 1;
            }
        }
    }

    fn places(&self, sizes: &[Size], edges: &[Edge]) -> Places {
        let mut tops = Vec::new();
        let mut bottoms = Vec::new();
        let mut top = 0.0;
        for layer in &self.layers {
            let heights = layer.iter().filter_map(|cell| sizes.get(*cell));
            let height = heights.map(|size| size.height).fold(0.0, f64::max);
            tops.push(top);
            bottoms.push(top + height);
            top += height + LAYER_GAP;
        }
        let lane = |nth: usize, edge: usize| {
            let layer = self.layer_of[edges[edge].from] + 1 + nth;
            Lane {
                x: self.cells[self.lanes[edge][nth]].left + LANE_WIDTH / 2.0,
                top: tops[layer],
                bottom: bottoms[layer],
            }
        };
        let boxes = 0..sizes.len();
        let rights = self.cells.iter().map(|cell| cell.left + cell.width);
        Places {
            boxes: boxes
                .clone()
                .map(|cell| (self.cells[cell].left, tops[self.layer_of[cell]]))
                .collect(),
            bottoms: boxes.map(|cell| bottoms[self.layer_of[cell]]).collect(),
            lanes: (0..edges.len())
                .map(|edge| {
                    (0..self.lanes[edge].len())
                        .map(|nth| lane(nth, edge))
                        .collect()
                })
                .collect(),
            width: rights.fold(0.0, f64::max),
            height: bottoms.last().copied().unwrap_or(0.0),
        }
    }
}

impl Cell {
    fn new(width: f64) -> Self {
        Self {
            width,
            left: 0.0,
            at: 0,
            above: Vec::new(),
            below: Vec::new(),
            lane: false,
        }
    }

    /// The cells of the layer that a sweep comes from.
    fn neighbours(&self, down: bool) -> &[(usize, f64)] {
        if down { &self.above } else { &self.below }
    }
}

/// Neighbours in a layer that stand as close as they may.
#[derive(Debug)]
struct Pool {
    sum: f64,
    weight: f64,
    cells: usize,
}

impl Pool {
    fn mean(&self) -> f64 {
        self.sum / self.weight
    }

    /// Joins the last pools as long as they want to pass each other.
    fn merge(pools: &mut Vec<Self>) {
        while let [.., before, last] = pools.as_slice()
            && before.mean() > last.mean()
        {
            let merged = Self {
                sum: before.sum + last.sum,
                weight: before.weight + last.weight,
                cells: before.cells + last.cells,
            };
            pools.truncate(pools.len() - 2);
            pools.push(merged);
        }
    }
}

/// The layer of each box: the longest path that leads to it.
fn layers(boxes: usize, edges: &[Edge]) -> Vec<usize> {
    let mut below = vec![Vec::new(); boxes];
    let mut open_needs = vec![0_usize; boxes];
    for edge in edges {
        below[edge.from].push(edge.to);
        open_needs[edge.to] += 1;
    }
    let mut layer_of = vec![0; boxes];
    let mut ready: Vec<usize> = (0..boxes).filter(|cell| open_needs[*cell] == 0).collect();
    while let Some(cell) = ready.pop() {
        for next in &below[cell] {
            layer_of[*next] = layer_of[*next].max(layer_of[cell] + 1);
            open_needs[*next] -= 1;
            if open_needs[*next] == 0 {
                ready.push(*next);
            }
        }
    }
    layer_of
}

/// A count as a coordinate: counts of a picture are far below where that loses anything.
fn precise(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The sum of the first `count` entries of a Fenwick tree.
fn prefix(sums: &[usize], count: usize) -> usize {
    let (mut at, mut sum) = (count, 0);
    while at > 0 {
        sum += sums[at];
        at &= at - 1;
    }
    sum
}

/// Counts one more at an entry of a Fenwick tree.
fn add(sums: &mut [usize], entry: usize) {
    let mut at = entry + 1;
    while at < sums.len() {
        sums[at] += 1;
        at += at & at.wrapping_neg();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        width: 100.0,
        height: 40.0,
    };

    fn edges(pairs: &[(usize, usize)]) -> Vec<Edge> {
        let edge = |(from, to): &(usize, usize)| Edge {
            from: *from,
            to: *to,
            leaves: 50.0,
            enters: 50.0,
        };
        pairs.iter().map(edge).collect()
    }

    #[test]
    fn needs_stand_above_and_boxes_do_not_overlap() {
        let pairs = [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4), (0, 4)];
        let places = place(&[SIZE; 5], &edges(&pairs));
        for (from, to) in pairs {
            assert!(places.boxes[from].1 + SIZE.height < places.boxes[to].1);
        }
        let mut row: Vec<f64> = (1..4).map(|cell| places.boxes[cell].0).collect();
        row.sort_by(f64::total_cmp);
        let apart = |pair: &[f64]| pair[1] - pair[0] >= SIZE.width + BOX_GAP - 0.01;
        assert!(row.windows(2).all(apart), "{row:?}");
        // The long edge has a lane of its own between the boxes of the layer that it passes.
        let lane = places.lanes[6][0];
        assert_eq!(places.lanes[6].len(), 1);
        let beside = |left: &f64| lane.x < *left || lane.x > left + SIZE.width;
        assert!(row.iter().all(beside), "{lane:?} {row:?}");
        assert!(
            places
                .boxes
                .iter()
                .all(|(left, top)| *left >= 0.0 && *top >= 0.0)
        );
        assert_eq!(places.height, 3.0 * SIZE.height + 2.0 * LAYER_GAP);
    }

    #[test]
    fn a_chain_is_straight() {
        let places = place(&[SIZE; 4], &edges(&[(0, 1), (1, 2), (2, 3)]));
        assert!(
            places.boxes.iter().all(|(left, _)| left.abs() < 0.01),
            "{places:?}"
        );
    }

    #[test]
    fn crossings_that_need_not_be_are_none() {
        let pairs = [(0, 5), (1, 4), (2, 3)];
        let mut grid = Grid::new(&[SIZE; 6], &edges(&pairs));
        assert_eq!(grid.crossings(), 3);
        grid.order();
        assert_eq!(grid.crossings(), 0);
    }

    #[test]
    fn nothing_and_one_box_have_places() {
        assert!(place(&[], &[]).boxes.is_empty());
        assert_eq!(place(&[SIZE], &[]).boxes, [(0.0, 0.0)]);
    }

    #[test]
    fn lanes_are_bounded() {
        // A chain of 400, and each step needs every one before it as well: millions of lanes.
        let mut pairs = Vec::new();
        for to in 1..400 {
            pairs.extend((0..to).map(|from| (from, to)));
        }
        let places = place(&[SIZE; 400], &edges(&pairs));
        let lanes: usize = places.lanes.iter().map(Vec::len).sum();
        assert!(lanes <= LANES_MAX && lanes > LANES_MAX / 2, "{lanes}");
    }
}
