//! `cargo xtask bench`: what durability costs here.

mod baseline;

use std::path::Path;

use baseline::Baseline;

/// Measures the baseline that all other measurements are given as multiples of.
pub(crate) fn run(dir: &Path) -> anyhow::Result<()> {
    let baseline = Baseline::measure(dir)?;
    println!("{baseline}");
    Ok(())
}
