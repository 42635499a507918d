//! Many worlds, on all cores: each is checked, and together they have to meet every mark. A failure says how to see it again.
//!
//! `AMENDS_SIMULATION_SAGAS=1000000 cargo test -p amends-tests --test simulation a_campaign` is a long one;
//! `AMENDS_SIMULATION_FROM` chooses the first seed. `AMENDS_SEED=… cargo test … a_campaign` replays one world and tells its story.

use std::panic::{catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::checker::{Asked, Violation, check, never_asked, story};
use crate::marks::{Mark, Marks};
use crate::plant::Plant;
use crate::world::{BEGINNING, World};

/// Sagas of the campaign that every change has to pass.
const SAGAS: u64 = 20_000;

/// Seeds whose worlds once broke something, or met what is excused by name.
const KEPT: [u64; 11] = [
    205, 911, 1_001_621, 1_002_503, 2_004_204, 10_001_283, 30_001_861, 31_000_436, 40_007_018,
    48_001_021, 60_013_597,
];

/// One world, lived through and judged.
pub struct Lived {
    pub world: World,
    pub hash: u64,
    pub violations: Vec<Violation>,
    pub asked: Asked,
}

/// Lives through the world of a seed.
pub fn live(seed: u64, plant: Option<Plant>) -> Lived {
    let mut world = World::new(seed, plant);
    world.run();
    crate::facts::mark(&mut world);
    let checked = check(&world);
    Lived {
        hash: world.history.hash(),
        violations: checked.violations,
        asked: checked.asked,
        world,
    }
}

/// What many worlds came to.
#[derive(Default)]
struct Sum {
    worlds: u64,
    sagas: u64,
    faults: u64,
    entries: u64,
    time: Duration,
    marks: Marks,
    asked: Asked,
    hash: u64,
}

impl Sum {
    fn add(&mut self, lived: &Lived) {
        self.worlds += 1;
        self.sagas += u64::try_from(lived.world.store.all_sagas().count()).expect("few");
        self.faults += lived.world.faults;
        self.entries += u64::try_from(lived.world.history.entries().len()).expect("few");
        self.time += lived.world.now.since(BEGINNING);
        self.marks.add(&lived.world.marks);
        for (site, times) in &lived.asked {
            *self.asked.entry(*site).or_default() += times;
        }
        // Worlds end in any order: the sum of their hashes does not care.
        self.hash = self.hash.wrapping_add(lived.hash);
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is {text:?}, and has to be a number")))
}

#[test]
fn a_campaign_of_random_worlds_breaks_no_invariant_and_meets_every_mark() {
    if let Some(seed) = number("AMENDS_SEED") {
        return replay(seed);
    }
    let wanted = number("AMENDS_SIMULATION_SAGAS").unwrap_or(SAGAS);
    let from = number("AMENDS_SIMULATION_FROM").unwrap_or(0);
    let begun = Instant::now();
    let sum = campaign(from, wanted);
    let years = sum.time.as_secs_f64() / (365.25 * 86_400.0);
    println!(
        "{} sagas in {} worlds from seed {from}, {} faults, {years:.2} simulated years, {} entries of history, \
         {:.1} s; hash {:016x}",
        sum.sagas,
        sum.worlds,
        sum.faults,
        sum.entries,
        begun.elapsed().as_secs_f64(),
        sum.hash
    );
    let missed: Vec<Mark> = Mark::ALL
        .into_iter()
        .filter(|mark| sum.marks.count(*mark) == 0)
        .collect();
    for mark in Mark::ALL {
        println!("{:>9} {mark:?}", sum.marks.count(mark));
    }
    assert!(
        missed.is_empty() || wanted < SAGAS,
        "I49: the campaign never met {missed:?}"
    );
    let silent = never_asked(&sum.asked);
    assert!(
        silent.is_empty() || wanted < SAGAS,
        "I49: the campaign had nothing to ask of {silent:#?}"
    );
}

/// Lives through worlds from a seed on, until so many sagas have ended.
fn campaign(from: u64, wanted: u64) -> Sum {
    let (next, sagas) = (AtomicU64::new(from), AtomicU64::new(0));
    let broken = AtomicBool::new(false);
    let sum = Mutex::new(Sum::default());
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let worker = || {
        while sagas.load(Ordering::Relaxed) < wanted && !broken.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let lived = catch_unwind(|| live(seed, None)).unwrap_or_else(|panic| {
                broken.store(true, Ordering::Relaxed);
                eprintln!(
                    "seed {seed} at {}: the machine's own assertions broke",
                    commit()
                );
                eprintln!("{}", command(seed));
                resume_unwind(panic)
            });
            if !lived.violations.is_empty() {
                broken.store(true, Ordering::Relaxed);
                panic!("{}", report(seed, &lived));
            }
            let count = u64::try_from(lived.world.store.all_sagas().count()).expect("few");
            sagas.fetch_add(count, Ordering::Relaxed);
            sum.lock()
                .expect("a broken world ends the campaign")
                .add(&lived);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                resume_unwind(panic);
            }
        }
    });
    sum.into_inner().expect("all workers are done")
}

/// One world again, with its story.
fn replay(seed: u64) {
    let lived = live(seed, None);
    println!("{:#?}", lived.world.plan);
    println!("seed {seed}: hash {:016x}", lived.hash);
    assert!(lived.violations.is_empty(), "{}", report(seed, &lived));
}

/// What is wrong with a world, and how to see it again.
pub fn report(seed: u64, lived: &Lived) -> String {
    let mut text = format!(
        "seed {seed} at {}: {} violations\n{}\n",
        commit(),
        lived.violations.len(),
        command(seed)
    );
    for violation in lived.violations.iter().take(20) {
        let saga = violation
            .saga
            .map_or(String::new(), |saga| format!(" {saga}"));
        text += &format!("{}{saga}: {}\n", violation.number, violation.text);
    }
    let saga = lived.violations.iter().find_map(|violation| violation.saga);
    if let Some(saga) = saga {
        text += &story(&lived.world, saga);
    }
    text
}

fn command(seed: u64) -> String {
    format!("AMENDS_SEED={seed} cargo test -p amends-tests --test simulation a_campaign")
}

fn commit() -> String {
    let output = Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .output();
    output
        .ok()
        .filter(|output| output.status.success())
        .map_or_else(
            || "an unknown commit".to_owned(),
            |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        )
}

#[test]
fn worlds_that_once_broke_something_hold() {
    for seed in KEPT {
        let lived = live(seed, None);
        assert!(lived.violations.is_empty(), "{}", report(seed, &lived));
    }
}

#[test]
fn one_seed_is_one_history() {
    // I48, byte for byte: the hash is over every entry.
    for seed in 0..12 {
        let (first, second) = (live(seed, None), live(seed, None));
        assert_eq!(first.hash, second.hash, "seed {seed}");
        let (first, second) = (first.world, second.world);
        let same = format!("{:?}", first.history) == format!("{:?}", second.history);
        assert!(same, "seed {seed}");
    }
}
