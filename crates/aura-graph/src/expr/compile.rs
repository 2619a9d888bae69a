//! From the text of a flow file to something that can be evaluated.

use std::fmt;
use std::sync::{Arc, LazyLock};

use aura_core::limits;
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Expression, UndefinedBehavior};
use serde_json::Value;

/// The environment of every expression: no loaders, no clock, no random numbers, bounded fuel.
pub(crate) static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Chainable);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_fuel(Some(limits::EXPRESSION_FUEL));
    env.set_recursion_limit(64);
    // A line that holds only a statement leaves no empty line behind, and a text keeps its last newline: texts of
    // flow files are Markdown, mail bodies and the like.
    let mut syntax = SyntaxConfig::builder();
    syntax.keep_trailing_newline(true).trim_blocks(true).lstrip_blocks(true);
    if let Ok(syntax) = syntax.build() {
        env.set_syntax(syntax);
    }
    env.add_function("secret", secret);
    env
});

/// `secret(…)` is resolved when a template is compiled; a call that gets here stands where none may stand.
fn secret(_name: String) -> Result<minijinja::Value, minijinja::Error> {
    Err(minijinja::Error::new(
        minijinja::ErrorKind::InvalidOperation,
        "secret() must stand alone in {{ }} in a parameter that takes secrets",
    ))
}

/// A text that does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    /// JSON pointer to the text within the value that was compiled.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
}

/// A dotted name that an expression refers to, such as `steps.fetch.output.json`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference(pub String);

impl Reference {
    /// The segments.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// The first segment: `input`, `steps`, `vars`, `run`, `loop`, `index`, an item's name, …
    pub fn head(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }
}

/// A compiled expression.
#[derive(Clone)]
pub struct Expr(Arc<ExprInner>);

struct ExprInner {
    source: String,
    compiled: Expression<'static, 'static>,
    references: Vec<Reference>,
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expr({})", self.0.source)
    }
}

impl Expr {
    /// Compiles an expression without its braces.
    ///
    /// # Errors
    /// It is not one; the message says why.
    pub fn compile(source: &str) -> Result<Self, String> {
        let source = source.trim().to_owned();
        if source.is_empty() {
            return Err("the expression is empty".to_owned());
        }
        let compiled =
            ENVIRONMENT.compile_expression_owned(source.clone()).map_err(|e| explain(&e))?;
        let references = sorted(compiled.undeclared_variables(true));
        Ok(Self(Arc::new(ExprInner { source, compiled, references })))
    }

    /// Compiles a condition: a whole template `{{ … }}`, a short reference `$…`, or a bare expression.
    ///
    /// # Errors
    /// It is none of them.
    pub fn condition(text: &str) -> Result<Self, String> {
        match whole(text.trim()) {
            Some(inner) => Self::compile(inner),
            None => match short_reference(text.trim()) {
                Some(path) => Self::compile(path),
                None if text.contains("{{") || text.contains("{%") => {
                    Err("a condition is one expression: {{ … }}".to_owned())
                }
                None => Self::compile(text),
            },
        }
    }

    /// The text of the expression, without braces.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The names that it refers to, sorted.
    pub fn references(&self) -> &[Reference] {
        &self.0.references
    }

    pub(crate) fn compiled(&self) -> &Expression<'static, 'static> {
        &self.0.compiled
    }

    /// Whether it asks if something is defined, so that a missing name is an answer and not a mistake.
    pub(crate) fn asks_defined(&self) -> bool {
        asks_defined(&self.0.source)
    }
}

/// A part of a text.
#[derive(Debug, Clone)]
pub enum Part {
    /// Plain text.
    Text(String),
    /// An expression, rendered as text.
    Expr(Expr),
    /// The value of a secret, put in when the call goes out.
    Secret(String),
}

