//! Resource names: `namespaces/{ns}`, `namespaces/{ns}/sagas/{id}`, `namespaces/{ns}/definitions/{name}`. Parsed strictly, so
//! that nothing behind this wall sees a namespace that is not a DNS label. Deliberately not here: whether they exist.

use amends_core::SagaId;
use amends_definitions::limits::ID_BYTES_MAX;
use amends_orchestrator::{Kind, Refusal};

use crate::limits::{LABEL_BYTES_MAX, RESOURCE_NAME_BYTES_MAX};
use crate::status::invalid;

/// A saga's resource name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SagaName {
    /// The tenant.
    pub namespace: String,
    /// The saga.
    pub id: SagaId,
}

/// A definition's resource name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefinitionName {
    /// The tenant.
    pub namespace: String,
    /// The definition's id.
    pub id: String,
}

/// Reads `namespaces/{ns}`.
///
/// # Errors
/// `INVALID_ARGUMENT` about the field.
pub fn namespace(field: &str, text: &str) -> Result<String, Refusal> {
    let [namespace] = segments(field, text, ["namespaces"])?;
    Ok(label(field, "the namespace", namespace)?.to_owned())
}

/// Reads `namespaces/{ns}/sagas/{id}`.
///
/// # Errors
/// `INVALID_ARGUMENT` about the field; `NOT_FOUND` for a UUID that no saga can have.
pub fn saga(field: &str, text: &str) -> Result<SagaName, Refusal> {
    let [namespace, id] = segments(field, text, ["namespaces", "sagas"])?;
    let namespace = label(field, "the namespace", namespace)?.to_owned();
    let uuid = uuid::Uuid::try_parse(id)
        .ok()
        .filter(|uuid| uuid.hyphenated().to_string() == id)
        .ok_or_else(|| {
            invalid(
                "NAME_INVALID",
                field,
                "the saga's id is a UUID in lower case, as it was given out",
            )
        })?;
    let id = SagaId::from_uuid(uuid).map_err(|_| {
        Refusal::new(
            Kind::NotFound,
            "SAGA_NOT_FOUND",
            format!("there is no saga {text}"),
        )
        .with_metadata("resource", text)
    })?;
    Ok(SagaName { namespace, id })
}

/// Reads `namespaces/{ns}/definitions/{name}`.
///
/// # Errors
/// `INVALID_ARGUMENT` about the field.
pub fn definition(field: &str, text: &str) -> Result<DefinitionName, Refusal> {
    let [namespace, id] = segments(field, text, ["namespaces", "definitions"])?;
    Ok(DefinitionName {
        namespace: label(field, "the namespace", namespace)?.to_owned(),
        id: label(field, "the definition's id", id)?.to_owned(),
    })
}

/// Checks a definition's id that stands alone.
///
/// # Errors
/// `INVALID_ARGUMENT` about the field.
pub fn definition_id<'a>(field: &str, text: &'a str) -> Result<&'a str, Refusal> {
    label(field, "the definition's id", text)
}

/// A saga's resource name as text.
#[must_use]
pub fn of_saga(namespace: &str, id: SagaId) -> String {
    format!("namespaces/{namespace}/sagas/{id}")
}

/// A definition's resource name as text.
#[must_use]
pub fn of_definition(namespace: &str, id: &str) -> String {
    format!("namespaces/{namespace}/definitions/{id}")
}

/// A DNS label: 1 to 63 of a–z, 0–9 and `-`, with a letter or digit at both ends.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= LABEL_BYTES_MAX
        && bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|byte| edge(byte) || *byte == b'-')
}

/// A step's or a signal's id: 1 to 63 of letters, digits, `_` and `-`, and not a `-` alone.
#[must_use]
pub fn is_step_id(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=ID_BYTES_MAX).contains(&text.len()) && text != "-" && text.bytes().all(word)
}

fn label<'a>(field: &str, what: &str, text: &'a str) -> Result<&'a str, Refusal> {
    if is_label(text) {
        return Ok(text);
    }
    let description = format!(
        "{what} is 1 to {LABEL_BYTES_MAX} of a-z, 0-9 and -, with a letter or a digit at both ends"
    );
    Err(invalid("NAME_INVALID", field, description))
}

fn segments<'a, const N: usize>(
    field: &str,
    text: &'a str,
    collections: [&str; N],
) -> Result<[&'a str; N], Refusal> {
    let pattern = || {
        let parts: Vec<String> = collections
            .iter()
            .map(|name| format!("{name}/{{id}}"))
            .collect();
        invalid(
            "NAME_INVALID",
            field,
            format!("it has the form {}", parts.join("/")),
        )
    };
    if text.len() > RESOURCE_NAME_BYTES_MAX {
        return Err(pattern());
    }
    let mut parts = text.split('/');
    let mut ids = [""; N];
    for (collection, id) in collections.iter().zip(&mut ids) {
        if parts.next() != Some(*collection) {
            return Err(pattern());
        }
        *id = parts.next().ok_or_else(pattern)?;
    }
    if parts.next().is_some() {
        Err(pattern())
    } else {
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "019aa578-c07b-8abc-bfff-ffffffffffff";

    #[test]
    fn names_read_back() {
        assert_eq!(
            namespace("parent", "namespaces/default").unwrap(),
            "default"
        );
        let text = format!("namespaces/a-1/sagas/{ID}");
        let name = saga("name", &text).unwrap();
        assert_eq!(of_saga(&name.namespace, name.id), text);
        let text = "namespaces/default/definitions/place-order";
        let name = definition("name", text).unwrap();
        assert_eq!(of_definition(&name.namespace, &name.id), text);
    }

    #[test]
    fn b1_to_b3_an_empty_a_climbing_a_nul_and_an_endless_namespace_are_invalid_arguments() {
        let long = format!("namespaces/{}", "a".repeat(1_001));
        let over = format!("namespaces/{}", "a".repeat(64));
        for text in [
            "",
            "namespaces",
            "namespaces/",
            "namespaces/../x",
            "namespaces/..",
            "namespaces/a\0b",
            "namespaces/A",
            "namespaces/-a",
            "namespaces/a-",
            "namespaces/a/",
            "namespaces/a/b",
            "/namespaces/a",
            "projects/a",
            "namespaces/ä",
            &long,
            &over,
        ] {
            let refusal = namespace("parent", text).unwrap_err();
            assert_eq!(
                (refusal.kind, refusal.reason),
                (Kind::InvalidArgument, "NAME_INVALID"),
                "{text:?}"
            );
            assert_eq!(refusal.violations[0].0, "parent");
        }
        assert!(namespace("parent", &format!("namespaces/{}", "a".repeat(63))).is_ok());
    }

    #[test]
    fn an_id_in_another_spelling_is_invalid_and_a_foreign_uuid_is_not_found() {
        let upper = format!("namespaces/a/sagas/{}", ID.to_uppercase());
        for text in [
            "namespaces/a/sagas/x",
            "namespaces/a/sagas/",
            &upper,
            "namespaces/a/definitions/b",
        ] {
            assert_eq!(
                saga("name", text).unwrap_err().kind,
                Kind::InvalidArgument,
                "{text}"
            );
        }
        let foreign = saga(
            "name",
            "namespaces/a/sagas/936da01f-9abd-4d9d-80c7-02af85c822a8",
        )
        .unwrap_err();
        assert_eq!(
            (foreign.kind, foreign.reason),
            (Kind::NotFound, "SAGA_NOT_FOUND")
        );
    }
}
