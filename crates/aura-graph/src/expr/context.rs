//! What an expression sees: names that are looked up only when it asks for them.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aura_core::data::{BlobRef, Data};
use minijinja::Value as Shown;
use minijinja::value::{Enumerator, Object, ObjectRepr};
use serde_json::Value;

use crate::val::Val;

/// A cache of blobs; what it lacks is fetched by somebody else, later.
pub trait BlobLookup: Send + Sync {
    /// The value of a blob, if it is at hand.
    fn value(&self, blob: BlobRef) -> Option<Arc<Value>>;
}

/// The names at one place of a run.
pub trait Names: Send + Sync {
    /// The value of a top-level name.
    fn name(&self, name: &str) -> Option<Val>;

    /// For the name of a map's item: the list, and the place of the item in it.
    fn item(&self, name: &str) -> Option<(Data, usize)>;

    /// The value of `steps.ID.FIELD`; `None` if there is no such step or field here.
    fn step(&self, id: &str, field: &str) -> Option<Val>;
}

/// Everything that an evaluation needs.
#[derive(Clone)]
pub struct Context {
    pub(crate) names: Arc<dyn Names>,
    pub(crate) probe: Arc<Probe>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

impl Context {
    /// A context of these names and blobs.
    pub fn new(names: Arc<dyn Names>, blobs: Arc<dyn BlobLookup>) -> Self {
        let probe = Arc::new(Probe { blobs, seen: Mutex::default() });
        Self { names, probe }
    }

    pub(crate) fn root(&self) -> Shown {
        Shown::from_object(Root(self.clone()))
    }
}

/// What an evaluation ran into: blobs that are not at hand, and names that are not there.
pub(crate) struct Probe {
    blobs: Arc<dyn BlobLookup>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) needs: BTreeSet<BlobRef>,
    pub(crate) missing: Vec<String>,
}

impl Probe {
    pub(crate) fn take(&self) -> Seen {
        std::mem::take(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn missing(&self, path: String) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.missing.len() < 8 {
            seen.missing.push(path);
        }
    }

    pub(crate) fn blob(&self, blob: BlobRef) -> Option<Arc<Value>> {
        let value = self.blobs.value(blob);
        if value.is_none() {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).needs.insert(blob);
        }
        value
    }

    fn show(self: &Arc<Self>, val: &Val, path: &str) -> Shown {
        match val {
            Val::Data(Data::Json(value)) => self.show_json(value, Arc::default(), path),
            Val::Data(Data::Blob(blob)) => match self.blob(*blob) {
                Some(value) => self.show_json(&value, Arc::default(), path),
                None => Shown::UNDEFINED,
            },
            Val::List(_) | Val::Object(_) => {
                let (val, path) = (val.clone(), path.to_owned());
                Shown::from_object(Gathered { val, path, probe: Arc::clone(self) })
            }
        }
    }

    fn show_item(self: &Arc<Self>, items: &Data, index: usize, path: &str) -> Shown {
        let items = match items {
            Data::Json(items) => Arc::clone(items),
            Data::Blob(blob) => match self.blob(*blob) {
                Some(items) => items,
                None => return Shown::UNDEFINED,
            },
        };
        self.show_json(&items, Arc::from([Turn::Index(index)]), path)
    }

    /// Shows the value at `way` within `root`, without copying what is not asked for.
    fn show_json(self: &Arc<Self>, root: &Arc<Value>, way: Arc<[Turn]>, path: &str) -> Shown {
        match walk(root, &way) {
            None | Some(Value::Null) => Shown::from(()),
            Some(Value::Bool(value)) => Shown::from(*value),
            Some(Value::String(text)) => Shown::from(text.as_str()),
            Some(Value::Number(number)) => {
                if let Some(integer) = number.as_i64() {
                    Shown::from(integer)
                } else if let Some(integer) = number.as_u64() {
                    Shown::from(integer)
                } else {
                    Shown::from(number.as_f64().unwrap_or_default())
                }
            }
            Some(Value::Array(_) | Value::Object(_)) => Shown::from_object(Json {
                root: Arc::clone(root),
                way,
                path: path.to_owned(),
                probe: Arc::clone(self),
            }),
        }
    }
}

struct Root(Context);

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{…}")
    }
}

impl Object for Root {
    fn get_value(self: &Arc<Self>, key: &Shown) -> Option<Shown> {
        let name = key.as_str()?;
        if name == "steps" {
            return Some(Shown::from_object(Steps(self.0.clone())));
        }
        if let Some((items, index)) = self.0.names.item(name) {
            return Some(self.0.probe.show_item(&items, index, name));
        }
        let val = self.0.names.name(name)?;
        Some(self.0.probe.show(&val, name))
    }
}

