//! Large runs: many items, many iterations, with memory that does not grow with them.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::Place;

#[test]
fn a_map_of_a_thousand_items_completes_and_streams_its_events() {
    let place = Place::new();
    place.file(
        "flow.yaml",
        "flow: many\nnodes:\n  - id: m\n    map: { items: \"{{ range(1000) | list }}\", do: [{ id: h, tool: hash.sha256, with: { value: $item } }] }\noutput: \"{{ steps.m.output | length }}\"\n",
    );
    let ran = place.aura(&["run", "flow.yaml", "--json"]).exits(0).json();
    assert_eq!(ran["output"], 1_000);
    let id = ran["run_id"].as_str().unwrap();
    let mut events =
        place.command(&["events", id, "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(events.stdout.take().unwrap()).lines();
    let count = lines.map_while(Result::ok).filter(|line| line.starts_with('{')).count();
    assert!(events.wait().unwrap().success());
    assert_eq!(count as u64, ran["events"].as_u64().unwrap());
    place.aura(&["replay", id, "--verify"]).exits(0);
}

/// Peak resident memory in KiB of a run of `times` iterations.
fn peak_kib(times: u32) -> u64 {
    let place = Place::new();
    let flow = format!(
        "flow: loop\nnodes:\n  - id: l\n    loop: {{ times: {times}, do: [{{ id: s, tool: bench.noop, with: {{}} }}] }}\noutput: $steps.l.status\n"
    );
    place.file("flow.yaml", &flow);
    // The peak of a child that has ended can't be had from the standard library, so it is asked while it lives.
    let mut child =
        place.command(&["run", "flow.yaml", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        if let Ok(text) = std::fs::read_to_string(&status) {
            let line = text.lines().find(|line| line.starts_with("VmHWM:"));
            let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
            peak = peak.max(kib.unwrap_or(0));
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return peak;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_loop_of_ten_thousand_steps_completes_in_flat_memory() {
    let (short, long) = (peak_kib(100), peak_kib(10_000));
    assert!(
        long < short + 48 * 1_024,
        "100 iterations took {short} KiB at their peak, 10,000 took {long} KiB"
    );
}
