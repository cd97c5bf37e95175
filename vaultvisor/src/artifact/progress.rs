//! How far a transfer is, for people: a bar on a terminal, a line now and then in a log.

use std::{
    fmt,
    time::{Duration, Instant},
};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use url::Url;

/// Between two lines in a log. A download of a minute leaves a handful.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Tells people about transfers.
pub trait Reporter: fmt::Debug + Send + Sync {
    /// A transfer begins; `from` is what is here already, `total` what there will be, in bytes, where it is known.
    fn begin(&self, url: &Url, from: u64, total: Option<u64>) -> Box<dyn Meter>;
}

/// Told how far one transfer is; it has ended when this is dropped.
pub trait Meter: Send {
    /// So many bytes are here.
    fn at(&mut self, bytes: u64);
}

/// A line now and then.
#[derive(Debug, Clone, Copy, Default)]
pub struct Lines;

struct LinesOf {
    url: Url,
    total: Option<u64>,
    next: Instant,
}

impl Reporter for Lines {
    fn begin(&self, url: &Url, from: u64, total: Option<u64>) -> Box<dyn Meter> {
        if from > 0 {
            tracing::info!(%url, "goes on after {}", HumanBytes(from));
        }
        Box::new(LinesOf { url: url.clone(), total, next: Instant::now() + LINE_EVERY })
    }
}

impl Meter for LinesOf {
    fn at(&mut self, bytes: u64) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + LINE_EVERY;
        let url = &self.url;
        match self.total {
            Some(total) => {
                let percent = bytes.saturating_mul(100) / total.max(1);
                tracing::info!(%url, "downloading: {percent} % of {}", HumanBytes(total));
            }
            None => tracing::info!(%url, "downloading: {} so far", HumanBytes(bytes)),
        }
    }
}

/// A bar on standard error.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bar;

const KNOWN: &str = "{msg} [{wide_bar}] {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left";
const UNKNOWN: &str = "{msg} {spinner} {bytes}, {binary_bytes_per_sec}";

struct BarOf(ProgressBar);

impl Reporter for Bar {
    fn begin(&self, url: &Url, from: u64, total: Option<u64>) -> Box<dyn Meter> {
        let name = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), KNOWN),
            None => (ProgressBar::no_length(), UNKNOWN),
        };
        // A template is a constant; a bad one would show as the default bar.
        let bar = match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style.progress_chars("=> ")),
            Err(_) => bar,
        };
        bar.set_message(name.to_owned());
        // What came before is no speed.
        let bar = bar.with_position(from);
        bar.reset_eta();
        Box::new(BarOf(bar))
    }
}

impl Meter for BarOf {
    fn at(&mut self, bytes: u64) {
        self.0.set_position(bytes);
    }
}

impl Drop for BarOf {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bars_templates_are_templates() {
        let url = Url::parse("https://example.org/releases/vault").expect("a URL");
        for total in [Some(100), None, Some(0)] {
            let mut meter = Bar.begin(&url, 10, total);
            meter.at(50);
        }
        for template in [KNOWN, UNKNOWN] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
