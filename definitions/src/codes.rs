//! The codes of all diagnostics, with what each means. They are stable: tools and people quote them.

/// Each code of a [`Diagnostic`](crate::Diagnostic), sorted, with its meaning.
pub const CODES: [(&str, &str); 59] = [
    ("ACTION", "an action is not written as participant.action"),
    ("ALIASES_FORBIDDEN", "an anchor, an alias or a merge key"),
    (
        "AMBIGUOUS_SCALAR",
        "an unquoted value that readers of YAML disagree on",
    ),
    ("API_VERSION", "an apiVersion that is not known"),
    (
        "ATTEMPT_ABOVE_TOTAL",
        "one attempt may take longer than all attempts together",
    ),
    (
        "COMPENSATION_MISSING",
        "a compensatable step does not say what undoes it",
    ),
    (
        "COMPENSATION_NOT_APPLICABLE",
        "a pivot or retriable step says what undoes it",
    ),
    ("CYCLE", "steps that wait for each other"),
    ("DOCUMENT_TOO_DEEP", "the document is nested too deep"),
    (
        "DOCUMENT_TOO_LARGE",
        "the document has too many bytes or values",
    ),
    ("DUPLICATE_KEY", "a key twice in a mapping"),
    ("DUPLICATE_NEED", "a step needs another twice (warning)"),
    ("DUPLICATE_STEP", "two steps with one id"),
    ("DURATION", "not a duration, or 0, or too long"),
    ("EMPTY", "the document is empty"),
    ("EMPTY_TEXT", "a text is empty"),
    (
        "ENCODING",
        "the document is not UTF-8, or begins with a byte order mark",
    ),
    ("EXPRESSION_IN_KEY", "an expression in a key of a mapping"),
    (
        "EXPRESSION_PATTERN",
        "a pattern of matches() that is no small, constant regular expression",
    ),
    ("EXPRESSION_SYNTAX", "an expression that does not parse"),
    ("EXPRESSION_TOO_DEEP", "an expression is nested too deep"),
    ("EXPRESSION_TOO_LONG", "an expression has too many bytes"),
    (
        "HALF_WRAPPED_EXPRESSION",
        "a part of an expression is inside ${{ }} and a part is not",
    ),
    (
        "INPUT_SCHEMA",
        "inputSchema is not a JSON Schema, or refers outside itself",
    ),
    ("KEY_NOT_TEXT", "a key that is a list or a mapping"),
    ("MISSING_KEY", "a key that has to be there is not"),
    ("MIXED_NUMBERS", "arithmetic of an integer and a double"),
    ("NAME", "the definition's name is not a DNS label"),
    (
        "NOT_AN_ANCESTOR",
        "a step reads a step that is not before it",
    ),
    ("NOT_A_MAPPING", "the document is not a mapping"),
    (
        "NOT_SERVED_YET",
        "a key of the language that this version does not serve",
    ),
    (
        "NOT_TEXT",
        "a value that has to be text, and is a number or a bool without quotes",
    ),
    (
        "NOT_WELL_FORMED",
        "the kinds of the steps do not fit together",
    ),
    ("NO_STEPS", "a definition without steps"),
    (
        "OUT_OF_RESOURCES",
        "the machine had no room to check the definition",
    ),
    (
        "RESERVED_ID",
        "a step's id is a word of the expression language",
    ),
    ("RETRY_BOUNDS", "a retry policy is out of its bounds"),
    (
        "RETRY_WITHOUT_BOUND",
        "a step that can abort is retried without end (warning)",
    ),
    (
        "SELF_OUTPUT_MAY_BE_NULL",
        "a compensation reads an output that may be null (warning)",
    ),
    ("SEVERAL_DOCUMENTS", "more than one document in a file"),
    ("STEPS_NEEDS_ID", "steps is read without the id of a step"),
    ("STEP_ID", "a step's id is not snake_case"),
    ("SYNTAX", "the document is not YAML"),
    ("TAB", "a tab in the indentation"),
    ("TAG_FORBIDDEN", "a tag of YAML"),
    ("TOO_LONG", "a text has too many bytes"),
    ("TOO_MANY", "too many steps or entries"),
    (
        "UNKNOWN_FIELD",
        "a field that does not exist; a warning where the schema leaves it open",
    ),
    ("UNKNOWN_FUNCTION", "a function or type that does not exist"),
    ("UNKNOWN_KEY", "a key that the language does not have"),
    ("UNKNOWN_POLICY", "a retry policy that does not exist"),
    ("UNKNOWN_ROOT", "a root that does not exist in this place"),
    ("UNKNOWN_STEP", "a step that does not exist"),
    (
        "UNQUOTED_EXPRESSION",
        "an expression without quotes where YAML takes it apart",
    ),
    (
        "UNQUOTED_TERNARY",
        "a conditional expression without quotes",
    ),
    (
        "UNUSED_POLICY",
        "a retry policy that no step uses (warning)",
    ),
    (
        "VARIABLE_HIDES_ROOT",
        "a variable of an expression has the name of a root",
    ),
    ("WRONG_TYPE", "a value of the wrong type"),
    ("WRONG_VALUE", "a value that is none of the possible ones"),
];
