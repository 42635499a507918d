//! The machine on which something is measured, as far as it tells.

use std::fmt;

use serde::Serialize;

/// The machine.
#[derive(Debug, Default, Serialize)]
pub struct Machine {
    cores: Option<usize>,
    processor: Option<String>,
    memory_bytes: Option<u64>,
    kernel: Option<String>,
    load_average_1m: Option<f32>,
    amends: Option<&'static str>,
}

impl Machine {
    /// As it is now.
    #[must_use]
    pub fn read() -> Self {
        let cores = std::thread::available_parallelism().ok().map(usize::from);
        Self {
            cores,
            amends: Some(env!("CARGO_PKG_VERSION")),
            ..told()
        }
    }

    /// One of which nothing is known.
    #[cfg(test)]
    pub fn unknown() -> Self {
        Self::default()
    }
}

#[cfg(target_os = "linux")]
fn told() -> Machine {
    use procfs::Current as _;
    let processors = procfs::CpuInfo::current().ok();
    let kernel = procfs::sys::kernel::Version::current().ok();
    Machine {
        processor: processors.and_then(|all| all.model_name(0).map(ToOwned::to_owned)),
        memory_bytes: procfs::Meminfo::current()
            .ok()
            .map(|memory| memory.mem_total),
        kernel: kernel
            .map(|kernel| format!("Linux {}.{}.{}", kernel.major, kernel.minor, kernel.patch)),
        load_average_1m: procfs::LoadAverage::current().ok().map(|load| load.one),
        ..Machine::default()
    }
}

#[cfg(not(target_os = "linux"))]
fn told() -> Machine {
    Machine::default()
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = [
            self.cores.map(|cores| format!("{cores} cores")),
            self.processor.clone(),
            self.memory_bytes
                .map(|bytes| format!("{} GiB", bytes.div_ceil(1 << 30))),
            self.kernel.clone(),
            self.load_average_1m
                .map(|load| format!("load {load:.2} before")),
            self.amends.map(|version| format!("Amends {version}")),
        ]
        .into_iter()
        .flatten()
        .collect();
        if words.is_empty() {
            return f.write_str("an unknown machine");
        }
        f.write_str(&words.join(", "))
    }
}
