//! Steps as written: where a step stands, when it runs, for what, and what follows its failure. What it does is in `work`.

use std::ops::Range;

use super::THEN;
use super::work::{self, CallDraft, WorkDraft};
use crate::definition::{Kind, Then};
use crate::diagnostic::Report;
use crate::document::fields::{self, Fields, Spanned};
use crate::document::keys;
use crate::document::node::{Node, NodeValue};
use crate::limits::{
    CODE_BYTES_MAX, DESCRIPTION_BYTES_MAX, ENTRIES_MAX, ID_BYTES_MAX, ITEMS_MAX, STEPS_MAX,
};

/// A step as written.
#[derive(Debug)]
pub(crate) struct StepDraft<'n> {
    pub(crate) id: Spanned<String>,
    /// None means the step above.
    pub(crate) needs: Option<Vec<Spanned<String>>>,
    pub(crate) kind: Spanned<Kind>,
    pub(crate) when: Option<&'n Node>,
    pub(crate) foreach: Option<ForeachDraft<'n>>,
    /// None if what it does is missing or wrong, and has its diagnostic.
    pub(crate) work: Option<WorkDraft<'n>>,
    pub(crate) output_schema: Option<&'n Node>,
    pub(crate) on_error: Vec<RouteDraft<'n>>,
    pub(crate) compensate: Option<CompensateDraft<'n>>,
}

impl<'n> StepDraft<'n> {
    /// Its call, if it calls a participant.
    pub(crate) fn call(&self) -> Option<&CallDraft<'n>> {
        match &self.work {
            Some(WorkDraft::Call { call, .. }) => Some(call),
            _ => None,
        }
    }

    /// The call that undoes it.
    pub(crate) fn compensation_call(&self) -> Option<&CallDraft<'n>> {
        match self.compensate.as_ref().map(|compensate| &compensate.body) {
            Some(CompensateBody::Call(call)) => Some(call),
            _ => None,
        }
    }
}

/// `foreach` as written.
#[derive(Debug)]
pub(crate) struct ForeachDraft<'n> {
    pub(crate) span: Range<usize>,
    pub(crate) list: Option<&'n Node>,
    /// `as`; none means `item`.
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) key: Option<&'n Node>,
    pub(crate) max_parallel: Option<Spanned<u32>>,
    pub(crate) max_items: Option<Spanned<u32>>,
}

impl ForeachDraft<'_> {
    /// The root that expressions see the item under.
    pub(crate) fn root(&self) -> &str {
        self.name.as_ref().map_or("item", |name| &name.value)
    }
}

/// One of `onError` as written.
#[derive(Debug)]
pub(crate) struct RouteDraft<'n> {
    pub(crate) span: Range<usize>,
    pub(crate) codes: Vec<Spanned<String>>,
    pub(crate) when: Option<&'n Node>,
    pub(crate) then: Option<Spanned<Then>>,
    pub(crate) output: Option<&'n Node>,
}

/// `compensate` as written.
#[derive(Debug)]
pub(crate) struct CompensateDraft<'n> {
    pub(crate) span: Range<usize>,
    pub(crate) body: CompensateBody<'n>,
}

/// What `compensate` says.
#[derive(Debug)]
pub(crate) enum CompensateBody<'n> {
    /// Nothing to do, and why.
    None(Option<Spanned<String>>),
    Call(Box<CallDraft<'n>>),
}

pub(super) fn read_all<'n>(node: &'n Node, report: &mut Report) -> Vec<StepDraft<'n>> {
    let items = fields::items(node, "`steps`", report).unwrap_or_default();
    if items.is_empty() && matches!(node.value, NodeValue::List(_)) {
        report.error(
            "NO_STEPS",
            "a definition has at least one step",
            node.span.clone(),
        );
    }
    if items.len() > STEPS_MAX {
        let message = format!("{} steps, and at most {STEPS_MAX} are allowed", items.len());
        report.error("TOO_MANY", message, items[STEPS_MAX].span.clone());
        return Vec::new();
    }
    items.iter().filter_map(|item| read(item, report)).collect()
}

fn read<'n>(node: &'n Node, report: &mut Report) -> Option<StepDraft<'n>> {
    let fields = Fields::read(node, "a step", &keys::STEP, &[], report)?;
    let at = node.span.start..node.span.start;
    let id = fields
        .require("id", "a step", &at, report)
        .and_then(|node| fields::text(node, "`id`", ID_BYTES_MAX, report));
    let what = match &id {
        Some(id) => format!("step `{}`", id.value),
        None => "a step".to_owned(),
    };
    let step = StepDraft {
        work: work::read(fields, &what, &at, report),
        id: id?,
        needs: fields.get("needs").map(|node| needs(node, report)),
        kind: kind(fields, &node.span, report),
        when: fields.get("when"),
        foreach: fields.get("foreach").and_then(|node| foreach(node, report)),
        output_schema: fields.get("outputSchema"),
        on_error: fields
            .get("onError")
            .map_or_else(Vec::new, |node| routes(node, report)),
        compensate: fields
            .get("compensate")
            .and_then(|node| compensate(node, report)),
    };
    Some(step)
}

