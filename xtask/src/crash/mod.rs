//! `cargo xtask crash`: the real binary on the real store, killed at random moments against a world that counts.
//!
//! Each round plays two flows in two variants. Where the world honours `Idempotency-Key` and the effects are
//! `idempotent`, every effect must happen exactly once by itself. Where it ignores keys and the effects are
//! `irreversible`, none may happen twice, and those in doubt are settled by looking at what the world did. Both times
//! output and files must be those of a run that nobody disturbed.

mod round;
mod stage;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::bail;

use crate::counter::Keys;
use crate::dice::Dice;
use crate::paint::{Tone, paint};
use crate::workspace::Workspace;
use round::Played;
use stage::Stage;

/// Rounds of each variant that every change must pass.
pub(crate) const ROUNDS: u32 = 25;

/// What all rounds came to.
#[derive(Debug, Default)]
struct Tally {
    rounds: u32,
    failed: u32,
    kills: u32,
    in_doubt: u32,
    duplicates: u32,
    lost: usize,
}

impl Tally {
    fn add(&mut self, played: &[Played]) {
        self.rounds += 1;
        self.failed += u32::from(played.iter().any(|played| !played.problems.is_empty()));
        for played in played {
            self.kills += played.kills;
            self.in_doubt += played.in_doubt;
            self.duplicates += played.duplicates;
            self.lost += played.lost;
        }
    }
}

/// Plays `rounds` rounds of each variant; the same seed picks the same moments.
pub(crate) fn run(
    workspace: &Workspace,
    program: &Path,
    rounds: u32,
    seed: Option<u64>,
) -> anyhow::Result<()> {
    let seed = seed.unwrap_or_else(any_seed);
    println!("crash: seed {seed}; again: cargo xtask crash --rounds {rounds} --seed {seed}");
    let start = Instant::now();
    let mut dice = Dice::new(seed);
    let mut tally = Tally::default();
    for keys in [Keys::Honoured, Keys::Ignored] {
        let stage = Stage::new(workspace, program, keys, dice.next())?;
        println!("\n{}", stage.title());
        for number in 1..=rounds {
            // Of its own, so that one round can be looked at whatever the others took.
            let mut own = Dice::new(dice.next());
            let begin = Instant::now();
            let played = stage.round(&mut own)?;
            print_round(number, &played, begin.elapsed());
            tally.add(&played);
        }
    }
    finish(&tally, start.elapsed())
}

/// A seed that differs from run to run.
pub(crate) fn any_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Dice::new(u64::from(now.subsec_nanos()) ^ now.as_secs()).below(1 << 32)
}

fn print_round(number: u32, played: &[Played], took: Duration) {
    let parts: Vec<_> = played.iter().map(Played::told).collect();
    let good = played.iter().all(|played| played.problems.is_empty());
    let verdict = if good { paint(Tone::Good, "ok") } else { paint(Tone::Bad, "FAILED") };
    println!("  {number:>3}  {verdict}  {:.2} s  {}", took.as_secs_f64(), parts.join("; "));
    for problem in played.iter().flat_map(|played| &played.problems) {
        println!("       {problem}");
    }
}

fn finish(tally: &Tally, took: Duration) -> anyhow::Result<()> {
    let Tally { rounds, failed, kills, in_doubt, duplicates, lost } = tally;
    println!(
        "\ncrash: {rounds} rounds, kills {kills}, in doubt {in_doubt}, \
         duplicates {duplicates}, lost {lost} ({:.0} s)",
        took.as_secs_f64()
    );
    println!("{} passed, {failed} failed", rounds - failed);
    if *failed > 0 {
        bail!("{failed} of {rounds} rounds failed");
    }
    if *rounds > 0 && *kills == 0 {
        bail!("no process was killed, so nothing was tested");
    }
    Ok(())
}
