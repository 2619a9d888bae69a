//! Evaluating what was compiled.

use std::sync::Arc;

use aura_core::data::BlobRef;
use aura_core::error::{Code, Failure};
use aura_core::limits;
use aura_core::task::{SecretPart, SecretSlot};
use minijinja::Value as Shown;
use serde_json::{Map, Value};

use super::compile::{ENVIRONMENT, Expr, Part, Template, asks_defined, escape_pointer, explain};
use super::context::Context;
use super::json::to_json;

/// Why there is no value.
#[derive(Debug, Clone, PartialEq)]
pub enum EvalError {
    /// Blobs are not at hand: fetch them and ask again.
    Need(Vec<BlobRef>),
    /// The expression can't be evaluated on these values.
    Failed(Failure),
}

impl EvalError {
    fn invalid(message: impl Into<String>) -> Self {
        Self::Failed(Failure::certain(Code::InvalidInput, message))
    }
}

/// A rendered template.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rendered {
    /// The value; `null` where a text with secrets stands.
    pub value: Value,
    /// The texts with secrets.
    pub secrets: Vec<SecretSlot>,
}

impl Expr {
    /// The value of the expression.
    ///
    /// # Errors
    /// A blob is not at hand; a name is not there; an operation does not fit its values.
    pub fn eval(&self, context: &Context) -> Result<Value, EvalError> {
        to_json(&self.shown(context)?).map_err(|e| self.failed(&e))
    }

    /// Whether the value counts as true: not null, false, 0, empty.
    ///
    /// # Errors
    /// As [`Expr::eval`].
    pub fn holds(&self, context: &Context) -> Result<bool, EvalError> {
        Ok(self.shown(context)?.is_true())
    }

    fn shown(&self, context: &Context) -> Result<Shown, EvalError> {
        let result = self.compiled().eval(context.root());
        let seen = context.probe.take();
        if !seen.needs.is_empty() {
            return Err(EvalError::Need(seen.needs.into_iter().collect()));
        }
        let shown = result.map_err(|e| self.failed(&explain(&e)))?;
        let forgiven = self.asks_defined() && !shown.is_undefined();
        match seen.missing.first() {
            Some(path) if !forgiven => Err(self.failed(&format!("'{path}' is not defined"))),
            _ => Ok(shown),
        }
    }

    fn failed(&self, why: &str) -> EvalError {
        EvalError::invalid(format!("{{{{ {} }}}}: {why}", self.source()))
    }
}

impl Template {
    /// The value, with the places where secrets stand.
    ///
    /// # Errors
    /// As [`Expr::eval`]; a value above [`limits::VALUE_BYTES`].
    pub fn render(&self, context: &Context) -> Result<Rendered, EvalError> {
        let mut out = Rendered::default();
        let mut room = limits::VALUE_BYTES;
        out.value = self.fill(context, "", &mut out.secrets, &mut room)?;
        Ok(out)
    }

    /// The value of a template in which no secret may stand.
    ///
    /// # Errors
    /// As [`Template::render`]; a secret.
    pub fn value(&self, context: &Context) -> Result<Value, EvalError> {
        let rendered = self.render(context)?;
        if rendered.secrets.is_empty() {
            return Ok(rendered.value);
        }
        Err(EvalError::invalid("a secret can't stand here"))
    }

    fn fill(
        &self,
        context: &Context,
        at: &str,
        secrets: &mut Vec<SecretSlot>,
        room: &mut usize,
    ) -> Result<Value, EvalError> {
        let value = match self {
            Self::Literal(value) => return Ok(Value::clone(value)),
            Self::Expr(expr) => expr.eval(context)?,
            Self::Block(source, _) => Value::String(block(source, context)?),
            Self::Text(parts) => match text(parts, context)? {
                Text::Plain(text) => Value::String(text),
                Text::Secret(parts) => {
                    secrets.push(SecretSlot { pointer: at.to_owned(), parts });
                    Value::Null
                }
            },
            Self::List(items) => {
                let mut out = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    out.push(item.fill(context, &format!("{at}/{index}"), secrets, room)?);
                }
                return Ok(Value::Array(out));
            }
            Self::Object(entries) => {
                let mut out = Map::new();
                for (key, item) in entries {
                    let pointer = format!("{at}/{}", escape_pointer(key));
                    out.insert(key.clone(), item.fill(context, &pointer, secrets, room)?);
                }
                return Ok(Value::Object(out));
            }
        };
        take_room(&value, room)?;
        Ok(value)
    }
}

fn take_room(value: &Value, room: &mut usize) -> Result<(), EvalError> {
    let bytes = match value {
        Value::String(text) => text.len(),
        Value::Array(_) | Value::Object(_) => aura_core::canonical::to_string(value).len(),
        _ => 8,
    };
    match room.checked_sub(bytes) {
        Some(left) => {
            *room = left;
            Ok(())
        }
        None => Err(EvalError::Failed(Failure::certain(
            Code::LimitExceeded,
            format!("a rendered value is above {} bytes", limits::VALUE_BYTES),
        ))),
    }
}

fn block(source: &Arc<str>, context: &Context) -> Result<String, EvalError> {
    let result = ENVIRONMENT.render_str(source, context.root());
    let seen = context.probe.take();
    if !seen.needs.is_empty() {
        return Err(EvalError::Need(seen.needs.into_iter().collect()));
    }
    let text = result.map_err(|e| EvalError::invalid(format!("in the text: {}", explain(&e))))?;
    match seen.missing.first() {
        Some(path) if !asks_defined(source) => {
            Err(EvalError::invalid(format!("in the text: '{path}' is not defined")))
        }
        _ => Ok(text),
    }
}

enum Text {
    Plain(String),
    Secret(Vec<SecretPart>),
}

fn text(parts: &[Part], context: &Context) -> Result<Text, EvalError> {
    if parts.iter().any(|part| matches!(part, Part::Secret(_))) {
        return secret_parts(parts, context).map(Text::Secret);
    }
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Expr(expr) => out.push_str(&as_text(&expr.eval(context)?)),
            Part::Secret(_) => {}
        }
    }
    Ok(Text::Plain(out))
}

fn secret_parts(parts: &[Part], context: &Context) -> Result<Vec<SecretPart>, EvalError> {
    parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => Ok(SecretPart::Text(text.clone())),
            Part::Expr(expr) => Ok(SecretPart::Text(as_text(&expr.eval(context)?))),
            Part::Secret(name) => Ok(SecretPart::Secret(name.clone())),
        })
        .collect()
}

/// A value within a text: texts as they are, null as nothing, all else as JSON.
fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => aura_core::canonical::to_string(other),
    }
}
