//! Messages of the protocol out of choices, from its descriptors: a method or a field that comes later is attacked without
//! a word here. Most fields have what their name asks for, so that a message gets past the first check; some have not, and
//! some are no fields at all.

use std::collections::BTreeMap;

use amends_tests::fuzz::Choices;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// What stands where it should not.
const ODD: &[&str] = &[
    "",
    "namespaces/nobody",
    "namespaces/",
    "namespaces/../default",
    "namespaces/a\0b",
    "namespaces/default/sagas/x",
    "namespaces/default/definitions/order/revisions/1",
    "shop.",
    "no code",
    "00ff",
    "zz",
    "'; DROP TABLE sagas; --",
    "\u{1F980}",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];
const PARENTS: &[&str] = &[
    "namespaces/default",
    "namespaces/default",
    "namespaces/other",
    "namespaces/nobody",
];
const DEFINITIONS: &[&str] = &[
    "namespaces/default/definitions/order",
    "namespaces/default/definitions/nobody",
    "order",
];
const PAYLOADS: &[&str] = &[
    "{\"order_id\":\"A-1\"}",
    "{}",
    "null",
    "",
    "[",
    "{\"a\":1,\"a\":2}",
    "1e400",
    "\"\\u0000\"",
    "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]",
    "{\"order_id\":{\"order_id\":-0.0}}",
];
const SOURCES: &[&str] = &[
    "apiVersion: amends/v1\nname: order\nsteps: [{id: a, call: shop.a, kind: pivot}]\n",
    "apiVersion: amends/v1\nname: other\nkey: input.k\nsteps: [{id: a, call: shop.a, compensate: {none: x}}]\n",
    "apiVersion: amends/v1\nname: 1\n",
    "a: &a [*a]",
    "\u{feff}a",
    "",
];
const KEYS: &[&str] = &[
    "019aa578c07b8000bfffffffffffffff/default/019aa578-c07b-8000-bfff-ffffffffffff/reserve/0/0/forward",
    "019aa578c07b8000bfffffffffffffff/other/019aa578-c07b-8000-bfff-ffffffffffff/reserve/0/0/compensate",
    "x",
    "",
];
const CODES: &[&str] = &["OUT_OF_STOCK", "X", "no code", "", "É"];

/// The protocol's messages.
pub struct Wire {
    messages: BTreeMap<String, DescriptorProto>,
    /// A saga that is there.
    saga: String,
}

impl Wire {
    pub fn new(set: &FileDescriptorSet, saga: String) -> Self {
        let mut messages = BTreeMap::new();
        for file in &set.file {
            let package = format!(".{}", file.package());
            for message in &file.message_type {
                keep(&mut messages, &package, message);
            }
        }
        Self { messages, saga }
    }

    /// A message of a type.
    pub fn message(&self, choices: &mut Choices<'_>, name: &str, depth: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let fields = self
            .messages
            .get(name)
            .map_or(&[][..], |message| &message.field);
        let mut oneofs = Vec::new();
        for field in fields {
            // Of a oneof, mostly one.
            let alternatives = fields
                .iter()
                .filter(|other| other.oneof_index == field.oneof_index);
            let alternatives = field.oneof_index.map_or(1, |_| alternatives.count());
            let taken = field
                .oneof_index
                .is_some_and(|oneof| oneofs.contains(&oneof));
            let left_out = match alternatives {
                1 => choices.below(6) == 5,
                many => taken || choices.below(many) != 0,
            };
            if left_out {
                continue;
            }
            oneofs.extend(field.oneof_index);
            let times = match field.label() {
                Label::Repeated => choices.below(4),
                Label::Optional | Label::Required => 1,
            };
            for _ in 0..times {
                self.field(&mut out, choices, field, depth);
            }
        }
        if choices.rarely(12) {
            odd_field(&mut out, choices);
        }
        if choices.rarely(24) {
            out.truncate(choices.below(64));
        }
        out
    }

    fn field(
        &self,
        out: &mut Vec<u8>,
        choices: &mut Choices<'_>,
        field: &FieldDescriptorProto,
        depth: usize,
    ) {
        let number = u64::from(field.number().unsigned_abs());
        match field.r#type() {
            Type::Message | Type::Group if depth > 0 => {
                let inner = self.message(choices, field.type_name(), depth - 1);
                bytes(out, number, &inner);
            }
            Type::Message | Type::Group => {}
            Type::String | Type::Bytes => {
                let text = self.text(choices, field.name());
                bytes(out, number, text.as_bytes());
            }
            Type::Double | Type::Fixed64 | Type::Sfixed64 => {
                varint(out, number << 3 | 1);
                out.extend(choices.number().to_le_bytes());
            }
            Type::Float | Type::Fixed32 | Type::Sfixed32 => {
                varint(out, number << 3 | 5);
                out.extend(&choices.number().to_le_bytes()[..4]);
            }
            _ => {
                varint(out, number << 3);
                let version = field.name() == "protocol_version" && !choices.rarely(16);
                let usual = if version { 1 } else { choices.below(6) as u64 };
                varint(
                    out,
                    if choices.rarely(8) {
                        choices.number()
                    } else {
                        usual
                    },
                );
            }
        }
    }

    fn text(&self, choices: &mut Choices<'_>, field: &str) -> String {
        if choices.rarely(12) {
            return choices.text();
        }
        if choices.rarely(12) {
            return choices.pick(ODD).to_owned();
        }
        let known = match field {
            "parent" | "namespace" => PARENTS,
            "definition" | "definition_id" => DEFINITIONS,
            "input" | "output" | "payload" => PAYLOADS,
            "source" => SOURCES,
            "operation_key" => KEYS,
            "code" => CODES,
            "participant" => &["shop", "shop", "no one"],
            "action" => &["shop.reserve", "shop.release", "shop.ship", "other.ship"],
            "step" => &["reserve", "charge", "nothing"],
            "page_token" => &["", "", "00ff"],
            "name" if choices.rarely(3) => DEFINITIONS,
            "name" if choices.rarely(4) => {
                &["namespaces/default/sagas/019aa578-c07b-8000-bfff-ffffffffffff"]
            }
            "name" => return self.saga.clone(),
            _ => &["a", "why not", "host-1", "order-1"],
        };
        choices.pick(known).to_owned()
    }
}

fn keep(messages: &mut BTreeMap<String, DescriptorProto>, above: &str, message: &DescriptorProto) {
    let name = format!("{above}.{}", message.name());
    for inner in &message.nested_type {
        keep(messages, &name, inner);
    }
    messages.insert(name, message.clone());
}

/// A field of any number and type of the wire, those that do not exist included.
fn odd_field(out: &mut Vec<u8>, choices: &mut Choices<'_>) {
    let number = match choices.below(3) {
        0 => choices.number() % (1 << 29),
        _ => choices.below(16) as u64,
    };
    varint(out, number << 3 | choices.below(8) as u64);
    let odd: Vec<u8> = (0..choices.below(12)).map(|_| choices.byte()).collect();
    out.extend(odd);
}

fn bytes(out: &mut Vec<u8>, number: u64, value: &[u8]) {
    varint(out, number << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}