/// A value of a flow file, compiled.
#[derive(Debug, Clone)]
pub enum Template {
    /// The value itself: nothing in it is evaluated.
    Literal(Arc<Value>),
    /// One whole expression; keeps its type.
    Expr(Expr),
    /// A text with expressions or secrets.
    Text(Vec<Part>),
    /// A text with statements (`{% for %}`, `{% if %}`), and the names that it refers to.
    Block(Arc<str>, Vec<Reference>),
    /// A list.
    List(Vec<Self>),
    /// An object.
    Object(Vec<(String, Self)>),
}

impl Template {
    /// Compiles a value; every text in it may be a template.
    ///
    /// # Errors
    /// Every text that does not compile.
    pub fn compile(value: &Value) -> Result<Self, Vec<CompileError>> {
        let mut errors = Vec::new();
        let template = Self::build(value, "", &mut errors);
        if errors.is_empty() { Ok(template) } else { Err(errors) }
    }

    fn build(value: &Value, at: &str, errors: &mut Vec<CompileError>) -> Self {
        match value {
            Value::String(text) => Self::text(text).unwrap_or_else(|message| {
                errors.push(CompileError { pointer: at.to_owned(), message });
                Self::Literal(Arc::new(Value::Null))
            }),
            Value::Array(items) => {
                let items: Vec<_> = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| Self::build(item, &format!("{at}/{index}"), errors))
                    .collect();
                if items.iter().all(Self::is_literal) {
                    return Self::Literal(Arc::new(Value::Array(
                        items.into_iter().map(Self::into_literal).collect(),
                    )));
                }
                Self::List(items)
            }
            Value::Object(map) => {
                let entries: Vec<_> = map
                    .iter()
                    .map(|(key, item)| {
                        let pointer = format!("{at}/{}", escape_pointer(key));
                        (key.clone(), Self::build(item, &pointer, errors))
                    })
                    .collect();
                if entries.iter().all(|(_, item)| item.is_literal()) {
                    return Self::Literal(Arc::new(Value::Object(
                        entries.into_iter().map(|(key, item)| (key, item.into_literal())).collect(),
                    )));
                }
                Self::Object(entries)
            }
            other => Self::Literal(Arc::new(other.clone())),
        }
    }

    /// Compiles one text.
    fn text(text: &str) -> Result<Self, String> {
        if let Some(path) = short_reference(text) {
            return Expr::compile(path).map(Self::Expr);
        }
        if !text.contains("{{") && !text.contains("{%") && !text.contains("{#") {
            // `$$` escapes a text that would otherwise be a short reference.
            let plain = text.strip_prefix("$$").map(|rest| format!("${rest}"));
            return Ok(Self::Literal(Arc::new(Value::String(
                plain.unwrap_or_else(|| text.to_owned()),
            ))));
        }
        if text.contains("{%") || text.contains("{#") {
            let compiled = ENVIRONMENT.template_from_str(text).map_err(|e| explain(&e))?;
            let references = sorted(compiled.undeclared_variables(true));
            if references.iter().any(|r| r.head() == "secret") {
                return Err("secret() can't stand in a text with {% %}".to_owned());
            }
            return Ok(Self::Block(Arc::from(text), references));
        }
        if let Some(inner) = whole(text.trim())
            && secret_name(inner).is_none()
        {
            return Expr::compile(inner).map(Self::Expr);
        }
        Self::parts(text).map(Self::Text)
    }

    fn parts(text: &str) -> Result<Vec<Part>, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find("{{") {
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let inner_end = closing(&rest[open + 2..])
                .ok_or_else(|| "'{{' without a matching '}}'".to_owned())?;
            let inner = &rest[open + 2..open + 2 + inner_end];
            parts.push(match secret_name(inner) {
                Some(name) => Part::Secret(name.to_owned()),
                None => Part::Expr(Expr::compile(inner)?),
            });
            rest = &rest[open + 2 + inner_end + 2..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(parts)
    }

    /// The value, if nothing in it is evaluated.
    pub fn as_literal(&self) -> Option<&Value> {
        match self {
            Self::Literal(value) => Some(value),
            _ => None,
        }
    }

    fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }

    fn into_literal(self) -> Value {
        match self {
            Self::Literal(value) => Arc::unwrap_or_clone(value),
            _ => Value::Null,
        }
    }

    /// Calls `see` with the JSON pointer and each name that a text there refers to.
    pub fn each_reference(&self, see: &mut dyn FnMut(&str, &Reference)) {
        self.walk("", &mut |at, template| match template {
            Self::Expr(expr) => expr.references().iter().for_each(|r| see(at, r)),
            Self::Block(_, references) => references.iter().for_each(|r| see(at, r)),
            Self::Text(parts) => {
                for part in parts {
                    if let Part::Expr(expr) = part {
                        expr.references().iter().for_each(|r| see(at, r));
                    }
                }
            }
            _ => {}
        });
    }

    /// Calls `see` with the JSON pointer and name of each secret.
    pub fn each_secret(&self, see: &mut dyn FnMut(&str, &str)) {
        self.walk("", &mut |at, template| {
            if let Self::Text(parts) = template {
                for part in parts {
                    if let Part::Secret(name) = part {
                        see(at, name);
                    }
                }
            }
        });
    }

    fn walk(&self, at: &str, see: &mut dyn FnMut(&str, &Self)) {
        see(at, self);
        match self {
            Self::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    item.walk(&format!("{at}/{index}"), see);
                }
            }
            Self::Object(entries) => {
                for (key, item) in entries {
                    item.walk(&format!("{at}/{}", escape_pointer(key)), see);
                }
            }
            _ => {}
        }
    }
}

