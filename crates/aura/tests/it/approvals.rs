//! Approvals as people meet them: who is asked what, a quorum, and a call that is not the one that was approved.

use serde_json::json;

use crate::support::{Place, id};

const QUORUM: &str = "
flow: quorum
nodes:
  - id: ask
    approval: { of: act, message: \"Go?\", roles: [boss], quorum: 2 }
  - { id: act, tool: bench.noop, with: {} }
output: $steps.ask.output.answers
";

/// The second visit of `act` has another argument than the one that was approved.
const CHANGES: &str = "
flow: changes
vars: { amount: 40 }
nodes:
  - { id: ask, approval: { of: act, message: \"Pay {{ vars.amount }}?\" } }
  - { id: act, tool: echo, with: { value: $vars.amount } }
  - id: change
    set: { amount: 4000 }
    next: [{ when: \"{{ steps.act.visit < 2 }}\", to: act }]
output: $steps.act.output.value
";

#[test]
fn a_quorum_needs_different_people() {
    let place = Place::new();
    place.file("quorum.yaml", QUORUM);
    let run = id("quorum", "k");
    place.aura(&["run", "quorum.yaml", "--key", "k"]).exits(3);
    let asked = place.aura(&["approvals", "--json"]).exits(0).json();
    let asked = &asked["approvals"][0];
    assert_eq!((&asked["quorum"], &asked["missing"]), (&json!(2), &json!(2)));
    assert_eq!(asked["roles"], json!(["boss"]));
    let action = asked["action"].as_str().unwrap().to_owned();
    let ended = place.aura(&["approve", &run, "ask", "--action", &action[..16]]).exits(0);
    assert!(ended.out.contains("it needs 1 more person"), "{}", ended.out);
    let ended = place.aura(&["approve", &run]).exits(0);
    assert!(ended.out.contains("local:ada said yes already and counts once"), "{}", ended.out);
    let ended = place.aura(&["approvals"]).exits(0);
    assert!(ended.out.contains("1 of 2 said yes: local:ada"), "{}", ended.out);
    let ended = place.aura(&["why", &run]).exits(0);
    assert!(ended.out.contains("1 of 2 said yes: local:ada"), "{}", ended.out);
    let ended = place.aura(&["approve", &run, "--actor", "bob", "--action", "00000000"]).exits(2);
    assert!(ended.err.contains("APPROVAL_MISMATCH"), "{}", ended.err);
    place.aura(&["approve", &run, "--actor", "bob", "--reason", "fine"]).exits(0);
    let told = place.aura(&["resume", &run, "--json"]).exits(0).json();
    let answers = json!([
        { "actor": "local:ada", "reason": null }, { "actor": "local:bob", "reason": "fine" },
    ]);
    assert_eq!(told["output"], answers);
    let events = place.aura(&["events", &run, "--json"]).exits(0).out;
    let granted = events.lines().find(|line| line.contains("approval.granted")).unwrap();
    assert!(granted.contains("\"authenticated\":false"), "{granted}");
    assert!(granted.contains("\"roles\":[\"boss\"]"), "{granted}");
    let ended = place.aura(&["approvals"]).exits(0);
    assert!(ended.err.contains("nobody is asked"), "{}{}", ended.out, ended.err);
}

#[test]
fn what_changed_after_the_approval_is_recorded_and_asked_again() {
    let place = Place::new();
    place.file("changes.yaml", CHANGES);
    let run = id("changes", "k");
    place.aura(&["run", "changes.yaml", "--key", "k"]).exits(3);
    place.aura(&["approve", &run]).exits(0);
    place.aura(&["resume", &run]).exits(3);
    let events = place.aura(&["events", &run]).exits(0).out;
    assert!(events.contains("approval.mismatched"), "{events}");
    let ended = place.aura(&["why", &run]).exits(0);
    assert!(ended.out.contains("again, because 'ask' approved another call"), "{}", ended.out);
    assert!(ended.out.contains("Pay 4000?"), "{}", ended.out);
    let ended = place.aura(&["show", &run]).exits(0);
    assert!(ended.out.contains("act#2"), "{}", ended.out);
    place.aura(&["approve", &run, "act#2"]).exits(0);
    let told = place.aura(&["resume", &run, "--json"]).exits(0).json();
    assert_eq!(told["output"], json!(4000));
    place.aura(&["replay", &run, "--verify"]).exits(0);
}
