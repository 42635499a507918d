//! Expressions, as text and as structure, over payloads made of the same choices. Whatever the two are: an answer, the same
//! twice, within the budget and on the stack of a worker; a value is a payload, and a failure says nothing of the payload.

use amends_definitions::limits::{EXPRESSION_BYTES_MAX, KEY_BYTES_MAX};
use amends_definitions::{
    Definition, EvaluationError, Payload, Scope, SelfScope, StepScope, check,
};
use amends_tests::fuzz::{self, Choices};

use crate::documents::assert_sound;

/// Bad input B33 to B35, as text: the first byte says so.
const SEEDS: [&str; 24] = [
    "\0input.a == 1 && has(input.b) ? 'x' : string(input.c)",
    "\0input.s.matches('(a*)*b')",
    "\0input.l.map(x, input.l.map(y, x * y))",
    "\0[1].map(x,x+x).map(x,x+x).map(x,x+x).map(x,x+x).map(x,x+x)",
    "\0((((((((((((((((((((((((((((((((1))))))))))))))))))))))))))))))))",
    "\0r'\\' == ((((((((((((((((((((((((((((((((((((((((1",
    "\0-9223372036854775808 / -1",
    "\0input.n % input.z",
    "\0timestamp('9999-12-31T23:59:59Z') + duration('2562047h')",
    "\0timestamp(saga.startedAt).getHours('+99:99')",
    "\0'\\x00' + '\\u0000' + '\\U0010ffff'",
    "\0{1: 1, 1u: 2, true: 3, 'a': 4}.map(k, k)",
    "\0[b'\\xff', 0x1f, 1e308, 1u, null]",
    "\0input['secret-a']",
    "\0a?b:a?b:a?b:a?b:a?b:a?b:a?b:a",
    "\0!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!true",
    "\0input.m.exists_one(k, input.m[k] == 1)",
    "\0self.output == null ? steps.first.status : self.output.a",
    "\0'''a''' + \"\"\"b\"\"\" // it's",
    "\0input.l[-1] + [1][1] in {'a': 1}",
    "\0steps.first.output.a.filter(x, x > 1.5).size()",
    "\0[[1]].map(x, [x, x]).map(x, [x, x]).map(x, [x, x])",
    "\0double('nan') == double('inf') || int(1e300) > 0",
    "\x01\x05\x03\x08\x02\x09\x04\x0b\x06\x0d\x07\x0e\x0a\x11\x0c\x13\x0f\x17\x10\x1d\x12\x1f\x14\x25",
];

const WORDS: &[&str] = &[
    "input",
    ".a",
    ".l",
    ".m",
    ".s",
    ".n",
    ".b",
    "steps.first.output",
    "self.output",
    "saga.startedAt",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    "'''",
    "r'",
    "b'",
    "\\",
    "\\x00",
    "+",
    "-",
    "*",
    "/",
    "%",
    "==",
    "<",
    "&&",
    "||",
    "!",
    "?",
    ":",
    " in ",
    ".map(x, ",
    ".filter(x, ",
    ".all(x, ",
    ".exists(x, ",
    "has(",
    "size(",
    "string(",
    "int(",
    "double(",
    "timestamp(",
    "duration('1h')",
    ".matches('a{9}')",
    ".contains(",
    "9223372036854775807",
    "1u",
    "1.5",
    "1e308",
    "null",
    "true",
    "//",
];

/// What no failure may show.
const SECRET: &str = "secret-";

pub fn run() {
    let corpus = SEEDS.map(|seed| seed.as_bytes().to_vec()).to_vec();
    fuzz::run(&super::target("expressions", corpus, WORDS), expression);
}

fn expression(input: &[u8]) {
    let mut choices = Choices::new(input);
    let (source, mut choices) = if choices.below(2) == 0 {
        let text = String::from_utf8_lossy(choices.rest()).into_owned();
        (text, choices)
    } else {
        let source = Source(&mut choices).expression(5);
        (source, choices)
    };
    if source.len() > 2 * EXPRESSION_BYTES_MAX {
        return;
    }
    let payload = json(&mut choices, 4);
    let input = format!(
        r#"{{"a":{payload},"l":[1,2,{payload},1.5],"m":{{"b":1,"a":{payload}}},"s":"{SECRET}s","n":-9223372036854775808,"z":0,"b":123456789012345678901}}"#
    );
    // What is too large or too deep is a payload of nobody.
    let Ok(input) = Payload::check(input.into()) else {
        return;
    };
    if let Some(definition) = definition(&source) {
        evaluate(&definition, &input, &source);
    }
}

