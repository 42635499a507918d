//! What may go wrong in one world, and how often: drawn from its seed, so that some worlds are quiet and some are wild, and
//! each combination of faults has its turn. Deliberately not here: how the faults are carried out.

use std::time::Duration;

use crate::dice::Dice;

/// One world's faults. Chances are in permille.
#[derive(Clone, Debug)]
pub struct Plan {
    pub nodes: usize,
    pub lanes: usize,
    /// Committers of a lane.
    pub ways: usize,
    /// Inputs that have to be ready for a batch beside one that is being written.
    pub beside_min: usize,
    pub shards: u16,
    pub sagas: u64,
    /// The network keeps its bounds: no command is carried out later than its attempt's time after its sending, and no clock
    /// runs ahead. Then even participants without a barrier are left with nothing.
    pub bounded: bool,
    /// How long starts and faults go on.
    pub span: Duration,
    pub lease: Duration,
    pub page: usize,
    /// How long a message is on its way, in milliseconds at most.
    pub network_ms: u64,
    pub store: StoreFaults,
    pub node: NodeFaults,
    pub people: PeopleFaults,
    pub client: ClientFaults,
}

/// Of every statement.
#[derive(Clone, Debug, Default)]
pub struct StoreFaults {
    pub slow: u64,
    pub again: u64,
    pub unavailable: u64,
    pub unknown: u64,
    pub reads_fail: u64,
    pub lookups_stale: u64,
    pub poison: u64,
}

/// Of every disturbance, which it is: weights.
#[derive(Clone, Debug, Default)]
pub struct NodeFaults {
    /// Disturbances in the whole span, about.
    pub disturbances: u64,
    pub kill: u64,
    pub pause: u64,
    pub participant: u64,
    pub stream: u64,
    pub clock: u64,
    pub dark: u64,
}

/// Of every command that arrives.
#[derive(Clone, Debug, Default)]
pub struct PeopleFaults {
    pub slow: u64,
    /// Of every heartbeat.
    pub silent: u64,
    pub duplicate: u64,
    pub crash_before: u64,
    pub crash_after: u64,
    pub reject: u64,
    pub fail: u64,
    pub fatal: u64,
    pub unusable: u64,
    pub refuse_compensation: u64,
    pub poison: u64,
    /// Of every result.
    pub repeat_result: u64,
    pub forge_result: u64,
    pub lose_result: u64,
}

/// Of every client.
#[derive(Clone, Debug, Default)]
pub struct ClientFaults {
    pub keyed: u64,
    pub repeat: u64,
    pub cancel: u64,
    pub wrong_node: u64,
    pub gives_up: u64,
    pub operate: u64,
}

impl Plan {
    /// Draws a world.
    pub fn draw(dice: &mut Dice) -> Self {
        let nodes = usize::try_from(dice.between(1, 3)).expect("few");
        let bounded = dice.chance(550);
        let span = Duration::from_secs([60, 120, 300, 900][index(dice, 4)]);
        Self {
            nodes,
            lanes: usize::try_from(dice.between(1, 2)).expect("few"),
            ways: usize::try_from(dice.between(1, 2)).expect("few"),
            beside_min: usize::try_from(dice.between(1, 6)).expect("few"),
            shards: u16::try_from(dice.between(1, 4)).expect("few"),
            sagas: dice.between(12, 40),
            bounded,
            span,
            lease: Duration::from_secs([10, 30, 60][index(dice, 3)]),
            page: usize::try_from(dice.between(1, 4)).expect("few"),
            network_ms: [2, 20, 200, 2_000][index(dice, 4)],
            store: StoreFaults {
                slow: some(dice, 40),
                again: some(dice, 40),
                unavailable: some(dice, 40),
                unknown: some(dice, 60),
                reads_fail: some(dice, 60),
                lookups_stale: some(dice, 500),
                poison: if dice.chance(150) { 60 } else { 0 },
            },
            node: NodeFaults {
                disturbances: dice.below(16),
                kill: some(dice, 10),
                pause: some(dice, 10),
                participant: some(dice, 10),
                stream: some(dice, 10),
                clock: some(dice, 5),
                dark: u64::from(dice.chance(30)),
            },
            people: PeopleFaults {
                slow: some(dice, 80),
                silent: some(dice, 500),
                duplicate: some(dice, 150),
                crash_before: some(dice, 12),
                crash_after: some(dice, 12),
                reject: some(dice, 150),
                fail: some(dice, 200),
                fatal: some(dice, 40),
                unusable: some(dice, 20),
                refuse_compensation: some(dice, 30),
                poison: some(dice, 15),
                repeat_result: some(dice, 150),
                forge_result: some(dice, 20),
                lose_result: some(dice, 100),
            },
            client: ClientFaults {
                keyed: dice.below(1_001),
                repeat: some(dice, 400),
                cancel: some(dice, 200),
                wrong_node: some(dice, 100),
                gives_up: some(dice, 300),
                operate: some(dice, 250),
            },
        }
    }
}

/// Nothing in four worlds of ten, else up to the most.
fn some(dice: &mut Dice, most: u64) -> u64 {
    if dice.chance(400) {
        0
    } else {
        dice.between(1, most)
    }
}

fn index(dice: &mut Dice, count: u64) -> usize {
    usize::try_from(dice.below(count)).expect("few")
}
