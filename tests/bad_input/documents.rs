//! Definitions that are none. What each rule finds is told by the corpus in `definitions/`; here every one of its documents
//! goes over the wire, and the hostile ones have to be answered at once.

use std::path::Path;
use std::time::Instant;

use amends_proto::v1;
use amends_proto::v1::definition_service_client::DefinitionServiceClient;
use amends_sdk::RpcError;
use tonic::{Code, Response, Status};

use super::{AT_ONCE, healthy, refused, stage};
use crate::stage::Stage;

async fn apply(
    stage: &Stage,
    source: &str,
) -> Result<Response<v1::ApplyDefinitionResponse>, Status> {
    let client = DefinitionServiceClient::new(stage.channel().await);
    let request = v1::ApplyDefinitionRequest {
        parent: "namespaces/default".to_owned(),
        source: source.to_owned(),
        definition_id: String::new(),
    };
    client
        .max_encoding_message_size(64 << 20)
        .apply_definition(request)
        .await
}

/// The document is refused, with this code at a line and a column.
async fn found(stage: &Stage, source: &str, code: &str) -> RpcError {
    let began = Instant::now();
    let answer = apply(stage, source).await;
    assert!(
        began.elapsed() < AT_ONCE,
        "{code} took {:?}",
        began.elapsed()
    );
    let error = refused(answer, Code::InvalidArgument, "DEFINITION_INVALID", source);
    let named = error
        .violations
        .iter()
        .find(|violation| violation.description.starts_with(&format!("{code}: ")));
    let named = named.unwrap_or_else(|| panic!("no {code} for {:.200}: {error:?}", source));
    let place: Vec<&str> = named.field.split(':').collect();
    assert!(
        place.len() == 3
            && place[0] == "source"
            && place[1..]
                .iter()
                .all(|n| n.parse::<u32>().is_ok_and(|n| n > 0)),
        "{named:?}"
    );
    error
}

/// A document around these steps.
fn steps(steps: &str) -> String {
    format!("apiVersion: amends/v1\nname: bad\nsteps:\n{steps}\n")
}

