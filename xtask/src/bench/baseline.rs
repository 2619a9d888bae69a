//! The price of one durable write, without any program around it: append 512 bytes, `fdatasync`.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

const WRITE_BYTES: usize = 512;
/// The first writes allocate the file's first blocks and are dearer than all that follow.
const WARM_UP: usize = 50;
const WRITES: usize = 1_000;
/// No disk answers this quickly; what does is memory, and a ratio to it would say nothing.
const FASTEST_DISK: Duration = Duration::from_micros(20);

/// What an append and its sync took, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Baseline {
    /// Half of them were quicker.
    pub(crate) p50: f64,
    /// 19 of 20 were quicker.
    pub(crate) p95: f64,
    /// 99 of 100 were quicker.
    pub(crate) p99: f64,
}

impl Baseline {
    /// Measures in a directory, which must be on a disk.
    pub(crate) fn measure(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(format!(".aura-baseline-{}", std::process::id()));
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)
            .with_context(|| format!("can't write in {}", dir.display()))?;
        let times = append(file);
        fs::remove_file(&path).with_context(|| format!("can't remove {}", path.display()))?;
        Self::from_times(times?).with_context(|| format!("measuring {}", dir.display()))
    }

    fn from_times(mut times: Vec<Duration>) -> anyhow::Result<Self> {
        times.sort_unstable();
        let at = |percent: usize| -> anyhow::Result<Duration> {
            let rank = (times.len() * percent).div_ceil(100);
            rank.checked_sub(1).and_then(|last| times.get(last)).copied().context("no writes")
        };
        let p50 = at(50)?;
        if p50 < FASTEST_DISK {
            bail!(
                "a write and fdatasync take {:.1} µs, so this is not a disk; name a directory that is on one",
                micros(p50)
            );
        }
        Ok(Self { p50: micros(p50), p95: micros(at(95)?), p99: micros(at(99)?) })
    }
}

fn append(mut file: File) -> anyhow::Result<Vec<Duration>> {
    let bytes = [0x5a_u8; WRITE_BYTES];
    let mut times = Vec::with_capacity(WRITES);
    for write in 0..WARM_UP + WRITES {
        let start = Instant::now();
        file.write_all(&bytes)?;
        file.sync_data()?;
        if write >= WARM_UP {
            times.push(start.elapsed());
        }
    }
    Ok(times)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "append {WRITE_BYTES} B + fdatasync: p50 {:.0} µs, p95 {:.0} µs, p99 {:.0} µs ({WRITES} writes)",
            self.p50, self.p95, self.p99
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(micros: impl IntoIterator<Item = u64>) -> Vec<Duration> {
        micros.into_iter().map(Duration::from_micros).collect()
    }

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let baseline = Baseline::from_times(times((101..=200).rev())).unwrap();
        assert_eq!(
            baseline.to_string(),
            "append 512 B + fdatasync: p50 150 µs, p95 195 µs, p99 199 µs (1000 writes)"
        );
    }

    #[test]
    fn what_is_too_quick_is_not_a_disk() {
        let error = Baseline::from_times(times([5; 100])).unwrap_err().to_string();
        assert!(error.contains("5.0 µs, so this is not a disk"), "{error}");
        assert!(Baseline::from_times(times([20; 100])).is_ok());
        assert!(Baseline::from_times(Vec::new()).is_err());
    }

    #[test]
    fn nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        // Whether this folder is on a disk depends on the machine; both answers are fine here.
        let _ = Baseline::measure(folder.path());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(Baseline::measure(&folder.path().join("missing")).is_err());
    }
}
