//! What was measured, as tables for people.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde::Deserialize;

use super::baseline::Baseline;
use super::peers::Peer;

/// One line that the workloads print.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "workload")]
enum Line {
    W1(Level),
    W2 { run_p50_us: f64, run_p99_us: f64 },
    W3(Long),
    W4(Asleep),
}

/// A level of W1.
#[derive(Debug, Clone, Deserialize)]
struct Level {
    runs: u64,
    steps_per_s: f64,
    step_p50_us: f64,
    run_p99_us: f64,
    cpu_us_per_step: f64,
    bytes_per_step: f64,
}

/// W3.
#[derive(Debug, Clone, Deserialize)]
struct Long {
    total_s: f64,
    cpu_us_per_step: f64,
    first_thousand_ms: f64,
    last_thousand_ms: f64,
    recovery_ms: f64,
}

/// W4.
#[derive(Debug, Clone, Deserialize)]
struct Asleep {
    starts_per_s: f64,
    bytes_per_run: f64,
    recovered: u64,
    recovery_ms: f64,
}

/// Everything that was measured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    levels: Vec<Level>,
    wide: Option<(f64, f64)>,
    long: Option<Long>,
    asleep: Option<Asleep>,
    /// From the start of the program to the end of its first run, in milliseconds.
    pub(crate) cold_ms: Option<f64>,
}

impl Figures {
    /// Reads what the workloads printed.
    pub(crate) fn read(printed: &str) -> anyhow::Result<Self> {
        let mut figures = Self::default();
        for line in printed.lines().filter(|line| line.starts_with('{')) {
            match serde_json::from_str(line).with_context(|| format!("no figures: {line}"))? {
                Line::W1(level) => figures.levels.push(level),
                Line::W2 { run_p50_us, run_p99_us } => {
                    figures.wide = Some((run_p50_us, run_p99_us));
                }
                Line::W3(long) => figures.long = Some(long),
                Line::W4(asleep) => figures.asleep = Some(asleep),
            }
        }
        Ok(figures)
    }

    /// The tables, beside the disk and the goals.
    pub(crate) fn tables(&self, baseline: &Baseline) -> String {
        let mut out = String::new();
        if !self.levels.is_empty() {
            out.push_str("\nW1: 10 sequential durable no-op steps a run\n");
            out.push_str(&self.levels(baseline));
        }
        let mut goals = Vec::new();
        if let Some(one) = self.level(1) {
            let ratio = one.step_p50_us / baseline.p50;
            goals.push(("W1 step p50 at 1 run", format!("{ratio:.2} × fdatasync"), "≤ 2"));
        }
        if let Some(many) = self.level(1_024) {
            let rate = format!("{:.0} steps/s", many.steps_per_s);
            goals.push(("W1 at 1,024 runs", rate, "≥ 100,000"));
        }
        if let Some((p50, p99)) = self.wide {
            let told = format!("{:.1} ms, p99 {:.1} ms", p50 / 1e3, p99 / 1e3);
            goals.push(("W2: 1,000 steps side by side", told, "≤ 20 ms"));
        }
        if let Some(long) = &self.long {
            let cost =
                format!("{:.2} s, {:.1} µs of CPU a step", long.total_s, long.cpu_us_per_step);
            goals.push(("W3: 10,000 steps", cost, "≤ 3 s"));
            let (first, last) = (long.first_thousand_ms, long.last_thousand_ms);
            goals.push((
                "W3: first, last thousand",
                format!("{first:.0} ms, {last:.0} ms"),
                "flat",
            ));
            goals.push(("W3: recovery", format!("{:.0} ms", long.recovery_ms), ""));
        }
        if let Some(asleep) = &self.asleep {
            goals.push((
                "W4: memory of a sleeper",
                format!("{:.0} B", asleep.bytes_per_run),
                "≤ 1,024 B",
            ));
            goals.push(("W4: starts", format!("{:.0} a second", asleep.starts_per_s), ""));
            let told = format!("{:.0} ms for {} runs", asleep.recovery_ms, asleep.recovered);
            goals.push(("W4: recovery", told, "< 1 s for 10,000"));
        }
        if let Some(cold) = self.cold_ms {
            goals.push(("cold start to the first run's end", format!("{cold:.0} ms"), "< 100 ms"));
        }
        out.push('\n');
        for (what, told, goal) in goals {
            let _ = writeln!(out, "{what:<36} {told:>32}   {goal}");
        }
        out
    }

