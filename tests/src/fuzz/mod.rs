//! Fuzzing in `cargo test`: inputs made from a fixed seed, out of a corpus, on the stack of a worker, within a bound of
//! cases and of time. A failure prints the smallest input found and one command that replays it. Every input is a function
//! of the seed and its number alone, so a bounded run is the beginning of a long one.
//!
//! `AMENDS_FUZZ_SECONDS=600` makes a long run, `AMENDS_SEED` another one; `AMENDS_FUZZ_CASE=n` runs that case alone, and
//! `AMENDS_FUZZ_FILE=path` a file, which is how a fuzzer that watches coverage can drive a target. Deliberately not here:
//! what is attacked. Each room keeps its targets in its own tests.

mod choices;
mod mutation;
mod smaller;

use std::cell::Cell;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant};
use std::{env, fs};

pub use choices::Choices;
use mutation::Random;

/// What the engine's workers have: an overflow here is one in production.
pub const STACK_BYTES: usize = 2 * 1024 * 1024;
/// Inputs of a bounded run, the corpus aside.
pub const CASES: u64 = 3_000;
/// How long a bounded run may take, however slow the machine is.
pub const SECONDS: u64 = 8;
/// How long one input may take in a debug build on a busy machine.
pub const CASE_TIME_MAX: Duration = Duration::from_secs(10);
/// The seed of a bounded run.
const SEED: u64 = 0x00a3_e4d5_0001;

/// A target: who it is, and what inputs for it are made of.
#[derive(Clone, Debug)]
pub struct Target {
    /// `env!("CARGO_PKG_NAME")`.
    pub package: &'static str,
    /// The test function's name.
    pub test: &'static str,
    /// `env!("CARGO_TARGET_TMPDIR")`: where the case in hand is noted, and a failing input is kept.
    pub directory: &'static str,
    /// What inputs are mutated from.
    pub corpus: Vec<Vec<u8>>,
    /// What mutations insert.
    pub words: &'static [&'static str],
    /// The largest input.
    pub bytes_max: usize,
}

/// Every file of a directory, in the order of their names.
///
/// # Panics
/// If the directory cannot be read.
#[must_use]
pub fn files(directory: impl AsRef<Path>, ending: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(directory.as_ref()).expect("the corpus is there");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the corpus is readable").path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    paths.sort();
    let read = |path: &PathBuf| fs::read(path).expect("the corpus is readable");
    paths.iter().map(read).collect()
}

/// Runs a target: its corpus, then what is made of it.
///
/// # Panics
/// If `check` does, or takes too long for an input. A stack overflow or a hang cannot be caught: the file that the run
/// names at its begin says which case it was.
pub fn run(target: &Target, check: impl Fn(&[u8]) + Send + Sync) {
    quiet_while_shrinking();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name(target.test.to_owned())
            .stack_size(STACK_BYTES);
        let run = thread.spawn_scoped(scope, || Run::of(target).all(&check));
        let ended = run.expect("a thread").join();
        if let Err(panic) = ended {
            panic::resume_unwind(panic);
        }
    });
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not {value}")),
    )
}

struct Run<'a> {
    target: &'a Target,
    seed: u64,
    note: PathBuf,
    /// Open all the time: a file that is made anew for each case is flushed to the disk for each case.
    noted: Option<File>,
}

impl<'a> Run<'a> {
    fn of(target: &'a Target) -> Self {
        let note = Path::new(target.directory).join(format!("{}.case", target.test));
        Self {
            target,
            seed: setting("AMENDS_SEED").unwrap_or(SEED),
            noted: File::create(&note).ok(),
            note,
        }
    }

    fn all(&self, check: &dyn Fn(&[u8])) {
        if let Ok(file) = env::var("AMENDS_FUZZ_FILE") {
            return check(&fs::read(file).expect("the file is readable"));
        }
        if let Some(case) = setting("AMENDS_FUZZ_CASE") {
            return self.one(case, check);
        }
        println!("an end without a word is case {}", self.note.display());
        let long = setting("AMENDS_FUZZ_SECONDS");
        let time = Duration::from_secs(long.unwrap_or(SECONDS));
        let corpus = self.target.corpus.len() as u64;
        let last = long.map_or(corpus + CASES, |_| u64::MAX);
        let begin = Instant::now();
        let mut case = 0;
        while case < last && (case < corpus || begin.elapsed() < time) {
            self.one(case, check);
            case += 1;
        }
        println!(
            "{}: {case} cases in {:.1} s, seed {}",
            self.target.test,
            begin.elapsed().as_secs_f64(),
            self.seed
        );
    }

