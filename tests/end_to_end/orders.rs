//! `place-order` as the page of the language has it, word by word, and as `examples/order-fulfilment` has it.

use amends_example_order_fulfilment::{
    DEFINITION, ParticipantKind, ParticipantOptions, run_participant,
};
use amends_proto::v1::{SagaState, StepState};
use amends_sdk::{Context, Fail, Participant, StartOptions};
use amends_tests::server::Store;
use serde_json::{Value, json};

use crate::examples::{Attached, forward};
use crate::stage::Stage;

/// The page's own words.
const OF_THE_PAGE: &str =
    include_str!("../../definitions/corpus/accepted/example-place-order.saga.yaml");

fn services() -> Vec<Participant> {
    let done = |_: Context, _: Value| async { Ok::<_, Fail>(json!({})) };
    let charge = |_: Context, input: Value| async move {
        match input["account"].as_str() {
            Some("broke") => Err(Fail::rejected("CARD_DECLINED").message("no money")),
            _ => Ok(json!({"charged_minor": input["amount_minor"]})),
        }
    };
    let ship = |_: Context, input: Value| async move {
        let order = input["order"].as_str().unwrap_or_default().to_owned();
        Ok::<_, Fail>(json!({"tracking": format!("TRK-{order}")}))
    };
    vec![
        Participant::new("inventory")
            .action("reserve", done)
            .action("release", done),
        Participant::new("payments").action("charge", charge),
        Participant::new("shipping").action("create", ship),
        Participant::new("mail").action("send", done),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_the_page_runs_word_by_word_with_and_without_an_email() {
    for store in Store::ALL {
        let stage = Stage::open(store).await;
        stage.client.apply_definition(OF_THE_PAGE).await.unwrap();
        let services = services().into_iter();
        let _attached: Vec<_> = services.map(|one| Attached::new(&stage, one)).collect();
        let order = |id: &str, customer: &str| json!({"order_id": id, "customer": customer, "total_minor": 700, "items": [{"sku": "tea"}]});
        let start = async |order: &Value| {
            let options = StartOptions::keyed_by_definition();
            let started = stage.client.start("place-order", order, &options).await;
            started.unwrap().name
        };
        let mut with_email = order("o1", "ada");
        with_email["email"] = json!("ada@example.org");
        let told = stage
            .settled_as(&start(&with_email).await, SagaState::Completed)
            .await;
        assert_eq!(forward(&told, "notify"), StepState::Succeeded);
        let output: Value = serde_json::from_slice(&told.output).unwrap();
        assert_eq!(output, json!({"tracking": "TRK-o1"}));
        let name = start(&order("o2", "ada")).await;
        let silent = stage.settled_as(&name, SagaState::Completed).await;
        assert_eq!(forward(&silent, "notify"), StepState::Skipped);
        let name = start(&order("o3", "broke")).await;
        let undone = stage.settled_as(&name, SagaState::Compensated).await;
        assert_eq!(undone.abort.unwrap().code, "CARD_DECLINED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_without_an_email_is_shipped_and_nobody_is_told() {
    let stage = Stage::open(Store::Sqlite).await;
    stage.client.apply_definition(DEFINITION).await.unwrap();
    let mut services = tokio::task::JoinSet::new();
    for kind in ParticipantKind::ALL {
        let books = stage.server.directory().join(format!("{kind}.db"));
        let options = ParticipantOptions {
            server_addr: stage.server.address(),
            database_url: format!("sqlite:{}", books.display()),
            orders: 10,
            ..ParticipantOptions::default()
        };
        services.spawn(run_participant(kind, options, std::future::pending()));
    }
    let order = json!({
        "order_id": "silent-1", "customer": "newcomer", "address": "1 Mill Lane", "total_minor": 890,
        "items": [{"sku": "tea-assam-250g", "quantity": 1, "unit_price_minor": 890}],
    });
    let options = StartOptions::keyed_by_definition();
    let started = stage.client.start("place-order", &order, &options).await;
    let name = started.unwrap().name;
    let saga = stage.settled_as(&name, SagaState::Completed).await;
    assert_eq!(forward(&saga, "ship"), StepState::Succeeded);
    assert_eq!(forward(&saga, "notify"), StepState::Skipped);
}