/// A document whose one step has these keys besides.
fn step(keys: &str) -> String {
    steps(&format!(
        "  - {{id: a, call: shop.a, compensate: {{none: \"it is a test\"}}, {keys}}}"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rejected_document_of_the_corpus_is_refused_over_the_wire_at_the_same_place() {
    let stage = stage().await;
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../definitions/corpus/rejected");
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap().flatten() {
        let path = entry.path();
        let Some(name) = path
            .to_str()
            .unwrap()
            .strip_suffix(".yaml")
            .map(ToOwned::to_owned)
        else {
            continue;
        };
        // What is no UTF-8 cannot even be a request.
        let Ok(source) = std::fs::read_to_string(&path) else {
            continue;
        };
        let expected = std::fs::read_to_string(format!("{name}.expected")).unwrap();
        let first = expected
            .lines()
            .find_map(|line| line.strip_prefix("error["))
            .unwrap();
        let code = first.split(']').next().unwrap();
        found(&stage, &source, code).await;
        count += 1;
    }
    assert!(count > 60, "the corpus is here: {count}");
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b24_what_is_no_single_mapping_of_plain_text_is_refused_with_line_and_column() {
    let stage = stage().await;
    let document = steps("  - {id: a, call: shop.a, compensate: {none: \"x\"}}");
    found(&stage, "", "EMPTY").await;
    found(&stage, "# nothing\n", "EMPTY").await;
    found(&stage, "- a\n- b\n", "NOT_A_MAPPING").await;
    found(&stage, "text", "NOT_A_MAPPING").await;
    found(
        &stage,
        &format!("{document}---\n{document}"),
        "SEVERAL_DOCUMENTS",
    )
    .await;
    found(&stage, &format!("\u{feff}{document}"), "ENCODING").await;
    found(&stage, &document.replace("  - ", "\t- "), "TAB").await;
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b25_aliases_merges_and_tags_are_forbidden_before_they_cost_anything() {
    let stage = stage().await;
    let mut laughs = String::from("a0: &a0 [lol, lol]\n");
    for level in 1..40 {
        let previous = level - 1;
        laughs.push_str(&format!(
            "a{level}: &a{level} [*a{previous}, *a{previous}, *a{previous}]\n"
        ));
    }
    found(&stage, &laughs, "ALIASES_FORBIDDEN").await;
    found(&stage, "a: &a [*a]\n", "ALIASES_FORBIDDEN").await;
    found(&stage, "a: {x: 1}\nb:\n  <<: {y: 2}\n", "ALIASES_FORBIDDEN").await;
    found(
        &stage,
        "a: !!python/object:os.system [ls]\n",
        "TAG_FORBIDDEN",
    )
    .await;
    found(&stage, "a: !include secrets.yaml\n", "TAG_FORBIDDEN").await;
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b26_depth_size_and_width_are_bounded() {
    let stage = stage().await;
    let deep = format!("a: {}{}", "[".repeat(10_000), "]".repeat(10_000));
    found(&stage, &deep, "DOCUMENT_TOO_DEEP").await;
    let block: String = (0..200)
        .map(|depth| format!("{}a:\n", " ".repeat(depth)))
        .collect();
    found(&stage, &block, "DOCUMENT_TOO_DEEP").await;
    for bytes in [256 * 1024 + 1, 3 << 20, 16 << 20] {
        let began = Instant::now();
        let status = apply(&stage, &format!("a: {}", "x".repeat(bytes)))
            .await
            .unwrap_err();
        assert!(
            began.elapsed() < AT_ONCE,
            "{bytes} took {:?}",
            began.elapsed()
        );
        let expected = [Code::InvalidArgument, Code::ResourceExhausted];
        assert!(expected.contains(&status.code()), "{bytes}: {status:?}");
    }
    let wide: String = (0..40_000).map(|key| format!("k{key:05}: \n")).collect();
    let status = apply(&stage, &wide).await.unwrap_err();
    assert!(
        [Code::InvalidArgument, Code::ResourceExhausted].contains(&status.code()),
        "{status:?}"
    );
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b27_duplicate_and_unknown_keys_and_ambiguous_scalars_are_named_with_a_suggestion() {
    let stage = stage().await;
    found(
        &stage,
        "apiVersion: amends/v1\napiVersion: amends/v1\n",
        "DUPLICATE_KEY",
    )
    .await;
    let error = found(&stage, &step("retires: {}"), "UNKNOWN_KEY").await;
    assert!(
        format!("{error:?}").contains("retry"),
        "it suggests what was meant: {error:?}"
    );
    found(
        &stage,
        &steps("  - {id: no, call: shop.a, compensate: {none: \"x\"}}"),
        "NOT_TEXT",
    )
    .await;
    let versioned = step("input: {}").replace("name: bad\n", "name: bad\nversion: 1.10\n");
    let error = apply(&stage, &versioned).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b28_a_graph_with_a_cycle_or_a_hole_is_refused_and_the_cycle_is_listed() {
    let stage = stage().await;
    let none = "compensate: {none: \"x\"}";
    let cycle = steps(&format!(
        "  - {{id: first, needs: [third], call: shop.a, {none}}}\n  - {{id: second, needs: [first], call: shop.a, {none}}}\n  - {{id: third, needs: [second], call: shop.a, {none}}}"
    ));
    let error = found(&stage, &cycle, "CYCLE").await;
    let text = format!("{error:?}");
    assert!(
        ["first", "second", "third"]
            .iter()
            .all(|id| text.contains(id)),
        "{text}"
    );
    found(&stage, &step("needs: [a]"), "CYCLE").await;
    found(&stage, &step("needs: [nobody]"), "UNKNOWN_STEP").await;
    let twice = steps(&format!(
        "  - {{id: a, call: shop.a, {none}}}\n  - {{id: a, call: shop.a, {none}}}"
    ));
    found(&stage, &twice, "DUPLICATE_STEP").await;
    found(
        &stage,
        "apiVersion: amends/v1\nname: bad\nsteps: []\n",
        "NO_STEPS",
    )
    .await;
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b29_what_could_neither_be_undone_nor_finished_is_not_well_formed() {
    let stage = stage().await;
    let none = "compensate: {none: \"x\"}";
    for bad in [
        // Compensatable behind the pivot, and beside it.
        format!("  - {{id: p, kind: pivot, call: shop.a}}\n  - {{id: c, call: shop.a, {none}}}"),
        format!(
            "  - {{id: p, needs: [], kind: pivot, call: shop.a}}\n  - {{id: c, needs: [], call: shop.a, {none}}}"
        ),
        // Two pivots.
        "  - {id: p, kind: pivot, call: shop.a}\n  - {id: q, kind: pivot, call: shop.a}".to_owned(),
        // Retriable before what can abort, and beside it.
        format!(
            "  - {{id: r, kind: retriable, call: shop.a}}\n  - {{id: c, call: shop.a, {none}}}"
        ),
        format!(
            "  - {{id: r, needs: [], kind: retriable, call: shop.a}}\n  - {{id: c, needs: [], call: shop.a, {none}}}"
        ),
    ] {
        found(&stage, &steps(&bad), "NOT_WELL_FORMED").await;
    }
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b30_a_compensatable_call_without_compensation_is_refused() {
    let stage = stage().await;
    found(
        &stage,
        &steps("  - {id: a, call: shop.a}"),
        "COMPENSATION_MISSING",
    )
    .await;
    for keys in ["compensate: {none: \"\"}", "compensate: {}"] {
        let document = steps(&format!("  - {{id: a, call: shop.a, {keys}}}"));
        let status = apply(&stage, &document).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{keys}: {status:?}");
    }
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b31_retries_that_cannot_be_are_refused() {
    let stage = stage().await;
    for policy in [
        "{maxAttempts: -1}",
        "{maxAttempts: 1000001}",
        "{backoff: 0}",
        "{backoff: 0.5}",
        "{backoff: 1e308}",
        "{jitter: 1.5}",
        "{jitter: -0.1}",
        "{initialInterval: 10s, maxInterval: 1s}",
    ] {
        found(&stage, &step(&format!("retry: {policy}")), "RETRY_BOUNDS").await;
    }
    for policy in [
        "{backoff: .nan}",
        "{backoff: .inf}",
        "{maxAttempts: many}",
        "{initialInterval: 5}",
    ] {
        let status = apply(&stage, &step(&format!("retry: {policy}")))
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{policy}: {status:?}");
    }
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b32_timeouts_that_cannot_be_are_refused() {
    let stage = stage().await;
    for timeout in ["0s", "0", "10", "-1s", "99999999999d", "1.5s", "1y"] {
        let status = apply(&stage, &step(&format!("timeout: {timeout}")))
            .await
            .unwrap_err();
        assert_eq!(
            status.code(),
            Code::InvalidArgument,
            "{timeout}: {status:?}"
        );
    }
    healthy(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b33_expressions_are_checked_when_they_are_applied() {
    let stage = stage().await;
    for (expression, code) in [
        ("input.a +", "EXPRESSION_SYNTAX"),
        ("nobody.knows", "UNKNOWN_ROOT"),
        ("steps.later.output.x == 1", "UNKNOWN_STEP"),
        ("input.a.frobnicate()", "UNKNOWN_FUNCTION"),
        ("${{ input.a }} == 'b'", "HALF_WRAPPED_EXPRESSION"),
    ] {
        found(&stage, &step(&format!("when: \"{expression}\"")), code).await;
    }
    let none = "compensate: {none: \"x\"}";
    let later = steps(&format!(
        "  - {{id: a, when: steps.b.output.x == 1, call: shop.a, {none}}}\n  - {{id: b, call: shop.a, {none}}}"
    ));
    found(&stage, &later, "NOT_AN_ANCESTOR").await;
    let deep = format!("when: \"{}1{} == 1\"", "(".repeat(200), ")".repeat(200));
    found(&stage, &step(&deep), "EXPRESSION_TOO_DEEP").await;
    let long = format!("when: \"{}1 == 1\"", "1 + ".repeat(400));
    found(&stage, &step(&long), "EXPRESSION_TOO_LONG").await;
    healthy(&stage).await;
}
