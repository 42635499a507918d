//! The command line of operators: signals, acts on sagas and on groups of incidents, participants.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Options of `saga signal`.
#[derive(Clone, Debug, Args)]
#[command(after_help = SIGNAL_HELP)]
pub struct SignalArguments {
    /// The saga's id or resource name
    pub saga: String,
    /// The signal's id, as the saga's definition declares it
    pub signal: String,
    /// What comes with it: JSON, @FILE, or - for standard input; null if absent
    #[arg(long, value_parser = json, value_name = "JSON")]
    pub payload: Option<Json>,
    /// Your own id for this signal: another with the same one is a duplicate
    #[arg(long, value_name = "ID")]
    pub dedupe_id: Option<String>,
}

const SIGNAL_HELP: &str = "A signal is kept until a step waits for it; it may come early.

  amends saga signal SAGA approval_decided --payload '{\"approved\": true}'
  amends saga signal SAGA approval_decided --payload @decision.json --dedupe-id mail-7";

/// What every act on a saga takes.
#[derive(Clone, Debug, Args)]
pub struct ActArguments {
    /// The saga's id or resource name
    pub saga: String,
    /// Why; it is recorded
    #[arg(long, value_name = "WHY")]
    pub reason: String,
    /// Only say what would become of it
    #[arg(long)]
    pub dry_run: bool,
}

/// A step, or one of its items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The step's id.
    pub step: String,
    /// The item under `foreach`, from 1; 0 is the step itself.
    pub item: u32,
}

/// Which of a step's operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OperationChoice {
    /// Its action
    Forward,
    /// What undoes it
    Compensate,
}

/// Options of `saga retry`.
#[derive(Clone, Debug, Args)]
#[command(after_help = RETRY_HELP)]
pub struct RetryArguments {
    /// The step
    #[command(flatten)]
    pub at: StepArguments,
    /// Instead of the recorded input: JSON, @FILE, or - for standard input
    #[arg(long, value_parser = json, value_name = "JSON")]
    pub input: Option<Json>,
    /// Which of its operations
    #[arg(long, value_enum, default_value_t = OperationChoice::Forward, value_name = "OPERATION")]
    pub operation: OperationChoice,
}

const RETRY_HELP: &str = "Its budget of attempts begins anew. With --input it is a new operation to its participant: refused while the \
old one may have had an effect.

  amends saga retry SAGA ship --reason 'the truck is mended'
  amends saga retry SAGA reserve#3 --input @patched.json --reason 'wrong article'
  amends saga retry SAGA hold --operation compensate --reason 'inventory is back'";

/// Options of `saga resolve`.
#[derive(Clone, Debug, Args)]
#[command(after_help = RESOLVE_HELP)]
pub struct ResolveArguments {
    /// The saga and why
    #[command(flatten)]
    pub act: ActArguments,
    /// The step's id; STEP#ITEM for one of its items; absent for the saga itself, if it lacks its output alone
    #[arg(value_parser = place, value_name = "STEP[#ITEM]")]
    pub place: Option<Place>,
    /// What stands for its output: JSON, @FILE, or - for standard input; null if absent
    #[arg(long, value_parser = json, value_name = "JSON")]
    pub result: Option<Json>,
    /// Which of its operations; its action if absent
    #[arg(long, value_enum, requires = "place", value_name = "OPERATION")]
    pub operation: Option<OperationChoice>,
}

/// Options of `saga resolve-absent`.
#[derive(Clone, Debug, Args)]
#[command(after_help = RESOLVE_ABSENT_HELP)]
pub struct ResolveAbsentArguments {
    /// The step
    #[command(flatten)]
    pub at: StepArguments,
    /// Which of its operations
    #[arg(long, value_enum, default_value_t = OperationChoice::Forward, value_name = "OPERATION")]
    pub operation: OperationChoice,
}

const RESOLVE_ABSENT_HELP: &str = "For what the participant's books say never happened, and never will. A compensation stays owed: it can be
retried with another input then.

  amends saga resolve-absent SAGA charge --reason 'the bank has no such payment'
  amends saga resolve-absent SAGA hold --operation compensate --reason 'the hold is still there'";

const RESOLVE_HELP: &str = "For what was done by hand, or what the participant's books say was done.

  amends saga resolve SAGA charge --result '{\"charged_minor\": 7680}' --reason 'it is in the bank statement'
  amends saga resolve SAGA hold --operation compensate --reason 'released by hand'
  amends saga resolve SAGA --result '{\"tracking\": \"T-1\"}' --reason 'every step is done, its output has no value'";

/// A saga, a step of it, and why.
#[derive(Clone, Debug, Args)]
pub struct StepArguments {
    /// The saga and why
    #[command(flatten)]
    pub act: ActArguments,
    /// The step's id; STEP#ITEM for one of its items
    #[arg(value_parser = place, value_name = "STEP[#ITEM]")]
    pub place: Place,
}

