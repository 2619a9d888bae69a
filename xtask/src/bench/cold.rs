//! The cold start: from starting the program in a folder without a store to the end of its first run.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::aura::{Aura, PATIENCE};

/// How often; the first one also reads the program from the disk and is left out.
const STARTS: usize = 11;

const FLOW: &str = "flow: first\nnodes:\n  - { id: only, tool: bench.noop, with: {} }\n";

/// The median in milliseconds.
pub(crate) fn measure(program: &Path, dir: &Path) -> anyhow::Result<f64> {
    let place = dir.join(format!(".aura-cold-{}", std::process::id()));
    fs::create_dir_all(&place).with_context(|| format!("can't write in {}", dir.display()))?;
    let times = starts(program, &place);
    fs::remove_dir_all(&place).with_context(|| format!("can't remove {}", place.display()))?;
    let mut times = times?;
    times.sort_unstable();
    Ok(times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e3)
}

fn starts(program: &Path, place: &Path) -> anyhow::Result<Vec<Duration>> {
    fs::write(place.join("flow.yaml"), FLOW)?;
    let mut times = Vec::new();
    for number in 0..STARTS {
        let aura = Aura::new(program, &place.join(number.to_string()), place);
        let begin = Instant::now();
        aura.start(&["run", "flow.yaml"])?.end(PATIENCE)?.done()?;
        times.push(begin.elapsed());
    }
    Ok(times.split_off(1))
}
