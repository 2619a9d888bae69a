//! Whether doubt about a node's effect can be met as the node says.

use aura_core::effect::EffectClass;
use aura_core::task::OnUnknown;
use aura_core::tool::{ClassRule, ToolDef};

use super::draft::{Node, Probe};
use super::references::Checker;
use crate::expr::Template;

impl<'c, 't> Checker<'c, 't> {
    /// Checks what a tool node says about doubt.
    pub(super) fn doubt(&mut self, node: &'c Node<'t>) {
        if node.idempotency.is_some() && node.on_unknown == OnUnknown::Fail {
            let message = "'on_unknown: fail' lets go of the call while nobody knows whether it acted, but with \
                           'idempotency' other runs wait for it";
            self.findings
                .add(&node.span, &node.path, message)
                .suggest("leave 'on_unknown' out: the key stays with the call until it is settled");
        }
        let reconcilable = node.effect == Some(EffectClass::Reconcilable);
        let asked = reconcilable || node.on_unknown == OnUnknown::Probe;
        let effect_span = node.effect_span.as_ref().unwrap_or(&node.span);
        let Some(probe) = &node.probe else {
            if asked {
                let (key, span) = if reconcilable {
                    ("effect: reconcilable", effect_span)
                } else {
                    ("on_unknown: probe", &node.span)
                };
                self.findings
                    .add(span, &node.path, format!("'{key}' needs a 'probe'"))
                    .suggest("add 'probe: { tool: NAME, with: {…}, done: \"{{ … }}\" }'");
            }
            return;
        };
        if let Some(class) = node.effect.filter(|class| class.abandonable()) {
            let message = format!("a call of class {class} leaves nothing to look for");
            self.findings.add(&probe.span, &probe.path, message).suggest("leave 'probe' out");
        } else if !asked {
            self.findings
                .add(&probe.span, &probe.path, "this probe is never asked")
                .suggest("add 'effect: reconcilable' or 'on_unknown: probe'");
        }
        self.probe(probe);
    }

    fn probe(&mut self, probe: &'c Probe<'t>) {
        self.scope.effect = true;
        if let Some(tool) = &probe.tool {
            self.arguments(tool);
            let with = tool.with.as_ref().map(|with| &with.value);
            let class = tool.def.as_ref().and_then(|def| class(def, with));
            if let Some(class) = class.filter(|class| !class.abandonable()) {
                let message = format!("a probe only looks, but this call is {class}");
                self.findings
                    .add(&tool.span, &tool.path, message)
                    .suggest("use a call of class read or pure");
            }
            self.scope.probed = tool.def.as_ref().map(|def| &def.output);
        }
        self.scope.probe = true;
        for expr in probe.done.iter().chain(&probe.not_done) {
            self.expr(expr);
        }
        if let Some(output) = &probe.output {
            self.template(output);
        }
        (self.scope.effect, self.scope.probe, self.scope.probed) = (false, false, None);
    }
}

/// The class of a call, where its parameters tell before the flow runs.
fn class(def: &ToolDef, with: Option<&Template>) -> Option<EffectClass> {
    let ClassRule::ByParam { param, .. } = &def.class else {
        return Some(def.class.class_of(&serde_json::Value::Null));
    };
    let value = match with {
        None => serde_json::json!({}),
        Some(Template::Literal(value)) => (**value).clone(),
        Some(Template::Object(entries)) => match entries.iter().find(|(key, _)| key == param) {
            None => serde_json::json!({}),
            Some((_, part)) => serde_json::json!({ param: part.as_literal()? }),
        },
        Some(_) => return None,
    };
    Some(def.class.class_of(&value))
}