/// Incidents.
#[derive(Debug, Subcommand)]
pub enum IncidentCommand {
    /// List open incidents, the oldest first
    #[command(after_help = INCIDENT_LIST_HELP)]
    List(IncidentListArguments),
    /// Count open incidents by what they have in common, the most frequent first
    Groups {
        /// Only of this definition
        #[arg(long, value_name = "NAME")]
        definition: Option<String>,
    },
    /// Do the same about every saga with an open incident of one kind, the oldest first
    #[command(after_help = INCIDENT_ACT_HELP)]
    Act(IncidentActArguments),
}

const INCIDENT_LIST_HELP: &str = "  amends incident list --reason PIVOT_IN_DOUBT
  amends incident list --fingerprint 'place-order@3/*'";

const INCIDENT_ACT_HELP: &str =
    "The fingerprint is DEFINITION@REVISION/STEP/CODE, as `amends incident groups` lists it. Ends with 1 if a saga refused the
act: the others are done, and Ctrl-C stops what is left.

  amends incident act place-order@3/ship/TRUCK_BROKEN retry --reason 'mended' --dry-run
  amends incident act place-order@3/ship/TRUCK_BROKEN retry --reason 'mended' --rate 50";

/// Options of `incident list`.
#[derive(Clone, Debug, Args)]
pub struct IncidentListArguments {
    /// Only with this fingerprint; one that ends in * names a beginning
    #[arg(long, value_name = "FINGERPRINT")]
    pub fingerprint: Option<String>,
    /// Only of this definition
    #[arg(long, value_name = "NAME")]
    pub definition: Option<String>,
    /// Only for this reason, such as STEP_EXHAUSTED
    #[arg(long, value_name = "REASON")]
    pub reason: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    pub limit: u32,
    /// Go on where an earlier list ended
    #[arg(long, value_name = "TOKEN")]
    pub page_token: Option<String>,
}

/// Options of `incident act`.
#[derive(Clone, Debug, Args)]
pub struct IncidentActArguments {
    /// What the incidents have in common
    pub fingerprint: String,
    /// What to do about each
    #[arg(value_enum)]
    pub act: ActChoice,
    /// Why; it is recorded with each saga
    #[arg(long, value_name = "WHY")]
    pub reason: String,
    /// With retry: instead of the recorded input: JSON, @FILE, or - for standard input
    #[arg(long, value_parser = json, value_name = "JSON")]
    pub input: Option<Json>,
    /// With resolve: what stands for the output: JSON, @FILE, or - for standard input
    #[arg(long, value_parser = json, value_name = "JSON")]
    pub result: Option<Json>,
    /// Sagas in a second
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "N")]
    pub rate: u32,
    /// Sagas at most; all if absent
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    pub limit: Option<u32>,
    /// Only say what would become of them
    #[arg(long)]
    pub dry_run: bool,
}

/// What is done about a saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ActChoice {
    /// Try the parked operation again
    Retry,
    /// Take the step for skipped
    Skip,
    /// Take the parked operation for done
    Resolve,
    /// The parked operation has had no effect
    ResolveAbsent,
    /// Undo the saga
    Compensate,
    /// Begin nothing more going forward
    Pause,
    /// Go on
    Resume,
    /// End the saga as it is
    Terminate,
}

/// Participants.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ParticipantCommand {
    /// List the participants that are attached
    List,
}

/// JSON, or where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// As it stands on the command line.
    Given(String),
    /// In a file; `-` is standard input.
    In(PathBuf),
}

// What is JSON is the server's to say, with its own words.
#[expect(clippy::unnecessary_wraps, reason = "clap asks for a result")]
fn json(text: &str) -> Result<Json, String> {
    Ok(match text.strip_prefix('@') {
        Some(path) => Json::In(path.into()),
        None if text == "-" => Json::In(text.into()),
        None => Json::Given(text.to_owned()),
    })
}

fn place(text: &str) -> Result<Place, String> {
    let (step, item) = match text.split_once('#') {
        None => (text, 0),
        Some((step, item)) => {
            let item = item.parse().ok().filter(|item| *item > 0);
            let wrong = || {
                format!(
                    "`{text}` is no step: write it as STEP, or as STEP#ITEM with an item from 1"
                )
            };
            (step, item.ok_or_else(wrong)?)
        }
    };
    if step.is_empty() {
        return Err("name a step".to_owned());
    }
    Ok(Place {
        step: step.to_owned(),
        item,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_step_or_one_of_its_items() {
        let read = |text| place(text).map(|place| (place.step, place.item));
        assert_eq!(read("ship"), Ok(("ship".to_owned(), 0)));
        assert_eq!(read("reserve#12"), Ok(("reserve".to_owned(), 12)));
        for text in ["", "#1", "a#", "a#0", "a#-1", "a#1#2", "a#99999999999"] {
            assert!(place(text).is_err(), "{text}");
        }
    }

    #[test]
    fn json_stands_on_the_line_or_in_a_file() {
        assert_eq!(json("{}"), Ok(Json::Given("{}".to_owned())));
        assert_eq!(json("@a.json"), Ok(Json::In("a.json".into())));
        assert_eq!(json("-"), Ok(Json::In("-".into())));
        assert_eq!(json("-1"), Ok(Json::Given("-1".to_owned())));
    }
}
