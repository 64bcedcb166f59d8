//! What a document may say, as JSON Schema, found by asking the readers.
//!
//! Called for the description of the admin API. A reader is run over a probe in place of a value: each typed reader notes what it would take and gives
//! nothing, so that the readers, their words and their ranges are written once. What only a parser knows (that a text is a host) is not in a
//! schema, nor what holds between two values: such a document is refused all the same. Pure.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Value as Json, json};

/// What is noted of one value.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    /// Keywords that stand for themselves.
    keywords: RefCell<Map<String, Json>>,
    members: RefCell<BTreeMap<&'static str, Rc<Self>>>,
    required: RefCell<Vec<&'static str>>,
    /// Of each element of an array, or of each member whatever its name, by the keyword.
    each: RefCell<Option<(&'static str, Rc<Self>)>>,
    /// One of these.
    either: RefCell<Vec<Rc<Self>>>,
}

impl Probe {
    /// Notes keywords.
    pub(crate) fn note(&self, keywords: Json) {
        if let Json::Object(keywords) = keywords {
            self.keywords.borrow_mut().extend(keywords);
        }
    }

    /// A table's member of this name.
    pub(crate) fn member(&self, name: &'static str) -> Rc<Self> {
        Rc::clone(self.members.borrow_mut().entry(name).or_default())
    }

    /// Notes that a table must have this member.
    pub(crate) fn require(&self, name: &'static str) {
        self.required.borrow_mut().push(name);
    }

    /// Whether it must have any member.
    pub(crate) fn is_demanding(&self) -> bool {
        !self.required.borrow().is_empty()
    }

    /// What each element (`items`) or each member (`additionalProperties`) is.
    pub(crate) fn each(&self, keyword: &'static str) -> Rc<Self> {
        let probe = Rc::<Self>::default();
        *self.each.borrow_mut() = Some((keyword, Rc::clone(&probe)));
        probe
    }

    /// One more thing that the value may be.
    pub(crate) fn or(&self) -> Rc<Self> {
        let probe = Rc::<Self>::default();
        self.either.borrow_mut().push(Rc::clone(&probe));
        probe
    }

    /// All that was noted.
    pub(crate) fn schema(&self) -> Json {
        let mut schema = self.keywords.borrow().clone();
        let members = self.members.borrow();
        if !members.is_empty() {
            let members = members
                .iter()
                .map(|(name, probe)| ((*name).to_owned(), probe.schema()));
            schema.insert("properties".into(), members.collect());
            schema.insert("additionalProperties".into(), false.into());
        }
        let required = self.required.borrow();
        if !required.is_empty() {
            schema.insert("required".into(), json!(*required));
        }
        if let Some((keyword, probe)) = &*self.each.borrow() {
            schema.insert((*keyword).into(), probe.schema());
        }
        let either = self.either.borrow();
        if !either.is_empty() {
            let either = either.iter().map(|probe| probe.schema());
            schema.insert("anyOf".into(), either.collect());
        }
        schema.into()
    }
}