/// Whether a source asks if something is defined: a test, or the filter `default` (`d` for short) as a word.
pub(crate) fn asks_defined(source: &str) -> bool {
    let tests = ["is defined", "is undefined", "is not defined", "is not undefined"];
    let word_before = |at: usize| {
        source[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_')
    };
    let filter = |name: &str| source.match_indices(name).any(|(at, _)| !word_before(at));
    tests.iter().any(|test| source.contains(test)) || filter("default(") || filter("d(")
}

pub(crate) fn escape_pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn sorted(names: impl IntoIterator<Item = String>) -> Vec<Reference> {
    let mut references: Vec<_> = names.into_iter().map(Reference).collect();
    references.sort();
    references
}

/// What an error of the library says, without the place in a file that the reader never wrote.
pub(crate) fn explain(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.kind().to_string(),
    }
}

/// `$name.path[0]` as a whole text.
fn short_reference(text: &str) -> Option<&str> {
    let path = text.strip_prefix('$')?;
    let mut chars = path.chars();
    let first = chars.next()?;
    let rest_fits = chars.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '[' | ']'));
    ((first.is_ascii_alphabetic() || first == '_') && rest_fits).then_some(path)
}

/// The inside of a text that is one `{{ … }}` and nothing else.
fn whole(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?;
    let end = closing(inner)?;
    (end + 2 == inner.len()).then(|| &inner[..end])
}

/// Where the `}}` stands that closes an expression, texts and braces within it left aside.
fn closing(inner: &str) -> Option<usize> {
    let bytes = inner.as_bytes();
    let mut quote = None;
    let mut depth = 0_usize;
    let mut at = 0;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) => quote = (byte != open).then_some(open),
            (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
            (None, b'{') => depth += 1,
            (None, b'}') if depth > 0 => depth -= 1,
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// `NAME` of an expression that is `secret('NAME')` and nothing else.
fn secret_name(inner: &str) -> Option<&str> {
    let quoted = inner.trim().strip_prefix("secret(")?.strip_suffix(')')?.trim();
    let quote = quoted.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let name = quoted.strip_prefix(quote)?.strip_suffix(quote)?;
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (plain && !name.is_empty()).then_some(name)
}