    /// Says which case is in hand, for when nobody is left to say it.
    fn note(&self, case: u64) {
        if let Some(mut file) = self.noted.as_ref() {
            let _ = file.seek(SeekFrom::Start(0));
            let _ = file.write_all(format!("{case:<20}\n").as_bytes());
        }
    }

    /// The corpus has the first numbers.
    fn input(&self, case: u64) -> Vec<u8> {
        let in_corpus = usize::try_from(case).ok();
        if let Some(known) = in_corpus.and_then(|nth| self.target.corpus.get(nth)) {
            return known.clone();
        }
        mutation::input(&mut Random::new(self.seed, case), self.target)
    }

    fn one(&self, case: u64, check: &dyn Fn(&[u8])) {
        self.note(case);
        let input = self.input(case);
        let begin = Instant::now();
        let outcome = attempt(&input, check);
        let took = begin.elapsed();
        if outcome.is_ok() && took <= CASE_TIME_MAX {
            return;
        }
        let mut what = format!("it took {took:?}");
        let mut least = input;
        if let Err(why) = outcome {
            what = why;
            least = smaller::smallest(least, &|input| quietly(|| attempt(input, check).is_err()));
        }
        let kept = Path::new(self.target.directory).join(format!("{}.failing", self.target.test));
        let _ = fs::write(&kept, &least);
        panic!(
            "{what}\nThe smallest input found, in {}:\n{}\nReplay: AMENDS_SEED={} AMENDS_FUZZ_CASE={case} cargo test -p {} --test fuzz {} -- --exact --nocapture",
            kept.display(),
            least.escape_ascii(),
            self.seed,
            self.target.package,
            self.target.test,
        );
    }
}

fn attempt(input: &[u8], check: &dyn Fn(&[u8])) -> Result<(), String> {
    panic::catch_unwind(AssertUnwindSafe(|| check(input))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "it panicked".to_owned())
    })
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

fn quietly<T>(run: impl FnOnce() -> T) -> T {
    QUIET.set(true);
    let value = run();
    QUIET.set(false);
    value
}

/// Making an input smaller makes it fail many times: one report is enough.
fn quiet_while_shrinking() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                before(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            package: "amends-tests",
            test: "finds",
            directory: concat!(env!("CARGO_MANIFEST_DIR"), "/../target"),
            corpus: vec![b"a harmless beginning".to_vec()],
            words: &["needle"],
            bytes_max: 64,
        }
    }

    #[test]
    fn a_planted_bug_is_found_made_small_and_replayed() {
        let target = target();
        let has = |input: &[u8]| input.windows(6).any(|part| part == b"needle");
        let failed = panic::catch_unwind(|| {
            run(&target, |input| assert!(!has(input), "a needle"));
        });
        let panic = failed.expect_err("the bug is found");
        let report = panic.downcast_ref::<String>().expect("a report");
        assert!(report.starts_with("a needle\n"), "{report}");
        assert!(report.contains(":\nneedle\n"), "{report}");
        let (_, case) = report.split_once("AMENDS_FUZZ_CASE=").expect("a command");
        let (case, _) = case.split_once(' ').expect("a command");
        let case: u64 = case.parse().expect("a number");
        assert!(has(&Run::of(&target).input(case)));
    }

    #[test]
    fn every_input_is_a_function_of_seed_and_number_and_has_a_bound() {
        let target = target();
        let run = Run::of(&target);
        let inputs: Vec<Vec<u8>> = (0..500).map(|case| run.input(case)).collect();
        assert_eq!(
            inputs,
            (0..500).map(|case| run.input(case)).collect::<Vec<_>>()
        );
        assert!(inputs.iter().all(|input| input.len() <= 64));
        let mut different = inputs.clone();
        different.sort();
        different.dedup();
        assert!(different.len() > 400);
    }
}
