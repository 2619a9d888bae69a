//! Starting runs, and the flows that they pin.

use std::collections::BTreeSet;
use std::sync::Arc;

use aura_core::error::{Code, Problem};
use aura_core::event::FlowPin;
use aura_core::hash::Hash;
use aura_core::id::RunId;
use aura_core::input::Input;
use aura_core::limits;
use aura_core::time::Millis;
use aura_graph::definition::Flows;
use aura_graph::{Flow, Run};

use crate::history::{flow_of, load_flows};
use crate::message::{Reply, StartRun};
use crate::shard::{Shard, busy};
use crate::stream::{Job, Stream};

impl Shard {
    pub(crate) fn start(&mut self, run: RunId, start: StartRun, reply: Reply, now: Millis) {
        match self.load(run) {
            Ok(()) => return self.answer_existing(run, &start, reply),
            Err(problem) if problem.code == Code::RunNotFound => {}
            Err(problem) => return reply(Err(problem)),
        }
        let pin = &start.started.flow;
        let bundle = pin.bundle.blob;
        let flow = match flow_of(&start.flows, pin) {
            Ok(flow) => flow,
            Err(problem) => return reply(Err(problem)),
        };
        if start.perform
            && let Some(problem) = self.lacks(run, &start.flows)
        {
            return reply(Err(problem.kept("nothing was started")));
        }
        self.keep_flows(bundle, start.flows);
        if self.is_due(bundle, now) {
            self.pending.group.blobs.push((bundle, start.bundle));
        }
        self.streams.insert(run, Stream::new(Run::new(run), Hash::ZERO, flow));
        if start.perform {
            self.performs.insert(run);
        }
        let input = Input::Start(Box::new(start.started));
        self.decide_for(run, Job { input, reply: Some(reply) }, now);
    }

    /// Whether a bundle is to be handed to the store once more. It is there already if a start of the same flow was
    /// not long ago; a store may remove what nothing names, but nothing that young.
    fn is_due(&mut self, bundle: Hash, now: Millis) -> bool {
        let last = self.stored.get(&bundle);
        if last.is_some_and(|at| now.since(*at) < limits::BUNDLE_KEPT_MS) {
            return false;
        }
        if self.stored.len() >= limits::BUNDLES_KNOWN {
            self.stored.clear();
        }
        self.stored.insert(bundle, now);
        true
    }

    /// A run that exists, by its key or because its start came twice: equal input is answered with it, any other is
    /// a conflict.
    fn answer_existing(&mut self, run: RunId, start: &StartRun, reply: Reply) {
        let Some(started) = self.streams.get(&run).and_then(|s| s.run.started.clone()) else {
            return reply(Err(busy()));
        };
        let text = aura_core::canonical::to_vec(start.started.input.as_json().unwrap_or_default());
        let same = match &started.input {
            aura_core::Data::Json(input) => aura_core::canonical::to_vec(input) == text,
            aura_core::Data::Blob(blob) => *blob == aura_core::data::blob_address(self.salt, &text),
        };
        if !same {
            let what = "a run of this key, or of this id, exists with another input";
            let next = format!("use another key, or look at the run: aura show {run}");
            return reply(Err(Problem::new(Code::KeyConflict, what).next(next)));
        }
        self.reply_when_durable(run, reply);
    }

    /// The flow that a run pins.
    pub(crate) fn flow(&mut self, pin: &FlowPin) -> Result<Arc<Flow>, Problem> {
        let bundle = pin.bundle.blob;
        if let Some(flows) = self.flows.get(&bundle) {
            return flow_of(flows, pin);
        }
        let flows = load_flows(&*self.ports.store, pin)?;
        let flow = flow_of(&flows, pin)?;
        self.keep_flows(bundle, flows);
        Ok(flow)
    }

    /// Keeps the flows of a bundle compiled; of too many, only those that runs in memory follow.
    pub(crate) fn keep_flows(&mut self, bundle: Hash, flows: Flows) {
        if self.flows.len() >= limits::FLOWS_KEPT {
            let followed = |stream: &Stream| Some(stream.run.started.as_ref()?.flow.bundle.blob);
            let followed: BTreeSet<_> = self.streams.values().filter_map(followed).collect();
            self.flows.retain(|bundle, _| followed.contains(bundle));
        }
        self.flows.insert(bundle, flows);
    }
}
