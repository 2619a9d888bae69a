//! What a step can call: definitions that are pinned, hashed and shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::canonical;
use crate::effect::EffectClass;
use crate::hash::Hash;

/// The definition of a tool. A run pins the hash of each definition that it uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolDef {
    /// Dotted name, such as `http.request`.
    pub name: String,
    /// One line for lists.
    pub summary: String,
    /// Longer help in Markdown, with an example.
    pub help: String,
    /// How a call's effect class follows from its arguments.
    pub class: ClassRule,
    /// JSON Schema 2020-12 of the arguments (an object).
    pub input: Value,
    /// JSON Schema 2020-12 of the output.
    pub output: Value,
    /// Top-level parameters in which `{{ secret('NAME') }}` may stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_params: Vec<String>,
    /// Built in, harmless to repeat and done in microseconds without waiting: may run on the shard's own thread.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inline: bool,
}

impl ToolDef {
    /// The hash under which runs pin this definition.
    pub fn hash(&self) -> Hash {
        // A definition is plain data, so its conversion to a JSON value cannot fail.
        let value = serde_json::to_value(self).unwrap_or_default();
        Hash::of(&canonical::to_vec(&value))
    }
}

/// How the effect class of a call follows from its arguments; data, so that it is hashed with the definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassRule {
    /// Every call has this class.
    Fixed(EffectClass),
    /// The class depends on the text of a top-level parameter, compared in upper case.
    ByParam {
        /// The parameter.
        param: String,
        /// The text that an absent parameter stands for.
        absent: String,
        /// Texts with their classes.
        cases: std::collections::BTreeMap<String, EffectClass>,
        /// The class of every other text.
        otherwise: EffectClass,
    },
}

impl ClassRule {
    /// The class of a call with these arguments.
    pub fn class_of(&self, args: &Value) -> EffectClass {
        match self {
            Self::Fixed(class) => *class,
            Self::ByParam { param, absent, cases, otherwise } => {
                let text = args.get(param).and_then(Value::as_str).unwrap_or(absent);
                cases.get(&text.to_ascii_uppercase()).copied().unwrap_or(*otherwise)
            }
        }
    }
}
