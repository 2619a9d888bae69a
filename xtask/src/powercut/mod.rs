//! `cargo xtask powercut`: the real binary on a disk that loses what was not synced.
//!
//! `kill -9` proves nothing about durability, since what was written survives in the memory of the system. So a shim
//! (`xtask/powercut/shim.c`) notes every write, sync and change of a name, and what the process says through its
//! sockets. The process is killed at a random moment; then its files are put back to what a power cut at that moment
//! could have left: all that was synced, and of the rest what the dice say. Everything that somebody outside knows
//! to be acknowledged must be there, every chain must verify, every blob must be readable, and the run must come to
//! the end that it would have come to.
//!
//! The test must be able to fail: with `--sabotage` the syncs of the database, or those of the blobs, count as if
//! nobody had called them. That is what `synchronous=OFF`, or a missing sync of blobs, does; the binary is the same.

mod disk;
mod judge;
mod log;
mod round;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;

pub(crate) use disk::Sabotage;

use crate::crash::any_seed;
use crate::dice::Dice;
use crate::paint::{Tone, paint};
use crate::workspace::Workspace;
use round::{Place, Played};

/// Rounds that a command plays if it is not told how many.
pub(crate) const ROUNDS: u32 = 50;

/// Rounds that every change must pass, as far as there is time.
const SHORT: u32 = 10;

/// After this long the short version begins no further round: machines differ, and everybody waits for it.
const SHORT_TIME: Duration = Duration::from_secs(20);

/// Rounds within which a sabotage must have been noticed.
const SABOTAGED: u32 = 3;

/// What all rounds came to.
#[derive(Debug, Default)]
struct Tally {
    rounds: u32,
    failed: u32,
    cuts: u32,
    looks: u32,
    acknowledged: usize,
}

/// Plays `rounds` rounds; the same seed throws the same dice.
pub(crate) fn run(
    workspace: &Workspace,
    program: &Path,
    (rounds, seed): (u32, Option<u64>),
    sabotage: Option<Sabotage>,
) -> anyhow::Result<()> {
    let seed = seed.unwrap_or_else(any_seed);
    println!("powercut: seed {seed}");
    let place = prepare(workspace, program, seed)?;
    let start = Instant::now();
    let tally = play(&place, (rounds, Duration::MAX), seed, sabotage)?;
    finish(&tally, start.elapsed())
}

/// The short version: some rounds as shipped, and each sabotage until it is noticed.
pub(crate) fn short(workspace: &Workspace, program: &Path) -> anyhow::Result<()> {
    let seed = any_seed();
    println!("powercut: seed {seed}; again: cargo xtask powercut --rounds {SHORT} --seed {seed}");
    let place = prepare(workspace, program, seed)?;
    let start = Instant::now();
    let tally = play(&place, (SHORT, SHORT_TIME), seed, None)?;
    finish(&tally, start.elapsed())?;
    for sabotage in [Sabotage::SynchronousOff, Sabotage::NoBlobSync] {
        println!("\n{sabotage:?}: this must be noticed");
        let mut dice = Dice::new(seed);
        let noticed = (0..SABOTAGED).find_map(|_| {
            match place.round(&mut Dice::new(dice.next()), Some(sabotage)) {
                Ok(played) if played.problems.is_empty() => None,
                Ok(played) => Some(Ok(played.problems)),
                Err(error) => Some(Err(error)),
            }
        });
        match noticed.transpose()? {
            Some(problems) => println!("  noticed: {}", problems.join("\n  ")),
            None => {
                bail!("{sabotage:?} was not noticed in {SABOTAGED} rounds, so the test is blind")
            }
        }
    }
    Ok(())
}

fn prepare(workspace: &Workspace, program: &Path, seed: u64) -> anyhow::Result<Place> {
    if !cfg!(target_os = "linux") {
        bail!("the shim is for Linux; nothing was tested");
    }
    let place = Place::new(workspace, program, seed)?;
    println!("a run takes {:.2} s when it is left alone", place.took().as_secs_f64());
    Ok(place)
}

fn play(
    place: &Place,
    (rounds, time): (u32, Duration),
    seed: u64,
    sabotage: Option<Sabotage>,
) -> anyhow::Result<Tally> {
    let start = Instant::now();
    let mut dice = Dice::new(seed);
    let mut tally = Tally::default();
    for number in 1..=rounds {
        if start.elapsed() >= time {
            println!("        {} rounds are left out: time is up", rounds + 1 - number);
            break;
        }
        let begin = Instant::now();
        let played = place.round(&mut Dice::new(dice.next()), sabotage)?;
        print_round(number, &played, begin.elapsed());
        tally.rounds += 1;
        tally.failed += u32::from(!played.problems.is_empty());
        tally.cuts += played.cuts;
        tally.looks += played.looks;
        tally.acknowledged += played.acknowledged;
        if !played.problems.is_empty() {
            // What is on the disk stays there to be looked at.
            break;
        }
    }
    Ok(tally)
}

fn print_round(number: u32, played: &Played, took: Duration) {
    let good = played.problems.is_empty();
    let verdict = if good { paint(Tone::Good, "ok") } else { paint(Tone::Bad, "FAILED") };
    let Played { cuts, kills, looks, acknowledged, .. } = played;
    println!(
        "  {number:>4}  {verdict}  {:.2} s  {cuts} cuts, {kills} kills, {looks} disks, {acknowledged} acknowledged",
        took.as_secs_f64()
    );
    for problem in &played.problems {
        println!("        {problem}");
    }
}

fn finish(tally: &Tally, took: Duration) -> anyhow::Result<()> {
    let Tally { rounds, failed, cuts, looks, acknowledged } = tally;
    println!(
        "\npowercut: {rounds} rounds, {cuts} cuts, {looks} disks looked at, {acknowledged} times \
         something acknowledged was looked for, {failed} failed ({:.0} s)",
        took.as_secs_f64()
    );
    if *failed > 0 {
        bail!("after a power cut the store was not as it must be");
    }
    if *rounds > 0 && (*cuts == 0 || *acknowledged == 0) {
        bail!("no power was cut, or nothing was acknowledged, so nothing was tested");
    }
    Ok(())
}