fn needs(node: &Node, report: &mut Report) -> Vec<Spanned<String>> {
    let items = fields::items(node, "`needs`", report).unwrap_or_default();
    items
        .iter()
        .filter_map(|item| fields::text(item, "a step in `needs`", ID_BYTES_MAX, report))
        .collect()
}

fn kind(fields: Fields<'_>, span: &Range<usize>, report: &mut Report) -> Spanned<Kind> {
    let default = Spanned {
        value: Kind::Compensatable,
        span: span.clone(),
    };
    let kind = fields
        .get("kind")
        .and_then(|node| fields::text(node, "`kind`", ID_BYTES_MAX, report));
    let Some(kind) = kind else {
        return default;
    };
    let value = match kind.value.as_str() {
        "compensatable" => Kind::Compensatable,
        "pivot" => Kind::Pivot,
        "retriable" => Kind::Retriable,
        unknown => {
            let kinds = ["compensatable", "pivot", "retriable"];
            let near = crate::suggestion::nearest(unknown, kinds);
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("a kind is one of {}", fields::list(&kinds)),
            };
            let message = format!("there is no kind `{}`", crate::json::shortened(unknown));
            report
                .error("WRONG_VALUE", message, kind.span.clone())
                .help(help);
            // The other rules go on with what was meant.
            match near {
                Some("pivot") => Kind::Pivot,
                Some("retriable") => Kind::Retriable,
                _ => Kind::Compensatable,
            }
        }
    };
    Spanned {
        value,
        span: kind.span,
    }
}

fn foreach<'n>(node: &'n Node, report: &mut Report) -> Option<ForeachDraft<'n>> {
    let fields = Fields::read(node, "`foreach`", &keys::FOREACH, &[], report)?;
    let at = node.span.start..node.span.start;
    let mut whole = |key: &str| {
        let node = fields.get(key)?;
        fields::whole(node, &format!("`foreach.{key}`"), 1..=ITEMS_MAX, report)
    };
    let (max_parallel, max_items) = (whole("maxParallel"), whole("maxItems"));
    Some(ForeachDraft {
        span: node.span.clone(),
        list: fields.require("in", "`foreach`", &at, report),
        name: fields
            .get("as")
            .and_then(|node| fields::text(node, "`foreach.as`", ID_BYTES_MAX, report)),
        key: fields.get("key"),
        max_parallel,
        max_items,
    })
}

fn routes<'n>(node: &'n Node, report: &mut Report) -> Vec<RouteDraft<'n>> {
    let items = fields::items_up_to(node, "`onError`", ENTRIES_MAX, report).unwrap_or_default();
    items
        .iter()
        .filter_map(|item| {
            let fields = Fields::read(item, "a route of `onError`", &keys::ROUTE, &[], report)?;
            let at = item.span.start..item.span.start;
            let then = fields.require("then", "a route of `onError`", &at, report);
            Some(RouteDraft {
                span: item.span.clone(),
                codes: fields
                    .get("codes")
                    .map_or_else(Vec::new, |node| codes(node, report)),
                when: fields.get("when"),
                then: then.and_then(|node| fields::choice(node, "`then`", &THEN, report)),
                output: fields.get("output"),
            })
        })
        .collect()
}

fn codes(node: &Node, report: &mut Report) -> Vec<Spanned<String>> {
    let Some(items) = fields::items_up_to(node, "`codes`", ENTRIES_MAX, report) else {
        return Vec::new();
    };
    if items.is_empty() {
        report
            .error("WRONG_VALUE", "`codes` is empty", node.span.clone())
            .help("name a code, or leave `codes` out to match every failure");
    }
    items
        .iter()
        .filter_map(|item| fields::text(item, "a code of `codes`", CODE_BYTES_MAX, report))
        .collect()
}

fn compensate<'n>(node: &'n Node, report: &mut Report) -> Option<CompensateDraft<'n>> {
    let known = &keys::COMPENSATE;
    let fields = Fields::read(node, "`compensate`", known, &[], report)?;
    let span = node.span.clone();
    let Some(none) = fields.get("none") else {
        let at = span.start..span.start;
        let call = fields.require("call", "`compensate`", &at, report);
        return Some(CompensateDraft {
            span,
            body: CompensateBody::Call(Box::new(work::read_call(fields, call, report))),
        });
    };
    for other in &known[1..] {
        if fields.get(other).is_some() {
            report
                .error(
                    "WRONG_VALUE",
                    format!(
                        "`compensate` is either `none` or a call: `{other}` does not go with `none`"
                    ),
                    span.clone(),
                )
                .help("`{none: \"why\"}`, or `{call, input, retry, timeout}`");
        }
    }
    let why = fields::text(none, "`compensate.none`", DESCRIPTION_BYTES_MAX, report);
    Some(CompensateDraft {
        span,
        body: CompensateBody::None(why),
    })
}