/// A definition that uses the source in each kind of place, as far as it fits there.
fn definition(source: &str) -> Option<Definition> {
    let quoted = |text: String| serde_json::to_string(&text).expect("a string");
    let bare = quoted(source.to_owned());
    let whole = quoted(format!("${{{{ {source} }}}}"));
    let text = quoted(format!("x ${{{{ {source} }}}} ${{{{{source}}}}} y"));
    let document = |key: &str| {
        format!(
            "apiVersion: amends/v1\nname: fuzzed\n{key}steps:\n  - {{id: first, call: a.b, compensate: {{none: x}}}}\n  - id: tested\n    call: a.b\n    when: {bare}\n    input: [{whole}, {text}]\n    compensate: {{call: a.c, input: {whole}}}\n"
        )
    };
    let with_key = document(&format!("key: {bare}\n"));
    let without = document("");
    // Only in a compensation is there a `self`, and only `input` in a key.
    let in_compensation = format!(
        "apiVersion: amends/v1\nname: fuzzed\nsteps:\n  - {{id: first, call: a.b, compensate: {{none: x}}}}\n  - {{id: tested, call: a.b, compensate: {{call: a.c, input: {whole}}}}}\n"
    );
    [with_key, without, in_compensation]
        .iter()
        .find_map(|document| {
            let checked = check(document.as_bytes());
            assert_sound(&checked);
            checked.definition
        })
}

fn evaluate(definition: &Definition, input: &Payload, source: &str) {
    let steps = [
        StepScope {
            id: "first",
            status: "succeeded",
            output: Some(input),
        },
        StepScope {
            id: "tested",
            status: "waiting",
            output: None,
        },
    ];
    let mut scope = Scope {
        saga_id: &"019aa578-c07b-8abc-bfff-ffffffffffff",
        saga_key: Some("secret-key"),
        saga_started_at: &"2026-01-02T03:04:05Z",
        steps: &steps,
        ..Scope::of_input(input)
    };
    let tested = &definition.steps()[1];
    if let Some(key) = definition.key()
        && let Some(key) = sound(source, || key.evaluate_key(&scope))
    {
        assert!(!key.is_empty() && key.len() <= KEY_BYTES_MAX && !key.contains('\0'));
    }
    if let Some(when) = tested.when() {
        sound(source, || when.evaluate_bool(&scope));
    }
    if let Some(mapping) = tested.call().and_then(|call| call.input()) {
        payload(sound(source, || mapping.evaluate(&scope)));
    }
    if let amends_definitions::Compensation::Call(call) = tested.compensation()
        && let Some(mapping) = call.input()
    {
        for output in [None, Some(input)] {
            scope.itself = Some(SelfScope {
                input,
                output,
                error: Some(("TIMEOUT", "secret-late")),
                reason: "CANCELLED",
            });
            payload(sound(source, || mapping.evaluate(&scope)));
        }
    }
}

/// The same twice; a failure has a known code, and shows nothing of the payload that the source does not.
fn sound<T: PartialEq + std::fmt::Debug>(
    source: &str,
    evaluate: impl Fn() -> Result<T, EvaluationError>,
) -> Option<T> {
    let outcome = evaluate();
    assert_eq!(evaluate(), outcome);
    match outcome {
        Ok(value) => Some(value),
        Err(error) => {
            let known = ["EXPRESSION_FAILED", "COST_EXCEEDED", "PAYLOAD_TOO_LARGE"];
            assert!(known.contains(&error.code), "{error}");
            assert!(error.message.len() < 3 * EXPRESSION_BYTES_MAX, "{error}");
            assert!(!error.message.contains('\0'), "{error}");
            let shown = error.message.replace(source.trim(), "").contains(SECRET);
            assert!(!shown || source.contains(SECRET), "{error}");
            None
        }
    }
}

fn payload(value: Option<Payload>) {
    if let Some(value) = value {
        let again = Payload::check(value.to_bytes()).expect("a value is a payload");
        assert_eq!(again, value);
    }
}

/// Writes sources that mostly compile.
struct Source<'a, 'b>(&'a mut Choices<'b>);