struct Steps(Context);

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{…}")
    }
}

impl Object for Steps {
    fn get_value(self: &Arc<Self>, key: &Shown) -> Option<Shown> {
        let id = key.as_str()?.to_owned();
        if self.0.names.step(&id, "status").is_none() {
            self.0.probe.missing(format!("steps.{id}"));
            return None;
        }
        Some(Shown::from_object(Step { context: self.0.clone(), id }))
    }
}

struct Step {
    context: Context,
    id: String,
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "steps.{}", self.id)
    }
}

impl Object for Step {
    fn get_value(self: &Arc<Self>, key: &Shown) -> Option<Shown> {
        let field = key.as_str()?;
        let path = format!("steps.{}.{field}", self.id);
        if let Some(val) = self.context.names.step(&self.id, field) {
            return Some(self.context.probe.show(&val, &path));
        }
        self.context.probe.missing(path);
        None
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["status", "output", "error", "visit"])
    }
}

/// One step on the way into a JSON value.
#[derive(Debug, Clone)]
enum Turn {
    Key(String),
    Index(usize),
}

fn walk<'a>(root: &'a Value, way: &[Turn]) -> Option<&'a Value> {
    way.iter().try_fold(root, |value, turn| match turn {
        Turn::Key(key) => value.get(key),
        Turn::Index(index) => value.get(index),
    })
}

/// A list or object within a JSON value.
pub(crate) struct Json {
    root: Arc<Value>,
    way: Arc<[Turn]>,
    path: String,
    probe: Arc<Probe>,
}

impl Json {
    pub(crate) fn value(&self) -> Option<&Value> {
        walk(&self.root, &self.way)
    }

    fn below(&self, turn: Turn) -> Shown {
        let path = match &turn {
            Turn::Key(key) => format!("{}.{key}", self.path),
            Turn::Index(index) => format!("{}[{index}]", self.path),
        };
        let way = self.way.iter().cloned().chain([turn]).collect();
        self.probe.show_json(&self.root, way, &path)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value() {
            Some(value) => write!(f, "{value}"),
            None => f.write_str("null"),
        }
    }
}

impl Object for Json {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        match self.value() {
            Some(Value::Array(_)) => ObjectRepr::Seq,
            _ => ObjectRepr::Map,
        }
    }

    fn get_value(self: &Arc<Self>, key: &Shown) -> Option<Shown> {
        match self.value()? {
            Value::Array(items) => {
                let index = key.as_usize()?;
                if index < items.len() {
                    return Some(self.below(Turn::Index(index)));
                }
                self.probe.missing(format!("{}[{index}]", self.path));
                None
            }
            Value::Object(map) => {
                let name = key.as_str()?;
                if map.contains_key(name) {
                    return Some(self.below(Turn::Key(name.to_owned())));
                }
                self.probe.missing(format!("{}.{name}", self.path));
                None
            }
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match self.value() {
            Some(Value::Array(items)) => Enumerator::Seq(items.len()),
            Some(Value::Object(map)) => {
                Enumerator::Values(map.keys().map(|key| Shown::from(key.as_str())).collect())
            }
            _ => Enumerator::Empty,
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A list or object gathered from parts.
pub(crate) struct Gathered {
    pub(crate) val: Val,
    path: String,
    pub(crate) probe: Arc<Probe>,
}

impl Gathered {
    pub(crate) fn to_json(&self) -> Value {
        let mut missing = Vec::new();
        let probe = &self.probe;
        self.val.to_json(&|blob| probe.blob(blob), &mut missing)
    }
}

impl fmt::Debug for Gathered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_json())
    }
}

impl Object for Gathered {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        match self.val {
            Val::List(_) => ObjectRepr::Seq,
            Val::Object(_) | Val::Data(_) => ObjectRepr::Map,
        }
    }

    fn get_value(self: &Arc<Self>, key: &Shown) -> Option<Shown> {
        let (found, path) = match &self.val {
            Val::List(items) => {
                let index = key.as_usize()?;
                (items.get(index), format!("{}[{index}]", self.path))
            }
            Val::Object(entries) => {
                let name = key.as_str()?;
                (entries.get(name), format!("{}.{name}", self.path))
            }
            Val::Data(_) => return None,
        };
        if let Some(val) = found {
            return Some(self.probe.show(val, &path));
        }
        self.probe.missing(path);
        None
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        match &self.val {
            Val::List(items) => Enumerator::Seq(items.len()),
            Val::Object(entries) => {
                Enumerator::Values(entries.keys().map(|key| Shown::from(key.as_str())).collect())
            }
            Val::Data(_) => Enumerator::Empty,
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
