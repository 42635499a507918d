//! Operation keys and saga ids: one spelling each. What is read prints as it was read, and what is printed reads back.

use amends_core::{Incarnation, OperationKey, SagaId};
use amends_tests::fuzz::{self, Choices};
use uuid::Uuid;

use crate::facts;

/// Bad input B39.
const SEEDS: [&str; 8] = [
    "019aa578c07b8abcbfffffffffffffff/default/019aa578-c07b-8abc-bfff-ffffffffffff/charge/0/0/forward",
    "019aa578c07b8abcbfffffffffffffff/default/019aa578-c07b-8abc-bfff-ffffffffffff/charge/4294967295/17/compensate",
    "019aa578c07b8abcbfffffffffffffff/default/019aa578-c07b-8abc-bfff-ffffffffffff/charge/0/0/query",
    "00/default/019AA578-C07B-8ABC-BFFF-FFFFFFFFFFFF/charge/+0/00/forward",
    "///////",
    "019aa578-c07b-8abc-bfff-ffffffffffff",
    "{019aa578-c07b-8abc-bfff-ffffffffffff}",
    "urn:uuid:019aa578-c07b-8abc-bfff-ffffffffffff",
];

const WORDS: &[&str] = &[
    "/",
    "0",
    "00",
    "4294967296",
    "-1",
    "forward",
    "query",
    "\0",
    "é",
    "../",
    " ",
    "-",
    "ff",
];

pub fn run() {
    let corpus = SEEDS.map(|seed| seed.as_bytes().to_vec()).to_vec();
    fuzz::run(&super::target("keys", corpus, WORDS), key);
}

fn key(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        if let Ok(key) = text.parse::<OperationKey>() {
            assert_eq!(key.to_string(), text);
        }
        if let Ok(id) = text.parse::<SagaId>() {
            assert_eq!(id.to_string(), text);
        }
    }
    let mut choices = Choices::new(input);
    let saga = facts::saga(&mut choices);
    assert_eq!(saga.to_string().parse(), Ok(saga));
    let mut name = || format!("a{}", choices.text().replace('/', "-"));
    let (namespace, step) = (name(), name());
    let key = OperationKey {
        incarnation: Incarnation(Uuid::from_u128(u128::from(choices.number()))),
        namespace: namespace.into(),
        saga,
        step: step.into(),
        item: u32::from(choices.byte()),
        round: u32::from(choices.byte()),
        operation: facts::operation(&mut choices),
    };
    assert_eq!(key.to_string().parse(), Ok(key));
}
