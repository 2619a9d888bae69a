//! `cargo xtask crash`: the real binary on the real store, killed at random moments against a world that counts.
//!
//! Each round plays two flows, in one of two variants. Where the world honours `Idempotency-Key` and the effects are
//! `idempotent`, every effect must happen exactly once by itself. Where it ignores keys and the effects are
//! `irreversible`, none may happen twice, and those in doubt are settled by looking at what the world did. Both times
//! output and files must be those of a run that nobody disturbed, and the ledger must list every effect that the world
//! knows of.

mod round;
mod stage;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::bail;

use crate::counter::Keys;
use crate::dice::Dice;
use crate::paint::{Tone, paint};
use crate::workspace::Workspace;
use round::Played;
use stage::Stage;

/// Rounds that every change must pass.
pub(crate) const ROUNDS: u32 = 50;

/// With more rounds than this, only every hundredth is told, and those that fail.
const TOLD_ONE_BY_ONE: u32 = 100;

/// What all rounds came to.
#[derive(Debug, Default)]
struct Tally {
    rounds: u32,
    failed: u32,
    kills: u32,
    in_doubt: u32,
    unlisted: usize,
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
            self.unlisted += played.unlisted;
            self.duplicates += played.duplicates;
            self.lost += played.lost;
        }
    }
}

/// What the threads that play rounds share.
struct Shared<'a> {
    workspace: &'a Workspace,
    program: &'a Path,
    /// A seed for each round: it plays the same on whichever thread.
    seeds: Vec<u64>,
    next: AtomicUsize,
    stop: AtomicBool,
    tally: Mutex<Tally>,
    start: Instant,
}

/// Plays `rounds` rounds, half of them in each variant; the same seed picks the same moments.
pub(crate) fn run(
    workspace: &Workspace,
    program: &Path,
    rounds: u32,
    seed: Option<u64>,
) -> anyhow::Result<()> {
    let seed = seed.unwrap_or_else(any_seed);
    println!("crash: seed {seed}; again: cargo xtask crash --rounds {rounds} --seed {seed}");
    let mut dice = Dice::new(seed);
    let seeds = (0..rounds).map(|_| dice.next()).collect();
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (tally, start) = (Mutex::default(), Instant::now());
    let shared = Shared { workspace, program, seeds, next, stop, tally, start };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|number| {
                scope.spawn({
                    let shared = &shared;
                    move || work(shared, number)
                })
            })
            .collect();
        let ends = workers.into_iter().map(|worker| match worker.join() {
            Ok(end) => end,
            Err(_) => bail!("a thread that played rounds panicked"),
        });
        ends.collect::<anyhow::Result<Vec<()>>>()
    })?;
    let tally = shared.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    finish(&tally, start.elapsed())
}

/// Plays rounds until there are none left, in a place of its own.
fn work(shared: &Shared<'_>, number: usize) -> anyhow::Result<()> {
    let done = play(shared, number);
    if done.is_err() {
        shared.stop.store(true, Ordering::Relaxed);
    }
    done
}

fn play(shared: &Shared<'_>, number: usize) -> anyhow::Result<()> {
    let stage = |keys, name: &str| {
        let dir = shared.workspace.target.join("crash").join(format!("{number}-{name}"));
        Stage::new(shared.workspace, shared.program, keys, &dir)
    };
    let stages = [stage(Keys::Honoured, "honoured")?, stage(Keys::Ignored, "ignored")?];
    if number == 0 {
        for stage in &stages {
            println!("{}", stage.title());
        }
    }
    while !shared.stop.load(Ordering::Relaxed) {
        let round = shared.next.fetch_add(1, Ordering::Relaxed);
        let Some(seed) = shared.seeds.get(round) else { break };
        let begin = Instant::now();
        let played = stages[round % stages.len()].round(&mut Dice::new(*seed))?;
        let mut tally = shared.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.add(&played);
        tell(shared, &tally, &played, begin.elapsed());
    }
    Ok(())
}

/// A seed that differs from run to run.
pub(crate) fn any_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Dice::new(u64::from(now.subsec_nanos()) ^ now.as_secs()).below(1 << 32)
}

fn tell(shared: &Shared<'_>, tally: &Tally, played: &[Played], took: Duration) {
    let good = played.iter().all(|played| played.problems.is_empty());
    let few = shared.seeds.len() <= TOLD_ONE_BY_ONE as usize;
    if few || !good {
        let parts: Vec<_> = played.iter().map(Played::told).collect();
        let verdict = if good { paint(Tone::Good, "ok") } else { paint(Tone::Bad, "FAILED") };
        let (number, took) = (tally.rounds, took.as_secs_f64());
        println!("  {number:>4}  {verdict}  {took:.2} s  {}", parts.join("; "));
    } else if tally.rounds.is_multiple_of(TOLD_ONE_BY_ONE) {
        let (rounds, all, took) = (tally.rounds, shared.seeds.len(), shared.start.elapsed());
        println!("  {rounds} of {all} rounds, {} ({:.0} s)", tally.told(), took.as_secs_f64());
    }
    for problem in played.iter().flat_map(|played| &played.problems) {
        println!("        {problem}");
    }
}

impl Tally {
    fn told(&self) -> String {
        let Self { kills, in_doubt, unlisted, duplicates, lost, .. } = self;
        format!(
            "kills {kills}, in doubt {in_doubt}, unlisted {unlisted}, duplicates {duplicates}, lost {lost}"
        )
    }
}

fn finish(tally: &Tally, took: Duration) -> anyhow::Result<()> {
    let Tally { rounds, failed, kills, .. } = tally;
    println!(
        "\ncrash: {rounds} rounds, {}, {failed} failed ({:.0} s)",
        tally.told(),
        took.as_secs_f64()
    );
    if *failed > 0 {
        bail!("{failed} of {rounds} rounds failed");
    }
    if *rounds > 0 && *kills == 0 {
        bail!("no process was killed, so nothing was tested");
    }
    Ok(())
}
