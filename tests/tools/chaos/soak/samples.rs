//! Memory and open files of the workers, from /proc, by quarters of the whole time.
//!
//! Only a process that lives throughout can show a leak: one that is killed and started again begins small, and its
//! peak depends on how long it was let live. So the demands are on the first worker, which is never killed. The
//! others are shown, summed up over all processes that bore the name.
//!
//! The first quarter is left out of the demands: in it, pools fill, pages of the program are read in, and the
//! allocator finds its size.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use test_support::process::kib;
use tokio::time::Instant;

use crate::report::Demand;
use crate::worker::Worker;

const EVERY: Duration = Duration::from_secs(1);
/// Quarters that are shorter than a storm and a calm have nothing in common.
const SHORTEST_QUARTER: Duration = Duration::from_secs(390);
/// What the last quarter may have more than the second: a tenth of the memory, and one pool of connections, which
/// are open or closed as the last fault left them.
const MEMORY_RATIO: f64 = 1.1;
const FILES_MORE: u64 = 8;

/// The highest of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Peak {
    rss_kib: u64,
    pss_kib: u64,
    files: u64,
}

impl Peak {
    fn raise(&mut self, other: Self) {
        self.rss_kib = self.rss_kib.max(other.rss_kib);
        self.pss_kib = self.pss_kib.max(other.pss_kib);
        self.files = self.files.max(other.files);
    }
}

/// Looks at the workers each second, and keeps the peaks of each quarter.
pub(super) struct Sampler {
    began: Instant,
    length: Duration,
    workers: Vec<(Arc<AtomicU32>, Mutex<[Peak; 4]>)>,
}

impl Sampler {
    /// For workers that are watched from now on, for so long.
    pub(super) fn new(length: Duration, workers: &[Worker]) -> Self {
        let workers = workers.iter().map(|worker| (worker.id(), Mutex::default())).collect();
        Self { began: Instant::now(), length, workers }
    }

    /// Looks for as long as it is let.
    pub(super) async fn sample(&self) {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            ticks.tick().await;
            let quarter = quarter(self.began.elapsed(), self.length);
            for (id, peaks) in &self.workers {
                // A process that ended meanwhile has nothing to show.
                if let Some(now) = look(id.load(Ordering::Relaxed)) {
                    peaks.lock().unwrap_or_else(PoisonError::into_inner)[quarter].raise(now);
                }
            }
        }
    }

    /// What the workers use now, in words.
    pub(super) fn now(&self) -> String {
        let each = self.workers.iter().map(|(id, _)| match look(id.load(Ordering::Relaxed)) {
            Some(now) => format!("{} MiB and {} files", now.rss_kib / 1024, now.files),
            None => "not running".to_owned(),
        });
        format!("workers: {}", each.collect::<Vec<_>>().join(", "))
    }

    /// A line for each worker.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |(number, peaks): (usize, [Peak; 4])| {
            let mib = |kib: u64| kib as f64 / 1024.0;
            let quarters = peaks.map(|peak| {
                format!("{:.1} / {:.1} MiB, {} files", mib(peak.rss_kib), mib(peak.pss_kib), peak.files)
            });
            format!("worker-{}, peak RSS / PSS by quarter: {}", number + 1, quarters.join(" · "))
        };
        self.peaks().into_iter().enumerate().map(line).collect()
    }

    /// That the first worker's memory and files do not grow.
    pub(super) fn demands(&self) -> Vec<Demand> {
        let Some(peaks) = self.peaks().into_iter().next() else { return Vec::new() };
        flat(&peaks, self.length / 4 >= SHORTEST_QUARTER)
    }

    fn peaks(&self) -> Vec<[Peak; 4]> {
        let read = |(_, peaks): &(_, Mutex<[Peak; 4]>)| *peaks.lock().unwrap_or_else(PoisonError::into_inner);
        self.workers.iter().map(read).collect()
    }
}

fn quarter(at: Duration, length: Duration) -> usize {
    ((at.as_secs_f64() * 4.0 / length.as_secs_f64()) as usize).min(3)
}

fn flat(peaks: &[Peak; 4], long_enough: bool) -> Vec<Demand> {
    let (second, last) = (peaks[1], peaks[3]);
    let judged = if long_enough { "" } else { "; too short to be judged" };
    let ratio = last.rss_kib as f64 / second.rss_kib.max(1) as f64;
    let measured = format!("{ratio:.2}{judged}");
    let files = format!("{} after {}{judged}", last.files, second.files);
    let seen = second.rss_kib > 0 && last.rss_kib > 0;
    vec![
        Demand::new(
            "worker-1's peak RSS in the last quarter, at most 1.1 times the second's",
            measured,
            !long_enough || (seen && ratio <= MEMORY_RATIO),
        ),
        Demand::new(
            "worker-1's open files in the last quarter, at most 8 more than in the second",
            files,
            !long_enough || (seen && last.files <= second.files + FILES_MORE),
        ),
    ]
}

fn look(id: u32) -> Option<Peak> {
    let process = format!("/proc/{id}");
    let status = std::fs::read_to_string(format!("{process}/status")).ok()?;
    let pss = std::fs::read_to_string(format!("{process}/smaps_rollup")).ok()?;
    let files = std::fs::read_dir(format!("{process}/fd")).ok()?.count();
    Some(Peak { rss_kib: kib(&status, "VmRSS:")?, pss_kib: kib(&pss, "Pss:")?, files: files as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peak(rss_kib: u64, files: u64) -> Peak {
        Peak { rss_kib, pss_kib: rss_kib, files }
    }

    fn held(peaks: [Peak; 4]) -> Vec<bool> {
        flat(&peaks, true).iter().map(Demand::held).collect()
    }

    #[test]
    fn what_grows_in_the_last_quarter_is_seen() {
        let start = peak(10, 10);
        assert_eq!(held([start, peak(100, 30), peak(100, 30), peak(110, 38)]), [true, true]);
        assert_eq!(held([start, peak(100, 30), peak(100, 30), peak(111, 39)]), [false, false]);
        assert_eq!(held([start, peak(100, 30), peak(100, 30), Peak::default()]), [false, false]);
    }

    #[test]
    fn every_moment_is_in_one_quarter() {
        let length = Duration::from_secs(40);
        let quarters = [0, 9, 10, 25, 39, 40, 99].map(|at| quarter(Duration::from_secs(at), length));
        assert_eq!(quarters, [0, 0, 1, 2, 3, 3, 3]);
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let seen = look(std::process::id()).unwrap();
        assert!(seen.rss_kib > 0 && seen.files > 0, "{seen:?}");
    }
}
