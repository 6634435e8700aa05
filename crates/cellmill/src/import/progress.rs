//! How far an import came, on a terminal: bytes, rate, time left.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A progress bar that draws nothing where nobody looks.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Bytes to check and send.
    pub(super) fn of_bytes(total: u64, visible: bool) -> Self {
        let bar = Self::bar(total, visible);
        let style = "{msg:>8} {wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is a constant"));
        bar.set_message("sending");
        Self { bar }
    }

    /// Files whose end is waited for.
    pub(super) fn of_files(total: u64, visible: bool) -> Self {
        let bar = Self::bar(total, visible);
        let style = "{msg:>8} {wide_bar} {pos}/{len} files  {per_sec}  {eta} left";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is a constant"));
        bar.set_message("checking");
        Self { bar }
    }

    /// Images that are labelled.
    pub(super) fn of_labels(total: u64, visible: bool) -> Self {
        let progress = Self::of_files(total, visible);
        progress.bar.set_message("labels");
        progress
    }

    fn bar(total: u64, visible: bool) -> ProgressBar {
        let target = if visible {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        if visible {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        bar
    }

    pub(super) fn add(&self, n: u64) {
        self.bar.inc(n);
    }

    /// Takes back what was counted for an upload that broke off.
    pub(super) fn take_back(&self, n: u64) {
        self.bar.dec(n);
    }

    pub(super) fn set(&self, n: u64) {
        self.bar.set_position(n);
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
