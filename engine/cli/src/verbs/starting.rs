//! `saga start`: one saga, or one for each line of a file over one stream.

use std::io::{BufRead, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use amends_proto::v1 as proto;
use amends_sdk::{ClientError, Start, StartOptions, StartStream};
use futures_util::StreamExt as _;
use futures_util::stream::unfold;
use tokio::sync::mpsc;

use super::saga::{show_settled, wait};
use super::{INPUT_BYTES_MAX, read_input};
use crate::arguments::{Global, StartArguments};
use crate::connection::{Connection, id_of, proto_duration};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{say, show, show_item};
use crate::view::started::{LineView, StartedView};

/// How long the first call waits: most sagas have ended by then, and nobody waits longer to see the id.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// Lines that are under way at once.
const LINES_AT_ONCE: usize = 1_024;
/// Lines that are read ahead.
const LINES_AHEAD: usize = 64;

/// Starts; the exit is [`Exit::Wrong`] where a saga that was waited for did not complete, or a line was refused.
///
/// # Errors
/// What cannot be read, and what the server refuses.
pub async fn run(global: &Global, arguments: &StartArguments) -> Result<Exit, Failure> {
    match &arguments.many {
        Some(path) => many(global, arguments, path).await,
        None => one(global, arguments).await,
    }
}

async fn one(global: &Global, arguments: &StartArguments) -> Result<Exit, Failure> {
    let input = match &arguments.input {
        Some(path) => read_input(path, INPUT_BYTES_MAX)?,
        None => Vec::new(),
    };
    if arguments.input.is_some() && input.is_empty() {
        return Err(Failure::new(Exit::Invalid, "the saga was not started")
            .because("the input is empty, and JSON never is")
            .advice("leave --input out for an input of {}"));
    }
    let connection = Connection::open(&global.server, &global.namespace).await?;
    let first_wait = arguments
        .timeout
        .map_or(FIRST_WAIT, |timeout| timeout.min(FIRST_WAIT));
    let request = proto::StartSagaRequest {
        parent: connection.parent(),
        definition: connection.definition_name(&arguments.definition),
        revision: arguments.revision,
        key: arguments.key.clone(),
        input: input.into(),
        wait: arguments.wait.then(|| proto_duration(first_wait)),
    };
    let answer = connection.sagas().start_saga(request).await;
    let answer = answer
        .map_err(|status| {
            Failure::refused(
                format!("no saga of {} was started", arguments.definition),
                &status,
            )
        })?
        .into_inner();
    let id = id_of(&answer.name).to_owned();
    say(if answer.created {
        format!(
            "started saga {id} of {} revision {}",
            arguments.definition, answer.revision
        )
    } else {
        format!("the key has saga {id} already, with the same input: nothing was started")
    });
    if !arguments.wait {
        show(global.output, &StartedView::from(answer))?;
        return Ok(Exit::Ok);
    }
    let name = answer.name;
    if answer.settled {
        return show_settled(global, &connection, &name, true).await;
    }
    let left = arguments
        .timeout
        .map(|timeout| timeout.saturating_sub(first_wait));
    wait(global, &connection, &name, left).await
}

/// How many lines came to what.
#[derive(Default)]
struct Tally {
    started: u64,
    refused: u64,
    incomplete: u64,
}

impl Tally {
    fn add(&mut self, line: &Line, waited: bool) {
        self.refused += u64::from(line.refused);
        self.started += u64::from(!line.refused);
        self.incomplete += u64::from(!line.refused && waited && !line.completed);
    }
}

/// What became of one line.
struct Line {
    view: LineView,
    refused: bool,
    completed: bool,
}

async fn many(global: &Global, arguments: &StartArguments, path: &Path) -> Result<Exit, Failure> {
    let mut lines = lines(path.to_owned());
    let connection = Connection::open(&global.server, &global.namespace).await?;
    let stream = connection.client().start_stream();
    let mut unread = None;
    let starts = unfold((&mut lines, &mut unread), |(lines, unread)| async move {
        match lines.recv().await? {
            Ok(line) => Some((line, (lines, unread))),
            Err(failure) => {
                *unread = Some(failure);
                None
            }
        }
    });
    let mut tally = Tally::default();
    {
        let under_way = starts.map(|(number, input)| start_line(&stream, arguments, number, input));
        // Answers come in the order of the lines, ends do not.
        let became = if arguments.wait {
            under_way.buffer_unordered(LINES_AT_ONCE).left_stream()
        } else {
            under_way.buffered(LINES_AT_ONCE).right_stream()
        };
        let mut became = std::pin::pin!(became);
        while let Some(line) = became.next().await {
            let line = line?;
            tally.add(&line, arguments.wait);
            show_item(global.output, &line.view)?;
        }
    }
    say(summary(&tally, arguments.wait));
    match unread {
        Some(failure) => Err(failure),
        None if tally.refused > 0 || tally.incomplete > 0 => Ok(Exit::Wrong),
        None => Ok(Exit::Ok),
    }
}

fn summary(tally: &Tally, waited: bool) -> String {
    let (started, refused) = (tally.started, tally.refused);
    let mut text = format!("{started} started or found, {refused} refused");
    if waited {
        text.push_str(&format!(", {} did not complete", tally.incomplete));
    }
    text
}

async fn start_line(
    stream: &StartStream,
    arguments: &StartArguments,
    number: u64,
    input: Vec<u8>,
) -> Result<Line, Failure> {
    let start = Start::raw(arguments.definition.as_str(), input).options(StartOptions {
        revision: arguments.revision,
        ..StartOptions::default()
    });
    let started = if arguments.wait {
        run_line(stream, start, number, arguments.timeout).await
    } else {
        stream.start(start).await.map(|started| Line {
            view: LineView::started(number, &started),
            refused: false,
            completed: false,
        })
    };
    started.or_else(|error| match error.rpc() {
        Some(refusal) => Ok(Line {
            view: LineView::refused(number, refusal),
            refused: true,
            completed: false,
        }),
        None => Err(Failure::wrong(format!("line {number} was not started")).because(error)),
    })
}

async fn run_line(
    stream: &StartStream,
    start: Start,
    number: u64,
    timeout: Option<Duration>,
) -> Result<Line, ClientError> {
    let running = stream.start_to_end(start).await?;
    let view = LineView::started(number, &running.started);
    let settled = match timeout {
        Some(timeout) => tokio::time::timeout(timeout, running.settled()).await.ok(),
        None => Some(running.settled().await),
    };
    let (view, completed) = match settled {
        Some(Ok(settled)) => {
            let completed = settled.state() == proto::SagaState::Completed;
            (view.settled(settled), completed)
        }
        Some(Err(error)) => (view.unsettled(&error.to_string()), false),
        None => (view.unsettled("it goes on by itself"), false),
    };
    Ok(Line {
        view,
        refused: false,
        completed,
    })
}

type Numbered = (u64, Vec<u8>);

/// The lines of a file that are not blank, with their numbers. They are read as they are needed.
fn lines(path: PathBuf) -> mpsc::Receiver<Result<Numbered, Failure>> {
    let (line, lines) = mpsc::channel(LINES_AHEAD);
    tokio::task::spawn_blocking(move || {
        let unreadable = |error: std::io::Error| {
            Failure::usage(format!("{} cannot be read", path.display()))
                .because(error)
                .advice("name a file that exists and can be read, or `-` for standard input")
        };
        let read = if path == Path::new("-") {
            read_lines(std::io::stdin().lock(), &line)
        } else {
            std::fs::File::open(&path)
                .and_then(|file| read_lines(std::io::BufReader::new(file), &line))
        };
        if let Err(error) = read {
            // Whoever reads may have gone.
            let _ = line.blocking_send(Err(unreadable(error)));
        }
    });
    lines
}

fn read_lines(
    mut source: impl BufRead,
    line: &mpsc::Sender<Result<Numbered, Failure>>,
) -> std::io::Result<()> {
    for number in 1.. {
        let mut bytes = Vec::new();
        // Cut where no input can be as long: the server says so in its own words. The rest is no line of its own.
        (&mut source)
            .take(INPUT_BYTES_MAX)
            .read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            break;
        }
        if bytes.len() as u64 == INPUT_BYTES_MAX && bytes.last() != Some(&b'\n') {
            skip_line(&mut source)?;
        }
        let input = bytes.trim_ascii().to_vec();
        if !input.is_empty() && line.blocking_send(Ok((number, input))).is_err() {
            break;
        }
    }
    Ok(())
}

fn skip_line(source: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let there = source.fill_buf()?;
        if there.is_empty() {
            return Ok(());
        }
        let end = there.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(there.len(), |end| end + 1);
        source.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_numbers_and_blank_and_endless_ones_do_no_harm() {
        let endless = "x".repeat(usize::try_from(INPUT_BYTES_MAX).expect("it fits") + 7);
        let text = format!("{{\"a\":1}}\n\n  {{}}\r\n{endless}\n2");
        let (line, mut lines) = mpsc::channel(8);
        read_lines(text.as_bytes(), &line).expect("it is read");
        drop(line);
        let mut found = Vec::new();
        while let Some(Ok((number, input))) = lines.blocking_recv() {
            found.push((number, input.len()));
        }
        let cut = usize::try_from(INPUT_BYTES_MAX).expect("it fits");
        assert_eq!(found, [(1, 7), (3, 2), (4, cut), (5, 1)]);
    }
}
