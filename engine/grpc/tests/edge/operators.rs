//! What operators do, and what they are refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use amends_proto::v1;
use amends_proto::v1::act::Act;
use tonic::{Code, Status};

use crate::node::{Node, ORDER, PARENT, nobody, refusal};
use crate::participant::{Participant, failed, succeeded};

/// A node whose participant ships nothing until `mended`, and so many orders that wait for that.
struct Broken {
    node: Node,
    mended: Arc<AtomicBool>,
    sagas: Vec<String>,
}

impl Broken {
    async fn with_orders(orders: usize) -> Self {
        let node = Node::start().await;
        let bounded = "call: shop.ship\n    retry: {initialInterval: 1ms, maxAttempts: 2}\n";
        let source = ORDER.replace("call: shop.ship\n", bounded);
        node.apply(&source).await.expect("the definition is sound");
        let mended = Arc::new(AtomicBool::new(false));
        let works = mended.clone();
        let _running = Participant::attached(&node, "shop-1")
            .await
            .work(move |command| match command.action.as_str() {
                "shop.ship" if !works.load(Ordering::SeqCst) => failed("TRUCK_BROKEN"),
                _ => succeeded(r#"{"ok": true}"#),
            });
        let mut sagas = Vec::new();
        for index in 0..orders {
            let started = node.start_order(&format!("A-{index}")).await;
            let name = started.expect("it starts").name;
            assert_eq!(
                node.settled(&name).await.state(),
                v1::SagaState::Parked,
                "{name}"
            );
            sagas.push(name);
        }
        Self {
            node,
            mended,
            sagas,
        }
    }

    async fn operate(&self, act: Act) -> Result<v1::SagaState, Status> {
        operate(&self.node, &self.sagas[0], act, false).await
    }
}

const KIND: &str = "order@1/ship/TRUCK_BROKEN";

fn at(step: &str) -> Option<v1::Target> {
    Some(v1::Target {
        step: step.into(),
        ..v1::Target::default()
    })
}

fn retry(step: &str) -> Act {
    Act::Retry(v1::Retry {
        target: at(step),
        input: None,
    })
}

async fn operate(
    node: &Node,
    name: &str,
    act: Act,
    dry_run: bool,
) -> Result<v1::SagaState, Status> {
    let request = v1::OperateSagaRequest {
        name: name.into(),
        act: Some(v1::Act { act: Some(act) }),
        reason: "the truck is mended".into(),
        dry_run,
    };
    let answer = node.operators().operate_saga(request).await?;
    Ok(answer.into_inner().state())
}

#[tokio::test]
async fn who_reads_the_output_of_a_skipped_step_is_told_of_one_saga_and_of_a_group() {
    let node = Node::start().await;
    let reading = "
    retry: {initialInterval: 1ms, maxAttempts: 2}
  - {id: tell, kind: retriable, call: shop.tell, input: {ref: \"${{ steps.ship.output.ref }}\"}}
  - {id: list, kind: retriable, foreach: {in: 'has(steps.ship.output) ? [1] : []'}, call: shop.tell}
output: {ref: \"${{ steps.list.output[0] }}\"}
";
    let call = "call: shop.ship\n";
    assert!(ORDER.ends_with(call), "{ORDER}");
    let source = ORDER.replace(call, &format!("{}{reading}", call.trim_end()));
    node.apply(&source).await.expect("the definition is sound");
    let _running = Participant::attached(&node, "shop-1")
        .await
        .work(|command| match command.action.as_str() {
            "shop.ship" => failed("TRUCK_BROKEN"),
            _ => succeeded("{}"),
        });
    let name = node.start_order("A-1").await.expect("it starts").name;
    assert_eq!(node.settled(&name).await.state(), v1::SagaState::Parked);
    let skip = || Act::Skip(v1::Skip { target: at("ship") });
    let request = |act, dry_run| v1::OperateSagaRequest {
        name: name.clone(),
        act: Some(v1::Act { act: Some(act) }),
        reason: "by hand".into(),
        dry_run,
    };
    let sees = |readers: Vec<v1::OutputReader>| -> Vec<(String, String, v1::output_reader::Sees)> {
        let readers = readers.into_iter();
        readers
            .map(|reader| (reader.step.clone(), reader.field.clone(), reader.sees()))
            .collect()
    };
    let expected = [
        ("tell", "input", v1::output_reader::Sees::Nothing),
        ("list", "foreach.in", v1::output_reader::Sees::Absence),
    ];
    let expected = expected.map(|(step, field, sees)| (step.to_owned(), field.to_owned(), sees));
    let of_group = v1::OperateIncidentsRequest {
        dry_run: true,
        ..group_act(Act::Skip(v1::Skip { target: None }))
    };
    let mut of_group = acted(&node, of_group).await;
    assert_eq!(sees(of_group.remove(0).readers), expected);
    for dry_run in [true, false] {
        let request = request(skip(), dry_run);
        let answer = node.operators().operate_saga(request).await.unwrap();
        assert_eq!(sees(answer.into_inner().readers), expected);
    }
    // It is as it was said: the next step has no value for its input, and parks.
    let parked = node.settled(&name).await;
    assert_eq!(parked.incidents[0].step, "tell");
    assert_eq!(parked.incidents[0].code, "EXPRESSION_FAILED");
    // Of other acts there is nothing to tell.
    let request = request(retry("tell"), true);
    let answer = node.operators().operate_saga(request).await.unwrap();
    assert!(answer.into_inner().readers.is_empty());
}

fn incidents() -> v1::ListIncidentsRequest {
    v1::ListIncidentsRequest {
        parent: PARENT.into(),
        ..Default::default()
    }
}

fn group_act(act: Act) -> v1::OperateIncidentsRequest {
    v1::OperateIncidentsRequest {
        parent: PARENT.into(),
        fingerprint: KIND.into(),
        act: Some(v1::Act { act: Some(act) }),
        reason: "the truck is mended".into(),
        rate: 1_000,
        ..Default::default()
    }
}

async fn acted(
    node: &Node,
    request: v1::OperateIncidentsRequest,
) -> Vec<v1::OperateIncidentsResponse> {
    let stream = node.operators().operate_incidents(request).await;
    let (mut stream, mut all) = (stream.expect("it is sound").into_inner(), Vec::new());
    while let Some(one) = stream.message().await.expect("the node is there") {
        all.push(one);
    }
    all
}

#[tokio::test]
async fn an_incident_is_listed_with_what_it_is_about_and_what_can_be_done() {
    let broken = Broken::with_orders(1).await;
    let (node, name) = (&broken.node, broken.sagas[0].clone());
    let listed = node.operators().list_incidents(incidents()).await.unwrap();
    let listed = listed.into_inner().incidents;
    assert_eq!(listed.len(), 1, "{listed:?}");
    let incident = &listed[0];
    assert_eq!(
        (incident.fingerprint.as_str(), incident.saga.as_str()),
        (KIND, name.as_str())
    );
    assert_eq!(
        (
            incident.reason.as_str(),
            incident.code.as_str(),
            incident.number
        ),
        ("STEP_EXHAUSTED", "TRUCK_BROKEN", 1)
    );
    assert!(!incident.suggested_actions.is_empty() && incident.open_time.is_some());
    let within = node.settled(&name).await.incidents.remove(0);
    assert_eq!(
        (within.saga.as_str(), within.fingerprint.as_str()),
        ("", KIND)
    );
}

#[tokio::test]
async fn an_incident_is_retried_dry_and_in_earnest_and_stands_in_the_history() {
    let broken = Broken::with_orders(1).await;
    let (node, name) = (&broken.node, broken.sagas[0].clone());
    broken.mended.store(true, Ordering::SeqCst);
    let preview = operate(node, &name, retry("ship"), true).await.unwrap();
    assert_eq!(preview, v1::SagaState::Running);
    assert_eq!(node.settled(&name).await.state(), v1::SagaState::Parked);
    assert_eq!(
        broken.operate(retry("ship")).await.unwrap(),
        v1::SagaState::Running
    );
    assert_eq!(node.settled(&name).await.state(), v1::SagaState::Completed);
    let request = v1::ListSagaHistoryRequest {
        name,
        page_size: 1_000,
        ..Default::default()
    };
    let history = node
        .sagas()
        .list_saga_history(request)
        .await
        .unwrap()
        .into_inner()
        .entries;
    let operated: Vec<_> = history
        .iter()
        .filter(|entry| entry.kind == "operated")
        .collect();
    assert_eq!(operated.len(), 1, "a dry run records nothing");
    assert_eq!(
        (
            operated[0].by.as_str(),
            operated[0].message.as_str(),
            operated[0].step.as_str()
        ),
        ("anonymous", "the truck is mended", "ship")
    );
    let none = node.operators().list_incidents(incidents()).await.unwrap();
    assert!(none.into_inner().incidents.is_empty());
}

#[tokio::test]
async fn a_parked_saga_is_explained_with_every_attempt() {
    let broken = Broken::with_orders(1).await;
    let (node, name) = (&broken.node, broken.sagas[0].clone());
    let request = v1::ExplainSagaRequest { name: name.clone() };
    let explained = node
        .sagas()
        .explain_saga(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(explained.saga.unwrap().state(), v1::SagaState::Parked);
    let topics: Vec<_> = explained
        .sentences
        .iter()
        .map(|it| it.topic.as_str())
        .collect();
    assert!(topics.contains(&"INCIDENT"), "{topics:?}");
    let waits: Vec<_> = explained
        .waits_for
        .iter()
        .map(|it| it.kind.as_str())
        .collect();
    assert_eq!(waits, ["OPERATOR"]);
    let ships = explained.attempts.iter().filter(|it| it.step == "ship");
    let ships: Vec<_> = ships
        .map(|it| (it.attempt, it.instance.as_str(), it.code.as_str()))
        .collect();
    assert_eq!(
        ships,
        [(1, "shop-1", "TRUCK_BROKEN"), (2, "shop-1", "TRUCK_BROKEN")]
    );
}

#[tokio::test]
async fn a_group_is_counted_tried_dry_and_acted_on_as_a_whole() {
    let broken = Broken::with_orders(3).await;
    let node = &broken.node;
    let request = v1::ListIncidentGroupsRequest {
        parent: PARENT.into(),
        ..Default::default()
    };
    let groups = node
        .operators()
        .list_incident_groups(request)
        .await
        .unwrap();
    let groups = groups.into_inner().groups;
    assert_eq!(groups.len(), 1, "{groups:?}");
    assert_eq!(
        (groups[0].fingerprint.as_str(), groups[0].incidents),
        (KIND, 3)
    );
    assert!(groups[0].oldest_time.is_some() && groups[0].newest_time.is_some());

    broken.mended.store(true, Ordering::SeqCst);
    let unnamed = || Act::Retry(v1::Retry::default());
    let dry = v1::OperateIncidentsRequest {
        dry_run: true,
        ..group_act(unnamed())
    };
    let dry = acted(node, dry).await;
    assert_eq!(dry.len(), 3);
    assert!(
        dry.iter()
            .all(|one| one.state() == v1::SagaState::Running && one.reason.is_empty())
    );
    let limited = v1::OperateIncidentsRequest {
        limit: 1,
        ..group_act(unnamed())
    };
    let limited = acted(node, limited).await;
    assert_eq!(limited.len(), 1);
    assert_eq!(limited[0].saga, broken.sagas[0], "the oldest first");
    node.settled(&broken.sagas[0]).await;
    let rest = acted(node, group_act(unnamed())).await;
    assert_eq!(rest.len(), 2);
    for name in &broken.sagas {
        assert_eq!(node.settled(name).await.state(), v1::SagaState::Completed);
    }
    assert!(acted(node, group_act(unnamed())).await.is_empty());
}

#[tokio::test]
async fn a_refusal_within_a_group_is_told_and_the_others_go_on() {
    let broken = Broken::with_orders(2).await;
    let told = acted(&broken.node, group_act(Act::Compensate(v1::Compensate {}))).await;
    let reasons: Vec<_> = told
        .iter()
        .map(|one| (one.state(), one.reason.as_str()))
        .collect();
    let refused = (v1::SagaState::Unspecified, "BEHIND_POINT_OF_NO_RETURN");
    assert_eq!(reasons, [refused, refused]);
    assert!(told.iter().all(|one| !one.message.is_empty()));
    let skipped = acted(&broken.node, group_act(Act::Skip(v1::Skip::default()))).await;
    let states: Vec<_> = skipped
        .iter()
        .map(v1::OperateIncidentsResponse::state)
        .collect();
    assert_eq!(states, [v1::SagaState::Completed; 2]);
}

#[tokio::test]
async fn sagas_are_listed_by_what_their_incidents_have_in_common() {
    let broken = Broken::with_orders(3).await;
    let list = async |change: fn(&mut v1::ListSagasRequest)| {
        let (mut seen, mut page_token) = (Vec::new(), String::new());
        loop {
            let mut request = v1::ListSagasRequest {
                parent: PARENT.into(),
                page_size: 2,
                page_token,
                fingerprint: KIND.into(),
                ..Default::default()
            };
            change(&mut request);
            let page = broken.node.sagas().list_sagas(request).await?.into_inner();
            seen.extend(page.sagas.into_iter().map(|saga| saga.name));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok::<_, tonic::Status>(seen);
            }
        }
    };
    assert_eq!(list(|_| ()).await.unwrap(), broken.sagas);
    let parked = |request: &mut v1::ListSagasRequest| {
        request.states = vec![v1::SagaState::Parked.into()];
    };
    assert_eq!(list(parked).await.unwrap(), broken.sagas);
    let running = |request: &mut v1::ListSagasRequest| {
        request.states = vec![v1::SagaState::Running.into()];
    };
    assert!(list(running).await.unwrap().is_empty());
    let other = |request: &mut v1::ListSagasRequest| {
        request.fingerprint = "order@2/ship/TRUCK_BROKEN".into();
    };
    assert!(list(other).await.unwrap().is_empty());
    let odd = |request: &mut v1::ListSagasRequest| request.fingerprint = "order@1".into();
    assert_eq!(
        refusal(list(odd).await),
        (Code::InvalidArgument, "FINGERPRINT_INVALID".into())
    );
}

#[tokio::test]
async fn pages_of_incidents_hold_each_once_whatever_they_are_filtered_by() {
    let broken = Broken::with_orders(3).await;
    for fingerprint in [
        "",
        KIND,
        "ord*",
        "order@*",
        "order@1/ship/*",
        "order@1/ship/TRUCK*",
    ] {
        let (mut seen, mut page_token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let request = v1::ListIncidentsRequest {
                page_size: 2,
                page_token,
                fingerprint: fingerprint.into(),
                ..incidents()
            };
            let page = broken.node.operators().list_incidents(request).await;
            let page = page.unwrap().into_inner();
            seen.extend(page.incidents.into_iter().map(|incident| incident.saga));
            (page_token, pages) = (page.next_page_token, pages + 1);
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!((pages, &seen), (2, &broken.sagas), "{fingerprint}");
    }
    for request in [
        v1::ListIncidentsRequest {
            fingerprint: "order@2*".into(),
            ..incidents()
        },
        v1::ListIncidentsRequest {
            fingerprint: "order@1/-/*".into(),
            ..incidents()
        },
        v1::ListIncidentsRequest {
            definition_id: "another".into(),
            ..incidents()
        },
        v1::ListIncidentsRequest {
            reason: "PIVOT_IN_DOUBT".into(),
            ..incidents()
        },
        v1::ListIncidentsRequest {
            parent: "namespaces/other".into(),
            ..incidents()
        },
    ] {
        let none = broken
            .node
            .operators()
            .list_incidents(request.clone())
            .await;
        assert!(
            none.unwrap().into_inner().incidents.is_empty(),
            "{request:?}"
        );
    }
}

#[tokio::test]
async fn b11_a_page_token_of_other_incidents_is_an_invalid_argument() {
    let broken = Broken::with_orders(2).await;
    let mut operators = broken.node.operators();
    let first = v1::ListIncidentsRequest {
        page_size: 1,
        ..incidents()
    };
    let first = operators.list_incidents(first).await.unwrap().into_inner();
    let page_token = first.next_page_token;
    assert!(!page_token.is_empty());
    let with = |page_token: &str| v1::ListIncidentsRequest {
        page_token: page_token.into(),
        ..incidents()
    };
    for request in [
        v1::ListIncidentsRequest {
            fingerprint: KIND.into(),
            ..with(&page_token)
        },
        v1::ListIncidentsRequest {
            reason: "PAUSED".into(),
            ..with(&page_token)
        },
        v1::ListIncidentsRequest {
            parent: "namespaces/other".into(),
            ..with(&page_token)
        },
        with(&"0".repeat(1 << 20)),
        with("' OR 1=1 --"),
    ] {
        assert_eq!(
            refusal(operators.list_incidents(request).await),
            (Code::InvalidArgument, "PAGE_TOKEN_INVALID".into())
        );
    }
    assert!(operators.list_incidents(with(&page_token)).await.is_ok());
}

#[tokio::test]
async fn b12_filters_of_incidents_without_sense_are_invalid_arguments() {
    let node = Node::start().await;
    let by = |fingerprint: &str| v1::ListIncidentsRequest {
        fingerprint: fingerprint.into(),
        ..incidents()
    };
    let of = |definition: &str, reason: &str| v1::ListIncidentsRequest {
        definition_id: definition.into(),
        reason: reason.into(),
        ..incidents()
    };
    let large = v1::ListIncidentsRequest {
        page_size: 1_001,
        ..incidents()
    };
    for (request, reason) in [
        (large, "PAGE_SIZE_INVALID"),
        (of("", "CARD_DECLINED"), "FILTER_INVALID"),
        (of("'; DROP", ""), "NAME_INVALID"),
        (by("' OR 1=1 --"), "FINGERPRINT_INVALID"),
        (by(&"(".repeat(10_000)), "FINGERPRINT_INVALID"),
        (
            by(&format!("{}*", "a".repeat(1 << 20))),
            "FINGERPRINT_INVALID",
        ),
        (by("order@1/ship/TRUCK%*"), "FINGERPRINT_INVALID"),
    ] {
        assert_eq!(
            refusal(node.operators().list_incidents(request).await),
            (Code::InvalidArgument, reason.into())
        );
    }
}

#[tokio::test]
async fn b13_b15_what_would_break_a_saga_is_a_failed_precondition_with_its_reason() {
    let broken = Broken::with_orders(1).await;
    let input = Some(bytes::Bytes::from_static(b"{}"));
    for (act, code, reason) in [
        (
            Act::Skip(v1::Skip {
                target: at("charge"),
            }),
            Code::FailedPrecondition,
            "PIVOT",
        ),
        (retry("reserve"), Code::FailedPrecondition, "NOT_PARKED"),
        (retry("nothing"), Code::InvalidArgument, "STEP_UNKNOWN"),
        (
            Act::Retry(v1::Retry {
                target: at("ship"),
                input,
            }),
            Code::FailedPrecondition,
            "EFFECT_UNCLEAR",
        ),
        (
            Act::Compensate(v1::Compensate {}),
            Code::FailedPrecondition,
            "BEHIND_POINT_OF_NO_RETURN",
        ),
        (
            Act::Resume(v1::Resume {}),
            Code::FailedPrecondition,
            "NOT_PARKED",
        ),
    ] {
        let about = format!("{act:?}");
        assert_eq!(
            refusal(broken.operate(act).await),
            (code, reason.into()),
            "{about}"
        );
    }
    let item = v1::Target {
        item: u32::MAX,
        ..at("ship").unwrap()
    };
    let act = Act::Skip(v1::Skip { target: Some(item) });
    assert_eq!(
        refusal(broken.operate(act).await),
        (Code::InvalidArgument, "STEP_UNKNOWN".into())
    );
}

#[tokio::test]
async fn b13_acts_on_a_saga_that_is_not_there_or_has_ended_are_refused() {
    let broken = Broken::with_orders(1).await;
    let node = &broken.node;
    assert_eq!(
        refusal(operate(node, &nobody("default"), retry("ship"), false).await),
        (Code::NotFound, "SAGA_NOT_FOUND".into())
    );
    let elsewhere = broken.sagas[0].replace("default", "other");
    assert_eq!(
        refusal(operate(node, &elsewhere, retry("ship"), false).await),
        (Code::NotFound, "SAGA_NOT_FOUND".into())
    );
    assert_eq!(
        broken
            .operate(Act::Terminate(v1::Terminate {}))
            .await
            .unwrap(),
        v1::SagaState::Terminated
    );
    for act in [
        retry("ship"),
        Act::Pause(v1::Pause {}),
        Act::Terminate(v1::Terminate {}),
    ] {
        assert_eq!(
            refusal(broken.operate(act).await).0,
            Code::FailedPrecondition
        );
    }
}

#[tokio::test]
async fn b15_requests_of_operators_without_sense_are_invalid_arguments() {
    let node = Node::with_order().await;
    let name = node.start_order("A-1").await.unwrap().name;
    let sound = v1::OperateSagaRequest {
        name: name.clone(),
        act: Some(v1::Act {
            act: Some(Act::Pause(v1::Pause {})),
        }),
        reason: "why not".into(),
        dry_run: false,
    };
    let with_reason = |reason: &str| v1::OperateSagaRequest {
        reason: reason.into(),
        ..sound.clone()
    };
    let with_act = |act| v1::OperateSagaRequest {
        act,
        ..sound.clone()
    };
    for (request, reason) in [
        (with_reason(""), "REASON_INVALID"),
        (with_reason(" "), "REASON_INVALID"),
        (with_reason(&"x".repeat(1_025)), "REASON_INVALID"),
        (with_reason("a\0"), "REASON_INVALID"),
        (with_act(None), "ACT_MISSING"),
        (with_act(Some(v1::Act { act: None })), "ACT_MISSING"),
        (
            with_act(Some(v1::Act {
                act: Some(retry("")),
            })),
            "TARGET_INVALID",
        ),
        (
            v1::OperateSagaRequest {
                name: "x".into(),
                ..sound.clone()
            },
            "NAME_INVALID",
        ),
    ] {
        let answer = node.operators().operate_saga(request).await;
        assert_eq!(refusal(answer), (Code::InvalidArgument, reason.into()));
    }
    let sound = group_act(Act::Pause(v1::Pause {}));
    for (request, reason) in [
        (
            v1::OperateIncidentsRequest {
                rate: 1_001,
                ..sound.clone()
            },
            "RATE_INVALID",
        ),
        (
            v1::OperateIncidentsRequest {
                fingerprint: String::new(),
                ..sound.clone()
            },
            "FINGERPRINT_INVALID",
        ),
        (
            v1::OperateIncidentsRequest {
                fingerprint: "order@1/*".into(),
                ..sound.clone()
            },
            "FINGERPRINT_INVALID",
        ),
        (
            v1::OperateIncidentsRequest {
                reason: String::new(),
                ..sound.clone()
            },
            "REASON_INVALID",
        ),
        (
            v1::OperateIncidentsRequest {
                act: None,
                ..sound.clone()
            },
            "ACT_MISSING",
        ),
        (group_act(retry("ship")), "TARGET_INVALID"),
        (
            v1::OperateIncidentsRequest {
                parent: "x".into(),
                ..sound.clone()
            },
            "NAME_INVALID",
        ),
    ] {
        let answer = node.operators().operate_incidents(request).await;
        assert_eq!(
            refusal(answer.map(drop)),
            (Code::InvalidArgument, reason.into())
        );
    }
    let paused = operate(&node, &name, Act::Pause(v1::Pause {}), false).await;
    assert_eq!(paused.unwrap(), v1::SagaState::Parked);
}

#[tokio::test]
async fn participants_are_listed_with_what_they_serve() {
    let node = Node::start().await;
    let list = async |parent: &str| {
        let parent = parent.to_owned();
        let request = v1::ListParticipantsRequest { parent };
        let listed = node.operators().list_participants(request).await;
        listed.map(|it| it.into_inner().participants)
    };
    assert!(list(PARENT).await.unwrap().is_empty());
    let _shop = Participant::attached(&node, "shop-1").await;
    let listed = list(PARENT).await.unwrap();
    assert_eq!(listed.len(), 1);
    let shop = &listed[0];
    assert_eq!(
        (shop.participant.as_str(), shop.instance.as_str()),
        ("shop", "shop-1")
    );
    assert_eq!(
        (shop.credit, shop.in_hand, shop.sdk.as_str()),
        (16, 0, "by-hand")
    );
    let mut actions = shop.actions.clone();
    actions.sort();
    assert_eq!(
        actions,
        ["shop.charge", "shop.release", "shop.reserve", "shop.ship"]
    );
    assert_eq!(shop.barrier_actions, shop.actions);
    assert!(list("namespaces/other").await.unwrap().is_empty());
    assert_eq!(refusal(list("namespaces/nowhere").await).0, Code::NotFound);
    assert_eq!(refusal(list("nowhere").await).0, Code::InvalidArgument);
}
