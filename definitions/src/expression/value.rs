//! JSON to CEL and back. The `cel` crate's own conversion makes positive integers unsigned, so `qty * 2` fails there.
//! Here: an integer that fits 64 bits is an `int`, a larger one is carried but not computed with, all others are doubles.

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt, Type,
};
use cel::common::value::{StaticVal, Val};

use super::charge;
use super::reference::Projection;
use crate::json::{self, Fault, Reader};
use crate::limits::{PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX};

/// A value of CEL that may borrow from a payload's text.
pub(super) type Value<'v> = Box<dyn Val + 'v>;

/// An integer beyond 64 bits: its digits. It has no operators.
#[derive(Clone, Debug)]
pub(super) struct BigInteger(String);

static BIG_INTEGER: Type = Type::new_unspecified_type("integer_beyond_64_bits");

impl Val for BigInteger {
    fn get_type(&self) -> &Type {
        &BIG_INTEGER
    }

    fn cel_type() -> &'static Type {
        &BIG_INTEGER
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for BigInteger {}

/// Reads the parts of a JSON text that an expression refers to.
pub(super) fn from_json<'v>(text: &'v str, wanted: &Projection) -> Result<Value<'v>, Fault> {
    read(&mut Reader::new(text), wanted, 0)
}

/// A map of CEL.
pub(super) fn map<'v>(entries: impl IntoIterator<Item = (&'v str, Value<'v>)>) -> Value<'v> {
    let entries: HashMap<CelMapKey<'v>, Value<'v>> = entries
        .into_iter()
        .map(|(key, value)| (CelMapKey::from(key), value))
        .collect();
    Box::new(CelMap::from(entries))
}

/// A string of CEL.
pub(super) fn string<'v>(text: &'v str) -> Value<'v> {
    Box::new(CelString::from(text))
}

/// As [`string`], of a text of its own.
pub(super) fn text(text: String) -> Value<'static> {
    Box::new(CelString::from(text))
}

/// Why a value of CEL has no JSON.
pub(super) enum NoJson {
    /// It is not a kind of value that JSON has.
    Kind(String),
    /// Longer than a payload may be.
    TooLarge,
}

/// Writes a value as JSON: keys sorted, integers as integers, doubles as doubles.
pub(super) fn write_json(value: &dyn Val, out: &mut String, depth: usize) -> Result<(), NoJson> {
    if out.len() > PAYLOAD_BYTES_MAX {
        return Err(NoJson::TooLarge);
    }
    if depth > PAYLOAD_DEPTH_MAX {
        return Err(NoJson::Kind("the value is nested too deep".into()));
    }
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        out.push('[');
        for (nth, item) in list.inner().iter().enumerate() {
            if nth > 0 {
                out.push(',');
            }
            write_json(item.as_ref(), out, depth + 1)?;
        }
        out.push(']');
        return Ok(());
    }
    if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        let mut entries = Vec::with_capacity(map.inner().len());
        for (key, value) in map.inner() {
            match key.inner().downcast_ref::<CelString<'_>>() {
                Some(key) => entries.push((key.inner(), value)),
                None => return Err(NoJson::Kind("a key is not a string".into())),
            }
        }
        entries.sort_unstable_by_key(|(key, _)| *key);
        out.push('{');
        for (nth, (key, value)) in entries.into_iter().enumerate() {
            if nth > 0 {
                out.push(',');
            }
            json::write_string(out, key);
            out.push(':');
            write_json(value.as_ref(), out, depth + 1)?;
        }
        out.push('}');
        return Ok(());
    }
    match scalar(value)? {
        Scalar::Text(text) => json::write_string(out, &text),
        Scalar::Other(text) => out.push_str(&text),
    }
    Ok(())
}

/// A value without parts.
pub(super) enum Scalar<'a> {
    /// A string.
    Text(Cow<'a, str>),
    /// A number, a bool or null, as JSON.
    Other(Cow<'a, str>),
}

/// The scalar that a value is.
pub(super) fn scalar<'a>(value: &'a (dyn Val + '_)) -> Result<Scalar<'a>, NoJson> {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return Ok(Scalar::Text(text.inner().into()));
    }
    let text: Cow<'a, str> = if let Some(int) = value.downcast_ref::<CelInt>() {
        int.inner().to_string().into()
    } else if let Some(bool) = value.downcast_ref::<CelBool>() {
        if *bool.inner() { "true" } else { "false" }.into()
    } else if let Some(double) = value.downcast_ref::<CelDouble>() {
        if !double.inner().is_finite() {
            return Err(NoJson::Kind(format!("JSON has no {}", double.inner())));
        }
        let mut text = String::new();
        json::write_double(&mut text, *double.inner());
        text.into()
    } else if value.downcast_ref::<CelNull>().is_some() {
        "null".into()
    } else if let Some(uint) = value.downcast_ref::<CelUInt>() {
        uint.inner().to_string().into()
    } else if let Some(integer) = value.downcast_ref::<BigInteger>() {
        integer.0.as_str().into()
    } else {
        let kind = value.get_type().name();
        return Err(NoJson::Kind(format!(
            "JSON has no {kind}; string() makes it a string"
        )));
    };
    Ok(Scalar::Other(text))
}

fn read<'v>(
    reader: &mut Reader<'v>,
    wanted: &Projection,
    depth: usize,
) -> Result<Value<'v>, Fault> {
    if depth > PAYLOAD_DEPTH_MAX {
        return reader.fault("nested too deep");
    }
    if charge::debit(1).is_err() {
        return reader.fault("more values than the budget allows");
    }
    if let Projection::Presence = wanted {
        reader.skip()?;
        return Ok(Box::new(CelNull));
    }
    Ok(match reader.peek() {
        Some(b'{') => {
            let mut entries: HashMap<CelMapKey<'v>, Value<'v>> = HashMap::new();
            reader.members::<Fault>(|reader, key| {
                match wanted.field(&key) {
                    Some(wanted) => {
                        if charge::debit_copy(key.len()).is_err() {
                            return reader.fault("more keys than the budget allows");
                        }
                        let key = match key {
                            Cow::Borrowed(key) => CelMapKey::from(key),
                            Cow::Owned(key) => CelMapKey::from(key),
                        };
                        reader.peek();
                        entries.insert(key, read(reader, wanted, depth + 1)?);
                    }
                    None => drop(reader.skip()?),
                }
                Ok(())
            })?;
            Box::new(CelMap::from(entries))
        }
        Some(b'[') => {
            let mut items: Vec<Value<'v>> = Vec::new();
            reader.items::<Fault>(|reader| {
                items.push(read(reader, &Projection::Whole, depth + 1)?);
                Ok(())
            })?;
            Box::new(CelList::from(items))
        }
        Some(b'"') => Box::new(CelString::from(reader.string()?)),
        Some(b'-' | b'0'..=b'9') => number(reader)?,
        _ => match reader.word()? {
            "null" => Box::new(CelNull),
            word => Box::new(CelBool::from(word == "true")),
        },
    })
}

fn number<'v>(reader: &mut Reader<'v>) -> Result<Value<'v>, Fault> {
    let number = reader.number()?;
    if number.integer {
        return Ok(match number.text.parse::<i64>() {
            Ok(int) => Box::new(CelInt::from(int)),
            Err(_) => Box::new(BigInteger(number.text.to_owned())),
        });
    }
    match number.text.parse::<f64>() {
        Ok(double) => Ok(Box::new(CelDouble::from(double))),
        Err(_) => reader.fault("not a number"),
    }
}
