//! The codes of all diagnostics, with what each means. They are stable: tools and people quote them.

/// Each code of a [`Diagnostic`](crate::Diagnostic), sorted, with its meaning.
pub const CODES: [(&str, &str); 79] = [
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
        "CHILD_WAITS_FOR_PARENT",
        "a child saga gets its turn when its parent has ended (warning)",
    ),
    ("CODE", "a failure's code is not UPPER_SNAKE_CASE"),
    (
        "COMPENSATION_MISSING",
        "a compensatable step does not say what undoes it",
    ),
    (
        "COMPENSATION_NOT_APPLICABLE",
        "a step that is never compensated, or a child saga, says what undoes it",
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
        "EXPRESSION_TYPE",
        "an expression yields what its field does not take; a warning in a text",
    ),
    (
        "HALF_WRAPPED_EXPRESSION",
        "a part of an expression is inside ${{ }} and a part is not",
    ),
    (
        "HEARTBEAT_ABOVE_ATTEMPT",
        "a heartbeat is not shorter than an attempt",
    ),
    (
        "INPUT_SCHEMA",
        "inputSchema is not a JSON Schema, or refers outside itself",
    ),
    (
        "ITEM_NAME",
        "the item of foreach has a name that it cannot have",
    ),
    (
        "KEY_NOT_APPLICABLE",
        "a key that does not go with the others",
    ),
    ("KEY_NOT_TEXT", "a key that is a list or a mapping"),
    ("MISSING_KEY", "a key that has to be there is not"),
    ("MIXED_NUMBERS", "arithmetic of an integer and a double"),
    ("NAME", "the name of a definition is not a DNS label"),
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
        "OUTPUT_SCHEMA",
        "outputSchema is not a JSON Schema, or refers outside itself",
    ),
    ("OUT_OF_BOUNDS", "a whole number is out of its bounds"),
    (
        "OUT_OF_RESOURCES",
        "the machine had no room to check the definition",
    ),
    (
        "PARTICIPANT_ACTION_UNKNOWN",
        "an action that no attached participant serves; said where a check is told of a server (warning)",
    ),
    (
        "QUERY_IS_CALL",
        "a query calls the action that it asks about",
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
    ("SEVERAL_WORKS", "a step does more than one thing"),
    (
        "SIGNALS_NEEDS_ID",
        "signals is read without the id of a signal",
    ),
    ("SIGNAL_ID", "a signal's id is not snake_case"),
    (
        "SIGNAL_SCHEMA",
        "a signal's schema is not a JSON Schema, or refers outside itself",
    ),
    ("STEPS_NEEDS_ID", "steps is read without the id of a step"),
    ("STEP_ID", "a step's id is not snake_case"),
    ("SYNTAX", "the document is not YAML"),
    ("TAB", "a tab in the indentation"),
    ("TAG_FORBIDDEN", "a tag of YAML"),
    (
        "TIMEOUT_ABOVE_DEADLINE",
        "a step may take longer than the whole saga",
    ),
    ("TOO_LONG", "a text has too many bytes"),
    ("TOO_MANY", "too many steps or entries"),
    (
        "UNKNOWN_ACTION",
        "an action that the participant's contract does not list",
    ),
    (
        "UNKNOWN_FIELD",
        "a field that does not exist; a warning where the schema leaves it open",
    ),
    ("UNKNOWN_FUNCTION", "a function or type that does not exist"),
    ("UNKNOWN_KEY", "a key that the language does not have"),
    ("UNKNOWN_POLICY", "a retry policy that does not exist"),
    ("UNKNOWN_ROOT", "a root that does not exist in this place"),
    ("UNKNOWN_SIGNAL", "a signal that is not declared"),
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
        "UNREACHABLE_ROUTE",
        "a route of onError that no failure comes to (warning)",
    ),
    (
        "UNREACHABLE_STEP",
        "a step behind one that always fails the saga",
    ),
    (
        "UNUSED_POLICY",
        "a retry policy that no step uses (warning)",
    ),
    (
        "UNUSED_SIGNAL",
        "a signal that nothing waits for or reads (warning)",
    ),
    (
        "VARIABLE_HIDES_ROOT",
        "a variable of an expression has the name of a root",
    ),
    ("WRONG_TYPE", "a value of the wrong type"),
    ("WRONG_VALUE", "a value that is none of the possible ones"),
];
