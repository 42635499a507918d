//! Where a part of a mapping's value comes from, as far as the template says it: followed through objects to an expression that
//! is a path. Deliberately not here: what an expression computes.

use serde_json::Value;

use super::Mapping;
use super::hints::{Names, value_path};
use super::template::{Part, split};

/// Where a part comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// From what is at this path.
    At(Vec<String>),
    /// The template itself has it.
    Written,
    /// An expression computes it, or it may not be there.
    Computed,
}

/// Where the part at these fields of a mapping's value comes from. Within `with_room`.
pub(crate) fn origin(mapping: &Mapping, fields: &[String], names: &Names) -> Origin {
    let Ok(template) = serde_json::from_str::<Value>(mapping.source()) else {
        return Origin::Computed;
    };
    let (mut here, mut rest) = (&template, fields);
    while let (Value::Object(object), [field, more @ ..]) = (here, rest) {
        let Some(part) = object.get(field) else {
            return Origin::Computed;
        };
        (here, rest) = (part, more);
    }
    let source = here
        .as_str()
        .and_then(|text| match split(text).ok()?.as_slice() {
            [Part::Source(source)] => text.get(source.clone()),
            _ => None,
        });
    match source.and_then(|source| value_path(source, names)) {
        Some(mut path) => {
            path.extend_from_slice(rest);
            Origin::At(path)
        }
        None if rest.is_empty() => Origin::Written,
        None => Origin::Computed,
    }
}
