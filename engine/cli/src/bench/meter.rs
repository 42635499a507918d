//! The CPU time and memory of processes, as Linux tells them; elsewhere nothing is told. Deliberately not here: which
//! processes belong to a measurement.

use std::time::Duration;

use tokio::time::Instant;

/// The processes of a measurement, each group under its own name.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    groups: Vec<(Group, Watched)>,
}

/// Whose CPU time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// The server under measurement.
    Server,
    /// All processes of the database's cluster.
    Postgres,
    /// Whoever makes attempts.
    Participant,
    /// Whoever starts sagas.
    Client,
    /// Whoever writes rows without an engine, and keeps the other processes.
    Bench,
}

/// What belongs to a group.
#[derive(Clone, Copy, Debug)]
pub enum Watched {
    /// One process.
    Process(u32),
    /// A process with its children, those that have ended included.
    Family(u32),
}

/// What the processes have used so far.
#[derive(Clone, Debug)]
pub struct Reading {
    at: Instant,
    /// Of the whole machine.
    machine: Option<Duration>,
    groups: Vec<(Group, Option<Duration>)>,
}

/// What they used between two readings.
#[derive(Clone, Debug, Default)]
pub struct Used {
    /// Each group's CPU time, as far as it can be told.
    pub groups: Vec<(Group, Duration)>,
    /// How many cores everything else kept busy.
    pub other_cores: Option<f64>,
}

impl Meter {
    /// Watches a group; where there is no process there is nothing to watch.
    #[must_use]
    pub fn watch(mut self, group: Group, watched: Option<Watched>) -> Self {
        self.groups.extend(watched.map(|watched| (group, watched)));
        self
    }

    /// Reads what has been used so far.
    #[must_use]
    pub fn read(&self) -> Reading {
        Reading {
            at: Instant::now(),
            machine: proc::machine(),
            groups: self
                .groups
                .iter()
                .map(|(group, watched)| (*group, proc::used(*watched)))
                .collect(),
        }
    }
}

impl Reading {
    /// What was used since an earlier one.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Used {
        let groups: Vec<(Group, Duration)> = self
            .groups
            .iter()
            .zip(&earlier.groups)
            .filter_map(|((group, now), (_, then))| {
                Some((*group, (*now)?.saturating_sub((*then)?)))
            })
            .collect();
        let ours: Duration = groups.iter().map(|(_, used)| *used).sum();
        let elapsed = self.at.duration_since(earlier.at).as_secs_f64();
        let machine = self.machine.zip(earlier.machine);
        let others = machine.map(|(now, then)| now.saturating_sub(then).saturating_sub(ours));
        Used {
            groups,
            other_cores: others
                .filter(|_| elapsed > 0.0)
                .map(|others| others.as_secs_f64() / elapsed),
        }
    }
}

impl Used {
    /// A group's CPU time.
    #[must_use]
    pub fn of(&self, group: Group) -> Option<Duration> {
        let found = self.groups.iter().find(|(each, _)| *each == group);
        found.map(|(_, used)| *used)
    }
}

/// What a process keeps in memory, and the most that it ever kept, in bytes.
#[must_use]
pub fn resident_bytes(process: Option<u32>) -> Option<(u64, u64)> {
    proc::resident_bytes(process?)
}

/// The parent of a process that has this name.
#[must_use]
pub fn parent_of(process: u32, name: &str) -> Option<u32> {
    proc::parent_of(process, name)
}

#[cfg(target_os = "linux")]
mod proc {
    use std::time::Duration;

    use procfs::process::{Process, Stat};
    use procfs::{CurrentSI as _, KernelStats};

    use super::Watched;

    fn ticks(count: u64) -> Duration {
        let per_second = procfs::ticks_per_second().max(1);
        Duration::from_nanos(count.saturating_mul(1_000_000_000 / per_second))
    }

    fn stat(process: u32) -> Option<Stat> {
        Process::new(i32::try_from(process).ok()?).ok()?.stat().ok()
    }

    pub(super) fn machine() -> Option<Duration> {
        let total = KernelStats::current().ok()?.total;
        let busy = total.user + total.nice + total.system;
        let interrupts = total.irq.unwrap_or(0) + total.softirq.unwrap_or(0);
        Some(ticks(busy + interrupts + total.steal.unwrap_or(0)))
    }

    pub(super) fn used(watched: Watched) -> Option<Duration> {
        match watched {
            Watched::Process(process) => {
                let stat = stat(process)?;
                Some(ticks(stat.utime + stat.stime))
            }
            Watched::Family(process) => {
                let parent = stat(process)?;
                let ended = u64::try_from(parent.cutime + parent.cstime).unwrap_or(0);
                let living: u64 = procfs::process::all_processes()
                    .ok()?
                    .filter_map(|each| each.ok()?.stat().ok())
                    .filter(|each| each.ppid == parent.pid)
                    .map(|each| each.utime + each.stime)
                    .sum();
                Some(ticks(parent.utime + parent.stime + ended + living))
            }
        }
    }

    pub(super) fn resident_bytes(process: u32) -> Option<(u64, u64)> {
        let process = Process::new(i32::try_from(process).ok()?).ok()?;
        let status = process.status().ok()?;
        Some((status.vmrss? * 1_024, status.vmhwm? * 1_024))
    }

    pub(super) fn parent_of(process: u32, name: &str) -> Option<u32> {
        let stat = stat(process).filter(|stat| stat.comm == name)?;
        u32::try_from(stat.ppid).ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod proc {
    use std::time::Duration;

    use super::Watched;

    pub(super) fn machine() -> Option<Duration> {
        None
    }

    pub(super) fn used(_: Watched) -> Option<Duration> {
        None
    }

    pub(super) fn resident_bytes(_: u32) -> Option<(u64, u64)> {
        None
    }

    pub(super) fn parent_of(_: u32, _: &str) -> Option<u32> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn linux_tells_how_much_memory_a_process_takes() {
        let own = resident_bytes(Some(std::process::id()));
        assert!(
            own.is_some_and(|(now, most)| now > 1 << 20 && most >= now),
            "{own:?}"
        );
        assert_eq!(resident_bytes(None), None);
    }

    #[test]
    fn cpu_time_is_told_by_group_and_what_is_nobodys_is_others() {
        let own = std::process::id();
        let meter = Meter::default()
            .watch(Group::Bench, Some(Watched::Process(own)))
            .watch(Group::Postgres, None);
        let before = meter.read();
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(200) {
            std::hint::black_box(0);
        }
        let used = meter.read().since(&before);
        let bench = used.of(Group::Bench).expect("Linux tells");
        assert!(bench >= Duration::from_millis(50), "{bench:?}");
        assert_eq!(used.of(Group::Postgres), None);
        assert!(used.other_cores.is_some_and(|cores| cores >= 0.0));
        let family = Meter::default().watch(Group::Bench, Some(Watched::Family(own)));
        assert!(family.read().groups[0].1.is_some());
    }

    #[test]
    fn a_parent_is_known_by_the_name_of_its_child() {
        let own = std::process::id();
        assert_eq!(parent_of(own, "no such name"), None);
    }
}