    fn levels(&self, baseline: &Baseline) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{:>6} {:>10} {:>12} {:>11} {:>11} {:>12} {:>11}",
            "runs",
            "steps/s",
            "step p50 µs",
            "× fdatasync",
            "run p99 ms",
            "CPU µs/step",
            "bytes/step"
        );
        for level in &self.levels {
            let _ = writeln!(
                out,
                "{:>6} {:>10.0} {:>12.0} {:>11.2} {:>11.1} {:>12.1} {:>11.0}",
                level.runs,
                level.steps_per_s,
                level.step_p50_us,
                level.step_p50_us / baseline.p50,
                level.run_p99_us / 1_000.0,
                level.cpu_us_per_step,
                level.bytes_per_step
            );
        }
        out
    }

    fn level(&self, runs: u64) -> Option<&Level> {
        self.levels.iter().find(|level| level.runs == runs)
    }

    /// Aura and its peers in one table.
    pub(crate) fn beside(&self, peers: &[Peer]) -> String {
        let own = Peer {
            name: "aura".to_owned(),
            step_ms: self.level(1).map(|level| level.step_p50_us / 1e3),
            steps_per_s: self.levels.iter().map(|level| (level.runs, level.steps_per_s)).collect(),
            cpu_us: self.level(256).map(|level| level.cpu_us_per_step),
            wide_ms: self.wide.map(|(p50, _)| p50 / 1e3),
            long_s: self.long.as_ref().map(|long| long.total_s),
            sleeper_kib: self.asleep.as_ref().map(|asleep| asleep.bytes_per_run / 1_024.0),
        };
        let mut out = String::new();
        let _ = writeln!(
            out,
            "{:<22} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10} {:>8} {:>7} {:>8}",
            "", "step ms", "1/s @1", "@16", "@64", "@256", "CPU µs", "W2 ms", "W3 s", "W4 KiB"
        );
        for peer in std::iter::once(&own).chain(peers) {
            let show = |figure: Option<f64>, digits: usize| {
                figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}"))
            };
            let rate = |runs: u64| show(peer.steps_per_s.get(&runs).copied(), 0);
            let _ = writeln!(
                out,
                "{:<22} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10} {:>8} {:>7} {:>8}",
                peer.name,
                show(peer.step_ms, 2),
                rate(1),
                rate(16),
                rate(64),
                rate(256),
                show(peer.cpu_us, 0),
                show(peer.wide_ms, 0),
                show(peer.long_s, 1),
                show(peer.sleeper_kib, 1)
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = r#"noise
{"workload":"W1","runs":1,"steps":10.0,"steps_per_s":2500.4,"step_p50_us":400.0,"run_p50_us":4000.0,"run_p99_us":5000.0,"cpu_us_per_step":90.0,"bytes_per_step":700.0}
{"workload":"W2","steps":1000,"run_p50_us":15000.0,"run_p99_us":18000.0}
{"workload":"W3","steps":10000,"total_s":2.5,"cpu_us_per_step":20.0,"first_thousand_ms":250,"last_thousand_ms":251,"recovery_ms":40.5}
{"workload":"W4","runs":10000,"starts_per_s":9000.0,"bytes_per_run":512.0,"recovered":20000,"recovery_ms":80.0}
"#;

    #[test]
    fn what_was_measured_stands_beside_the_disk_and_the_goals() {
        let figures = Figures::read(PRINTED).unwrap();
        let tables = figures.tables(&Baseline { p50: 200.0, p95: 0.0, p99: 0.0 });
        let row = tables.lines().find(|line| line.trim_start().starts_with("1 ")).unwrap();
        let words: Vec<_> = row.split_whitespace().collect();
        assert_eq!(words, ["1", "2500", "400", "2.00", "5.0", "90.0", "700"]);
        for told in
            ["2.00 × fdatasync", "15.0 ms, p99 18.0 ms", "2.50 s", "250 ms, 251 ms", "512 B"]
        {
            assert!(tables.contains(told), "{told} is not in\n{tables}");
        }
    }

    #[test]
    fn peers_stand_below_it() {
        let peer = Peer { name: "other".to_owned(), step_ms: Some(1.0), ..Peer::default() };
        let table = Figures::read(PRINTED).unwrap().beside(&[peer]);
        let rows: Vec<Vec<_>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
        assert_eq!(rows[1][..3], ["aura", "0.40", "2500"]);
        assert_eq!(rows[2][..3], ["other", "1.00", "-"]);
    }

    #[test]
    fn a_broken_line_is_an_error() {
        assert!(Figures::read("{\"workload\":\"W1\",\"runs\":1}").is_err());
    }
}
