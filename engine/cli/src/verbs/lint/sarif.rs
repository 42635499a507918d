//! What was found, as SARIF 2.1.0: the form that code scanning services and editors take. Only what a linter has to say of
//! that large format. Deliberately not here: fixes as replacements of text, since a diagnostic's help is words.

use std::fmt::Write as _;

use amends_definitions::CODES;
use serde::Serialize;

use super::{FileView, FindingView};

/// The log of one run, as JSON with its final newline.
///
/// # Errors
/// None that is known: every part is text or a number.
pub fn render(files: &[FileView]) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(&log(files))?;
    text.push('\n');
    Ok(text)
}

fn log(files: &[FileView]) -> Log {
    let located = files.iter().enumerate();
    let results = located.flat_map(|(index, file)| {
        let findings = file.diagnostics.iter();
        findings.map(move |finding| result(index, file, finding))
    });
    let run = Run {
        tool: Tool {
            driver: Driver {
                name: "amends",
                version: env!("CARGO_PKG_VERSION"),
                rules: CODES.iter().map(rule).collect(),
            },
        },
        artifacts: files.iter().map(artifact).collect(),
        results: results.collect(),
        column_kind: "unicodeCodePoints",
    };
    Log {
        schema: "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        version: "2.1.0",
        runs: [run],
    }
}

fn rule(code: &(&'static str, &'static str)) -> Rule {
    let (id, meaning) = *code;
    // The list of codes marks those that never refuse a document.
    let level = if meaning.ends_with("(warning)") {
        "warning"
    } else {
        "error"
    };
    Rule {
        id,
        short_description: Message {
            text: meaning.to_owned(),
        },
        default_configuration: Configuration { level },
    }
}

fn artifact(file: &FileView) -> Artifact {
    Artifact {
        location: ArtifactLocation {
            uri: uri(&file.file),
            index: None,
        },
    }
}

fn result(index: usize, file: &FileView, finding: &FindingView) -> SarifResult {
    let mut text = finding.message.clone();
    if let Some(help) = &finding.help {
        let _ = write!(text, "\nhelp: {help}");
    }
    SarifResult {
        rule_id: finding.code,
        rule_index: CODES.iter().position(|(code, _)| *code == finding.code),
        level: finding.severity,
        message: Message { text },
        locations: [Location {
            physical_location: PhysicalLocation {
                artifact_location: ArtifactLocation {
                    uri: uri(&file.file),
                    index: Some(index),
                },
                region: Region {
                    start_line: finding.line,
                    start_column: finding.column,
                    end_line: finding.end_line,
                    end_column: finding.end_column,
                },
            },
        }],
        properties: finding.help.clone().map(|help| Properties { help }),
    }
}

/// A path as a reference of RFC 3986: relative to where the command ran, or of a file on this machine.
fn uri(path: &str) -> String {
    let path = match path {
        "-" => "stdin",
        path => path.strip_prefix("./").unwrap_or(path),
    };
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[derive(Serialize)]
struct Log {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    tool: Tool,
    artifacts: Vec<Artifact>,
    results: Vec<SarifResult>,
    column_kind: &'static str,
}

#[derive(Serialize)]
struct Tool {
    driver: Driver,
}

#[derive(Serialize)]
struct Driver {
    name: &'static str,
    version: &'static str,
    rules: Vec<Rule>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: &'static str,
    short_description: Message,
    default_configuration: Configuration,
}

#[derive(Serialize)]
struct Configuration {
    level: &'static str,
}

#[derive(Serialize)]
struct Message {
    text: String,
}

#[derive(Serialize)]
struct Artifact {
    location: ArtifactLocation,
}

#[derive(Serialize)]
struct ArtifactLocation {
    uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult {
    rule_id: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_index: Option<usize>,
    level: &'static str,
    message: Message,
    locations: [Location; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Properties>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: PhysicalLocation,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    region: Region,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u32,
    start_column: u32,
    end_line: u32,
    /// Behind the last character.
    end_column: u32,
}

#[derive(Serialize)]
struct Properties {
    help: String,
}

#[cfg(test)]
mod tests {
    use super::super::lint;
    use super::*;
    use serde_json::{Value, json};

    const BROKEN: &str = "apiVersion: amends/v1\nname: a\nsteps:\n  - {id: ä, kind: pivto, call: p.a}\n  - {id: t, needs: [], call: p.a, compensate: {call: p.b}}\n";

    fn sarif(files: &[FileView]) -> Value {
        serde_json::from_str(&render(files).expect("a form")).expect("JSON")
    }

    #[test]
    fn a_log_reads_and_writes_through_types_made_from_the_published_schema() {
        let files = [
            lint("b/ä b:c.saga.yaml", BROKEN.as_bytes(), None),
            lint("-", b"\xff", None),
        ];
        assert!(files.iter().all(|file| !file.diagnostics.is_empty()));
        let ours = sarif(&files);
        let typed: serde_sarif::sarif::Sarif =
            serde_json::from_value(ours.clone()).expect("SARIF 2.1.0");
        // A key that the format does not have would be lost.
        assert_eq!(serde_json::to_value(&typed).expect("JSON"), ours);
    }

    #[test]
    fn a_finding_has_its_region_in_characters_its_rule_and_its_fix() {
        let file = lint("a.saga.yaml", BROKEN.as_bytes(), None);
        let log = sarif(&[file]);
        let run = &log["runs"][0];
        let results = run["results"].as_array().expect("a list");
        let found = results
            .iter()
            .find(|result| result["ruleId"] == "WRONG_VALUE")
            .expect("the kind is wrong");
        assert_eq!(
            found["locations"][0]["physicalLocation"]["region"],
            json!({"startLine": 4, "startColumn": 19, "endLine": 4, "endColumn": 24})
        );
        assert_eq!(found["level"], "error");
        let text = found["message"]["text"].as_str().expect("text");
        assert!(text.ends_with("\nhelp: did you mean `pivot`?"), "{text}");
        let rule = found["ruleIndex"].as_u64().expect("a number");
        let rules = run["tool"]["driver"]["rules"].as_array().expect("a list");
        assert_eq!(
            rules[usize::try_from(rule).expect("small")]["id"],
            "WRONG_VALUE"
        );
        assert_eq!(rules.len(), CODES.len());
    }

    #[test]
    fn rules_say_which_of_them_only_warn() {
        let log = sarif(&[]);
        let rules = log["runs"][0]["tool"]["driver"]["rules"].clone();
        let level = |id: &str| {
            let rules = rules.as_array().expect("a list").iter();
            let mut found = rules.filter(|rule| rule["id"] == id);
            found.next().expect("the rule")["defaultConfiguration"]["level"].clone()
        };
        assert_eq!(level("UNUSED_POLICY"), "warning");
        assert_eq!(level("CYCLE"), "error");
        assert_eq!(log["runs"][0]["results"], json!([]));
    }

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("./a/b.saga.yaml"), "a/b.saga.yaml");
        assert_eq!(uri("/a b/c#?.yaml"), "file:///a%20b/c%23%3F.yaml");
        assert_eq!(uri("c:ä%.yaml"), "c%3A%C3%A4%25.yaml");
        assert_eq!(uri("-"), "stdin");
    }
}
