//! How far the demo is: a bar on a terminal, a line now and then elsewhere; what happens is told as lines on both.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use crate::output::{plain, say};

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(3);

/// Shows how far the demo is.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    total: u64,
    began: Instant,
    last_line: Option<Instant>,
}

impl Progress {
    /// Begins, with the number of sagas to be settled.
    #[must_use]
    pub fn new(total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            if let Ok(style) =
                ProgressStyle::with_template("{elapsed:>4} [{bar:40}] {pos}/{len} settled, {msg}")
            {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        Self {
            bar,
            total,
            began: Instant::now(),
            last_line: None,
        }
    }

    /// Says what happened.
    pub fn tell(&self, what: &str) {
        let line = format!(
            "{:>5.1} s  {}",
            self.began.elapsed().as_secs_f64(),
            plain(what)
        );
        match &self.bar {
            Some(bar) => bar.println(line),
            None => say(line),
        }
    }

    /// Shows how far it is.
    pub fn update(&mut self, started: u64, settled: u64) {
        let Some(bar) = &self.bar else {
            if self
                .last_line
                .is_none_or(|last| last.elapsed() >= LINE_EVERY)
            {
                self.last_line = Some(Instant::now());
                self.tell(&format!(
                    "{started} of {} orders started, {settled} settled",
                    self.total
                ));
            }
            return;
        };
        bar.set_position(settled);
        bar.set_message(format!("{started} started"));
    }

    /// Removes the bar.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
