//! What the tests here play on: a real server on either store, a client, and a participant whose answers each test scripts.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use amends_proto::v1::participant_service_client::ParticipantServiceClient;
use amends_proto::v1::saga_service_client::SagaServiceClient;
use amends_proto::v1::{self, SagaState};
use amends_sdk::{Client, Context, Fail, Operation, Participant, ParticipantOptions, StartOptions};
use amends_tests::server::{Server, Store};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

/// Two steps that can be undone, the point of no return, one step behind it.
pub const SHOP: &str = "\
apiVersion: amends/v1
name: shop
retryPolicies:
  quick: {initialInterval: 20ms, backoff: 1, maxInterval: 20ms, maxAttempts: 5, jitter: 0}
defaults: {timeout: 10s, retry: {initialInterval: 20ms, backoff: 1, maxInterval: 20ms, maxAttempts: 5, jitter: 0}}
steps:
  - id: reserve
    call: shop.reserve
    input: {order: \"${{ input.order }}\"}
    compensate: {call: shop.release, retry: quick}
  - id: hold
    call: shop.hold
    compensate: {call: shop.unhold, retry: quick}
  - id: pay
    kind: pivot
    call: shop.pay
  - id: ship
    kind: retriable
    call: shop.ship
    retry: {initialInterval: 20ms, backoff: 1, maxInterval: 20ms, maxAttempts: 0, jitter: 0}
output: {tracking: \"${{ steps.ship.output.tracking }}\"}
";

/// Everything that the participant `shop` serves.
pub const ACTIONS: [&str; 6] = ["reserve", "release", "hold", "unhold", "pay", "ship"];

/// Long enough for a slow machine; nobody waits for it but a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// A server and a client.
pub struct Stage {
    pub server: Server,
    pub client: Client,
}

impl Stage {
    /// A server on a new database, with `SHOP` applied.
    pub async fn open(store: Store) -> Self {
        Self::open_with(store, &[]).await
    }

    /// The same, with settings.
    pub async fn open_with(store: Store, settings: &[(&str, &str)]) -> Self {
        let server = Server::start_with(store, settings);
        let client = Client::connect_lazy(&server.address()).unwrap();
        client.apply_definition(SHOP).await.unwrap();
        Self { server, client }
    }

    /// Starts a saga of `SHOP` with a key, and returns its name.
    pub async fn start(&self, key: &str) -> String {
        let options = StartOptions::key(key);
        let input = json!({"order": key});
        let started = self.client.start("shop", &input, &options).await.unwrap();
        assert!(started.created, "{key} had a saga already");
        started.name
    }

    /// Waits until a saga ended or parked.
    pub async fn settled(&self, saga: &str) -> v1::Saga {
        let waited = self.client.wait(saga, PATIENCE).await.unwrap();
        let saga = waited.saga.unwrap();
        assert!(
            waited.settled,
            "still under way: {saga:?}\n{}",
            self.server.log()
        );
        saga
    }

    /// Waits until a saga ended or parked in this state.
    pub async fn settled_as(&self, saga: &str, state: SagaState) -> v1::Saga {
        let saga = self.settled(saga).await;
        assert_eq!(saga.state(), state, "{saga:?}");
        saga
    }

    /// A bare client of the sagas, for what the SDK would never say.
    pub async fn sagas(&self) -> SagaServiceClient<Channel> {
        let client = SagaServiceClient::new(self.channel().await);
        client.max_encoding_message_size(64 << 20)
    }

    /// A connection.
    pub async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(self.server.address()).unwrap();
        endpoint.connect().await.unwrap()
    }

    /// Attaches a participant that answers by a script.
    pub fn attach<F, R>(&self, script: F) -> Actor
    where
        F: Fn(Call) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, Fail>> + Send + 'static,
    {
        let script = move |call| -> Answer { Box::pin(script(call)) };
        Actor::attach(&self.server.address(), Arc::new(script))
    }

    /// Attaches a participant to which everything succeeds.
    pub fn attach_willing(&self) -> Actor {
        self.attach(|call| async move { Ok(willing(&call)) })
    }

    /// A participant's stream, word by word.
    pub async fn bare_stream(&self) -> BareStream {
        BareStream::open(self.channel().await).await
    }
}

/// What the participant answers when it has nothing against it.
pub fn willing(call: &Call) -> Value {
    match call.action.as_str() {
        "ship" => json!({"tracking": "TRK-1"}),
        _ => json!({"done": call.action}),
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Value, Fail>> + Send>>;

/// One attempt as the participant saw it.
#[derive(Debug, Clone)]
pub struct Call {
    pub action: String,
    pub attempt: u32,
    pub key: String,
    pub saga: String,
    pub revision: u32,
    pub traceparent: Option<String>,
    pub compensates: bool,
    pub input: Value,
}

impl Call {
    fn new(context: &Context, input: Value) -> Self {
        let action = context.action();
        Self {
            action: action.rsplit('.').next().unwrap_or(action).to_owned(),
            attempt: context.attempt(),
            key: context.operation_key().to_owned(),
            saga: context.saga().to_owned(),
            revision: context.revision(),
            traceparent: context.traceparent().map(ToOwned::to_owned),
            compensates: context.operation() == Operation::Compensate,
            input,
        }
    }
}

/// A participant that runs.
pub struct Actor {
    calls: Arc<Mutex<Vec<Call>>>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Actor {
    fn attach(address: &str, script: Arc<dyn Fn(Call) -> Answer + Send + Sync>) -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let mut participant = Participant::new("shop").options(ParticipantOptions {
            backoff: (Duration::from_millis(10), Duration::from_millis(100)),
            ..ParticipantOptions::default()
        });
        for action in ACTIONS {
            let (calls, script) = (calls.clone(), script.clone());
            participant = participant.action(action, move |context: Context, input: Value| {
                let call = Call::new(&context, input);
                calls.lock().unwrap().push(call.clone());
                script(call)
            });
        }
        let (stop, stopped) = oneshot::channel::<()>();
        let address = address.to_owned();
        let task = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            participant.run_until(&address, stopped).await.unwrap();
        });
        Self {
            calls,
            stop: Some(stop),
            task,
        }
    }

    /// What it was asked for so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// The actions of that, for one saga.
    pub fn actions(&self, saga: &str) -> Vec<String> {
        let calls = self.calls();
        let of_saga = calls.into_iter().filter(|call| call.saga == saga);
        of_saga.map(|call| call.action).collect()
    }

    /// Drains, and returns when it has left.
    pub async fn leave(mut self) {
        drop(self.stop.take());
        (&mut self.task).await.unwrap();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A participant's stream without an SDK.
pub struct BareStream {
    say: Option<mpsc::Sender<v1::AttachRequest>>,
    heard: Streaming<v1::AttachResponse>,
}

impl BareStream {
    async fn open(channel: Channel) -> Self {
        let (say, said) = mpsc::channel(64);
        let mut client = ParticipantServiceClient::new(channel);
        let heard = client.attach(ReceiverStream::new(said)).await.unwrap();
        Self {
            say: Some(say),
            heard: heard.into_inner(),
        }
    }

    /// Says one thing.
    pub async fn say(&self, message: v1::attach_request::Message) {
        self.say_any(Some(message)).await;
    }

    /// Says one thing, or nothing in a message.
    pub async fn say_any(&self, message: Option<v1::attach_request::Message>) {
        let say = self.say.as_ref().expect("it has not hung up");
        // A server that has closed the stream says why when it is listened to.
        let _ = say.send(v1::AttachRequest { message }).await;
    }

    /// Introduces itself as the shop, and returns the server's welcome.
    pub async fn greet(&mut self, hello: v1::Hello) -> v1::Welcome {
        self.say(v1::attach_request::Message::Hello(hello)).await;
        match self.hear().await.unwrap() {
            v1::attach_response::Message::Welcome(welcome) => welcome,
            other => panic!("no welcome: {other:?}"),
        }
    }

    /// The next thing that the server says, or why it ended.
    pub async fn hear(&mut self) -> Result<v1::attach_response::Message, tonic::Status> {
        let next = tokio::time::timeout(PATIENCE, self.heard.message()).await;
        let next = next.expect("the server says something");
        match next? {
            Some(response) => Ok(response.message.expect("it says what it says")),
            None => Err(tonic::Status::ok("the stream ended")),
        }
    }

    /// Waits for one command.
    pub async fn command(&mut self) -> v1::Command {
        loop {
            if let v1::attach_response::Message::Commands(mut batch) = self.hear().await.unwrap() {
                assert_eq!(batch.commands.len(), 1, "{batch:?}");
                return batch.commands.remove(0);
            }
        }
    }

    /// Says what an attempt came to, and returns the server's acknowledgement.
    pub async fn answer(&mut self, outcome: v1::AttemptOutcome) -> v1::Acknowledgement {
        let key = (outcome.operation_key.clone(), outcome.attempt);
        self.say(v1::attach_request::Message::Outcomes(v1::Outcomes {
            outcomes: vec![outcome],
        }))
        .await;
        loop {
            match self.hear().await.unwrap() {
                v1::attach_response::Message::Acknowledgements(batch) => {
                    let own = |a: &v1::Acknowledgement| (a.operation_key.clone(), a.attempt) == key;
                    if let Some(answer) = batch.acknowledgements.into_iter().find(own) {
                        return answer;
                    }
                }
                v1::attach_response::Message::Commands(_)
                | v1::attach_response::Message::Withdrawals(_) => {}
                other => panic!("no acknowledgement: {other:?}"),
            }
        }
    }
}

/// The shop introduces itself.
pub fn hello(instance: &str, credit: u32) -> v1::Hello {
    let offer = |action: &&str| v1::ActionOffer {
        action: format!("shop.{action}"),
        barrier: false,
    };
    v1::Hello {
        protocol_version: 1,
        namespace: "namespaces/default".to_owned(),
        participant: "shop".to_owned(),
        instance: instance.to_owned(),
        actions: ACTIONS.iter().map(offer).collect(),
        credit,
        in_hand: Vec::new(),
        sdk: "tests/0".to_owned(),
    }
}

/// A success of this command.
pub fn succeeded(command: &v1::Command) -> v1::AttemptOutcome {
    let output = json!({"tracking": "TRK-1"}).to_string().into_bytes();
    v1::AttemptOutcome {
        operation_key: command.operation_key.clone(),
        attempt: command.attempt,
        outcome: Some(v1::attempt_outcome::Outcome::Succeeded(v1::Succeeded {
            output: output.into(),
        })),
        ..v1::AttemptOutcome::default()
    }
}