impl Source<'_, '_> {
    fn expression(&mut self, depth: usize) -> String {
        if depth == 0 || self.0.are_spent() {
            return self.leaf();
        }
        let deeper = depth - 1;
        match self.0.below(12) {
            0 => self.leaf(),
            1 | 2 => {
                let operator = self.0.pick(&[
                    "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in",
                ]);
                let left = self.expression(deeper);
                format!("({left} {operator} {})", self.expression(deeper))
            }
            3 => format!("{}({})", self.0.pick(&["!", "-"]), self.expression(deeper)),
            4 => {
                let condition = self.expression(deeper);
                let yes = self.expression(deeper);
                format!("({condition} ? {yes} : {})", self.expression(deeper))
            }
            5 => {
                let items: Vec<String> = (0..self.0.below(4))
                    .map(|_| self.expression(deeper))
                    .collect();
                format!("[{}]", items.join(", "))
            }
            6 => {
                let entries: Vec<String> = (0..self.0.below(4))
                    .map(|_| {
                        let key = self
                            .0
                            .pick(&["'a'", "'b'", "1", "1u", "true", "input.s", "''"]);
                        format!("{key}: {}", self.expression(deeper))
                    })
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
            7 => {
                let name = self
                    .0
                    .pick(&["map", "filter", "all", "exists", "exists_one"]);
                let variable = self.0.pick(&["x", "y"]);
                let range = self.expression(deeper);
                format!("{range}.{name}({variable}, {})", self.expression(deeper))
            }
            8 => {
                let function = self.0.pick(&[
                    "size",
                    "string",
                    "int",
                    "uint",
                    "double",
                    "bool",
                    "timestamp",
                    "duration",
                ]);
                format!("{function}({})", self.expression(deeper))
            }
            9 => self.member(deeper),
            10 => format!("{}[{}]", self.expression(deeper), self.expression(deeper)),
            _ => format!(
                "{}.{}",
                self.expression(deeper),
                self.0.pick(&["a", "b", "l", "output"])
            ),
        }
    }

    fn member(&mut self, deeper: usize) -> String {
        let on = self.expression(deeper);
        match self.0.below(4) {
            0 => {
                let function = self.0.pick(&["contains", "startsWith", "endsWith"]);
                format!("{on}.{function}({})", self.expression(deeper))
            }
            1 => {
                let pattern = self
                    .0
                    .pick(&["a", "(a*)*b", "[a-z]{8}", "\\\\\\\\w+", "^.*$", ""]);
                format!("{on}.matches('{pattern}')")
            }
            2 => format!("{on}.size()"),
            _ => {
                let part = self.0.pick(&[
                    "getFullYear",
                    "getMonth",
                    "getDayOfYear",
                    "getHours",
                    "getMilliseconds",
                    "getDayOfWeek",
                ]);
                let zone =
                    self.0
                        .pick(&["", "'Europe/Berlin'", "'+25:00'", "input.s", "'-'", "''"]);
                format!("{on}.{part}({zone})")
            }
        }
    }

    fn leaf(&mut self) -> String {
        let known = self.0.pick(&[
            "1",
            "input.a",
            "input.l",
            "input.m",
            "input.s",
            "input.n",
            "input.z",
            "input.b",
            "input",
            "true",
            "null",
            "x",
            "y",
            "'a'",
            "''",
            "0",
            "-1",
            "1.5",
            "2u",
            "9223372036854775807",
            "1e308",
            "b'a\\xff'",
            "'é\\n'",
            "has(input.a.b)",
            "has(steps.first.output)",
            "steps.first.output.a",
            "saga.startedAt",
            "saga.key",
            "self.output",
            "self.error.message",
            "'2026-01-02T03:04:05Z'",
            "'1h'",
            "timestamp(0)",
            "duration('1s')",
            "[]",
            "{}",
            "r'\\'",
        ]);
        known.to_owned()
    }
}

/// A value of JSON, small and odd.
fn json(choices: &mut Choices<'_>, depth: usize) -> String {
    let quoted = |text: &str| serde_json::to_string(text).expect("a string");
    match choices.below(8) {
        0 => "1".to_owned(),
        1 => quoted(&format!("{SECRET}{}", choices.text())),
        2 => choices.number().cast_signed().to_string(),
        3 => choices
            .pick(&[
                "0.5",
                "-0",
                "1e300",
                "-0.0",
                "123456789012345678901234567890",
                "1E-9",
            ])
            .to_owned(),
        4 => choices
            .pick(&["null", "true", "false", "\"\"", "{}", "[]"])
            .to_owned(),
        _ if depth == 0 => "null".to_owned(),
        5 | 6 => {
            let items: Vec<String> = (0..choices.below(5))
                .map(|_| json(choices, depth - 1))
                .collect();
            format!("[{}]", items.join(","))
        }
        _ => {
            let keys = ["a", "b", "secret-a", "é", "x y"];
            let count = choices.below(keys.len() + 1);
            let entries: Vec<String> = keys[..count]
                .iter()
                .map(|key| format!("{}:{}", quoted(key), json(choices, depth - 1)))
                .collect();
            format!("{{{}}}", entries.join(","))
        }
    }
}
