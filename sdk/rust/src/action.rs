//! A handler with its types erased: JSON in, an answer out. It knows neither streams nor databases.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::{Context, Operation};
use crate::fail::Fail;
use crate::outcome::{Answer, Outcome, parse_input, write_output};

/// Something that a participant serves: an action or a compensation. Cheap to clone.
#[derive(Clone)]
pub struct Action {
    barrier: bool,
    run: Arc<dyn Fn(Context, Bytes) -> Running + Send + Sync>,
}

type Running = Pin<Box<dyn Future<Output = Answer> + Send>>;

impl Action {
    /// An action from a plain async function with typed input and output.
    ///
    /// It stands behind no barrier: the server may deliver a command twice, and may deliver a compensation before its
    /// action. An output that is above 1 MiB, or that JSON cannot hold, means "effect yes, output unusable": the
    /// attempt is reported as succeeded with an output that the server refuses, which never retries it and
    /// compensates a step that can be. Behind a barrier the effect is taken back instead, and the outcome is *fatal*.
    #[must_use]
    pub fn new<F, R, I, O>(handler: F) -> Self
    where
        F: Fn(Context, I) -> R + Send + Sync + 'static,
        R: Future<Output = Result<O, Fail>> + Send + 'static,
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
    {
        let handler = Arc::new(handler);
        Self::erased(false, move |context, input| {
            let handler = handler.clone();
            async move { run_plain(&*handler, context, &input).await }
        })
    }

    /// Answers whether an action had its effect: `Some` with the action's output if it had, `None` if it has had none and
    /// never will have. Where that cannot be told, or may still change, it fails, and is asked again. A definition names it
    /// in a step's `query`; its input is the action's, and [`Context::forward_operation_key`] names the operation.
    ///
    /// ```
    /// use amends_sdk::{Action, Context, Fail};
    ///
    /// #[derive(serde::Serialize)]
    /// struct Charged { id: String }
    ///
    /// async fn find_charge(operation_key: &str) -> Result<Option<Charged>, Fail> {
    ///     # let _ = operation_key;
    ///     Ok(Some(Charged { id: "ch_1".to_owned() }))
    /// }
    ///
    /// let was_charged = Action::query(|context: Context, _input: serde_json::Value| async move {
    ///     let key = context.forward_operation_key().unwrap_or_default().to_owned();
    ///     find_charge(&key).await
    /// });
    /// assert!(!was_charged.has_barrier());
    /// ```
    #[must_use]
    pub fn query<F, R, I, O>(handler: F) -> Self
    where
        F: Fn(Context, I) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Option<O>, Fail>> + Send + 'static,
        I: DeserializeOwned + Send + 'static,
        O: Serialize + Send + 'static,
    {
        let handler = Arc::new(handler);
        Self::erased(false, move |context, input| {
            let handler = handler.clone();
            async move { run_query(&*handler, context, &input).await }
        })
    }

    /// Runs `prepare` before each attempt, outside of the barrier's transaction: to wait for a turn, or to refuse
    /// what this process cannot do at the moment. Where it fails, the attempt ends with that, and nothing is
    /// recorded; so it has to be *failed*, never a business "no".
    #[must_use]
    pub fn before<F, R>(self, prepare: F) -> Self
    where
        F: Fn(Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Fail>> + Send + 'static,
    {
        let prepare = Arc::new(prepare);
        let barrier = self.barrier;
        Self::erased(barrier, move |context: Context, input| {
            let (inner, prepare) = (self.clone(), prepare.clone());
            async move {
                match prepare(context.clone()).await {
                    Ok(()) => (inner.run)(context, input).await,
                    Err(fail) => Answer::fail(fail),
                }
            }
        })
    }

    /// Calls `observe` with each answer before it is reported, and after it is recorded where there is a barrier: for
    /// metrics, and for tests that crash a participant at the worst moment.
    #[must_use]
    pub fn inspect(self, observe: impl Fn(&Context, &Answer) + Send + Sync + 'static) -> Self {
        let observe = Arc::new(observe);
        let barrier = self.barrier;
        Self::erased(barrier, move |context: Context, input| {
            let (inner, observe) = (self.clone(), observe.clone());
            async move {
                let answer = (inner.run)(context.clone(), input).await;
                observe(&context, &answer);
                answer
            }
        })
    }

    /// Whether it stands behind a barrier.
    #[must_use]
    pub fn has_barrier(&self) -> bool {
        self.barrier
    }

    /// Runs one attempt. A panic becomes *failed* with the code `PANIC` (unless the program aborts on panics).
    pub async fn invoke(&self, context: Context, input: Bytes) -> Answer {
        let attempt = AssertUnwindSafe((self.run)(context, input));
        match attempt.catch_unwind().await {
            Ok(answer) => answer,
            Err(panic) => {
                let text = panic
                    .downcast_ref::<&'static str>()
                    .map(ToString::to_string)
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "a panic without words".to_owned());
                Answer::fail(Fail::failed("PANIC").message(text))
            }
        }
    }

    pub(crate) fn erased<F, R>(barrier: bool, run: F) -> Self
    where
        F: Fn(Context, Bytes) -> R + Send + Sync + 'static,
        R: Future<Output = Answer> + Send + 'static,
    {
        Self {
            barrier,
            // Even the call that makes the future runs inside the one that is caught.
            run: Arc::new(move |context, input| Box::pin(run(context, input))),
        }
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Action")
            .field("barrier", &self.barrier)
            .finish_non_exhaustive()
    }
}

async fn run_query<F, R, I, O>(handler: &F, context: Context, input: &Bytes) -> Answer
where
    F: Fn(Context, I) -> R,
    R: Future<Output = Result<Option<O>, Fail>>,
    I: DeserializeOwned,
    O: Serialize,
{
    if context.operation() != Operation::Query {
        let text = "this answers whether an action had its effect, and does nothing else";
        return Answer::fail(Fail::fatal("WRONG_OPERATION").message(text));
    }
    let input = match parse_input(input) {
        Ok(input) => input,
        Err(fail) => return Answer::fail(fail),
    };
    match handler(context, input).await {
        Ok(None) => Answer::plain(Outcome::Absent),
        Ok(Some(output)) => match write_output(&output) {
            Ok(bytes) => Answer::plain(Outcome::Succeeded(bytes)),
            Err(unusable) => {
                let fail = Fail::failed(unusable.code).message(unusable.message);
                Answer::fail(fail)
            }
        },
        Err(fail) => Answer::fail(fail),
    }
}

async fn run_plain<F, R, I, O>(handler: &F, context: Context, input: &Bytes) -> Answer
where
    F: Fn(Context, I) -> R,
    R: Future<Output = Result<O, Fail>>,
    I: DeserializeOwned,
    O: Serialize,
{
    let input = match parse_input(input) {
        Ok(input) => input,
        Err(fail) => return Answer::fail(fail),
    };
    match handler(context, input).await {
        Ok(output) => match write_output(&output) {
            Ok(bytes) => Answer::plain(Outcome::Succeeded(bytes)),
            // The effect is there: `fatal` would deny it, and `failed` would repeat it.
            Err(unusable) => {
                tracing::error!(code = unusable.code, "{}", unusable.message);
                Answer::plain(Outcome::Succeeded(unusable.sent))
            }
        },
        Err(fail) => Answer::fail(fail),
    }
}
