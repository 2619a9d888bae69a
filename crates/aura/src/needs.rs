//! What a run needs somebody to do, and what to type for it.

use aura_graph::Run;
use serde::Serialize;

use crate::output::plain;
use crate::{budget, describe};

/// Something that only a person or a signal can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Need {
    /// `pause`, `approval`, `signal` or `effect`.
    pub(crate) kind: &'static str,
    /// Where.
    pub(crate) step: String,
    /// What it is, for a person.
    pub(crate) what: String,
    /// The command to type.
    pub(crate) command: String,
    /// Commands that would do as well, to another end.
    pub(crate) others: Vec<String>,
}

/// Everything that a run needs somebody to do.
pub(crate) fn needs(run: &Run) -> Vec<Need> {
    let id = run.id;
    let mut needs = Vec::new();
    // Who lets its parent go on lets it go on, too.
    if let Some(asked) = run.paused.as_ref().filter(|_| !run.paused_by_parent()) {
        let why = asked.reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default();
        needs.push(Need {
            kind: "pause",
            step: String::new(),
            what: plain(&format!("somebody to let it go on; paused by {}{why}", asked.actor)),
            command: format!("aura resume {id}"),
            others: vec![format!("aura cancel {id} --reason TEXT")],
        });
    }
    for (step, asked) in &run.approvals {
        let (typed, told) = (budget::typed(step), budget::told(step));
        needs.push(Need {
            kind: "approval",
            step: typed.to_owned(),
            what: match asked.request.raise {
                Some(_) => format!("more budget for {told}: {}", plain(&asked.request.message)),
                None => format!("approval at {told}: {}", plain(&asked.request.message)),
            },
            command: format!("aura approve {id} {typed}"),
            others: vec![format!("aura deny {id} {typed} --reason TEXT")],
        });
    }
    for (step, signal) in &run.waits {
        needs.push(Need {
            kind: "signal",
            step: step.to_string(),
            what: format!("signal '{signal}' at {step}"),
            command: format!("aura signal {id} {signal} --payload JSON"),
            others: Vec::new(),
        });
    }
    for (step, task) in run.in_doubt() {
        let (key, tool) = (task.spec.key.short(), &task.spec.tool);
        let (what, last) = match task.withheld {
            Some(why) => (
                format!(
                    "effect {key} at {step}: {tool} is not called: {}",
                    describe::withheld(why)
                ),
                "--live",
            ),
            None => {
                (format!("effect {key} at {step}: nobody knows whether {tool} happened"), "--retry")
            }
        };
        needs.push(Need {
            kind: "effect",
            step: step.to_string(),
            what,
            command: format!("aura effects settle {key} --succeeded --output JSON"),
            others: vec![
                format!("aura effects settle {key} --failed --reason TEXT"),
                format!("aura effects settle {key} {last}"),
            ],
        });
    }
    needs
}
