//! What it costs to compute a step's input from what the saga knows. Deliberately not here: checking a definition, which
//! happens once.

use std::hint::black_box;

use amends_definitions::{Definition, Payload, Scope, StepScope, check};
use criterion::{Criterion, criterion_group, criterion_main};

const MAPPINGS: &str = r#"
apiVersion: amends/v1
name: mappings
steps:
  - {id: copied, call: p.a, input: {note: "${{ input.note }}"}}
  - {id: of_output, call: p.a, input: {note: "${{ steps.copied.output.note }}"}}
  - {id: computed, call: p.a, input: {total: "${{ input.items.map(i, i * 2).filter(i, i > 3).size() }}", text: "order ${{ input.order }}"}}
"#;

fn mappings(criterion: &mut Criterion) {
    let definition = check(MAPPINGS.as_bytes()).definition.expect("it is sound");
    for bytes in [200, 65_536] {
        let note = "x".repeat(bytes);
        let text = format!("{{\"note\":\"{note}\",\"order\":\"B-1\",\"items\":[1,2,3,4]}}");
        let payload = Payload::trusted(text.into_bytes().into());
        for step in ["copied", "of_output", "computed"] {
            let name = format!("mapping/{step}, {bytes} bytes");
            criterion.bench_function(&name, |bencher| {
                bencher.iter(|| black_box(input_of(&definition, step, &payload)));
            });
        }
    }
}

fn input_of(definition: &Definition, step: &str, payload: &Payload) -> Payload {
    let step = definition.steps().iter().find(|each| each.id() == step);
    let call = step.and_then(|step| step.call()).expect("a call");
    let steps = [StepScope {
        id: "copied",
        status: "succeeded",
        output: Some(payload),
    }];
    let scope = Scope {
        steps: &steps,
        ..Scope::of_input(payload)
    };
    let input = call.input().expect("a mapping").evaluate(&scope);
    input.expect("a value")
}

criterion_group!(benches, mappings);
criterion_main!(benches);
