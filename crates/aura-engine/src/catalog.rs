//! What steps can call, by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use aura_core::ports::Activity;
use aura_core::tool::ToolDef;
use aura_graph::definition::Tools;

use crate::code::Code;

/// Activities by the names of their definitions, and functions by theirs.
#[derive(Clone, Default)]
pub struct Catalog {
    activities: BTreeMap<String, Arc<dyn Activity>>,
    functions: BTreeMap<String, Arc<dyn Code>>,
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.activities.keys()).finish()
    }
}

impl Catalog {
    /// A catalog of these activities; of two with one name the later stands.
    pub fn new(activities: impl IntoIterator<Item = Arc<dyn Activity>>) -> Self {
        let activities = activities.into_iter();
        let activities = activities.map(|a| (a.def().name.clone(), a)).collect();
        Self { activities, functions: BTreeMap::new() }
    }

    /// The same, with these functions.
    pub fn with(mut self, functions: impl IntoIterator<Item = Arc<dyn Code>>) -> Self {
        self.functions.extend(functions.into_iter().map(|code| (code.name().to_owned(), code)));
        self
    }

    /// The function of a name.
    pub fn function(&self, name: &str) -> Option<&Arc<dyn Code>> {
        self.functions.get(name)
    }

    /// The activity of a name.
    pub fn activity(&self, name: &str) -> Option<&Arc<dyn Activity>> {
        self.activities.get(name)
    }

    /// Every definition, by name.
    pub fn definitions(&self) -> impl Iterator<Item = &ToolDef> {
        self.activities.values().map(|activity| activity.def())
    }
}

impl Tools for Catalog {
    fn get(&self, name: &str) -> Option<ToolDef> {
        self.activities.get(name).map(|activity| activity.def().clone())
    }

    fn names(&self) -> Vec<String> {
        self.activities.keys().cloned().collect()
    }
}
