//! What is known of a flow's values before it runs.

use std::sync::Arc;

use aura_core::data::{BlobRef, Data};
use aura_graph::expr::{BlobLookup, Context, Names, Reference, Template};
use aura_graph::val::Val;
use serde_json::Value;

/// What is known before a run: literals, and the input where it is given.
pub(super) struct Known {
    context: Option<Context>,
}

impl Known {
    /// What an input tells, if there is one.
    pub(super) fn new(input: Option<&Value>) -> Self {
        let context = input.map(|input| {
            let input = Val::Data(Data::from(input.clone()));
            Context::new(Arc::new(Given { input }), Arc::new(NoBlobs))
        });
        Self { context }
    }

    /// The value of a template, if it can be told before a run.
    pub(super) fn value(&self, template: &Template) -> Option<Value> {
        if let Some(value) = template.as_literal() {
            return Some(value.clone());
        }
        let context = self.context.as_ref()?;
        let mut only_input = true;
        template.each_reference(&mut |_, reference: &Reference| {
            only_input &= reference.head() == "input";
        });
        if only_input { template.value(context).ok() } else { None }
    }
}

struct Given {
    input: Val,
}

impl Names for Given {
    fn name(&self, name: &str) -> Option<Val> {
        (name == "input").then(|| self.input.clone())
    }

    fn item(&self, _name: &str) -> Option<(Data, usize)> {
        None
    }

    fn step(&self, _id: &str, _field: &str) -> Option<Val> {
        None
    }
}

struct NoBlobs;

impl BlobLookup for NoBlobs {
    fn value(&self, _blob: BlobRef) -> Option<Arc<Value>> {
        None
    }
}

/// The value of a parameter, if the arguments name it.
pub(super) fn field(with: &Template, name: &str) -> Option<Template> {
    match with {
        Template::Literal(value) => value.get(name).map(|v| Template::Literal(Arc::new(v.clone()))),
        Template::Object(entries) => {
            entries.iter().find(|(key, _)| key == name).map(|(_, template)| template.clone())
        }
        _ => None,
    }
}

/// The host of a URL, with its port; of a text that only begins one, if the host is there as a whole.
pub(super) fn host(url: &str, whole: bool) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']);
    let authority = match end {
        Some(end) => &rest[..end],
        None if whole => rest,
        None => return None,
    };
    let host = authority.rsplit('@').next().unwrap_or(authority);
    (!host.is_empty()).then(|| host.to_owned())
}
