//! A test bed: a database, a server over it, and beside it a client and a participant, each a process of its own. Runs one
//! leg at a time and reads what it cost. Deliberately not here: which legs, and what is made of them.

use std::sync::Arc;
use std::time::Duration;

use amends_server::Config;
use tempfile::TempDir;

use super::companion::Companion;
use super::database::{Counters, Database, journal_rows};
use super::floor::{self, Floor};
use super::meter::{Group, Meter, Used, Watched};
use super::participant::CONCURRENCY_MAX;
use super::plan::{ClientPlan, Measured, Pace, ParticipantPlan, Said};
use super::workload::Workload;
use crate::arguments::Global;
use crate::arguments::bench::{Starts, Target};
use crate::children::ServerProcess;
use crate::failure::Failure;

/// What precedes each leg and is not measured.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long a client may take to get warm, and to end after its time.
const CLIENT_WITHIN: Duration = Duration::from_secs(180);
/// How long a server may take to start.
const READY_WITHIN: Duration = Duration::from_secs(300);
/// Attempts that a participant takes at once, at least.
const CONCURRENCY_MIN: u32 = 64;

/// Where legs run.
#[derive(Debug)]
pub struct Bed {
    directory: TempDir,
    namespace: String,
    /// A server that runs already, and is measured without its database.
    address: Option<String>,
    database: Option<Database>,
    lanes: u16,
}

/// One load.
#[derive(Clone, Debug)]
pub struct Leg {
    /// What each saga does.
    pub workload: Workload,
    /// When the next one is started.
    pub pace: Pace,
    /// How.
    pub starts: Starts,
    /// No more than so many.
    pub sagas: Option<u64>,
    /// For how long.
    pub length: Duration,
}

/// What a leg came to.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Rates and latencies.
    pub measured: Measured,
    /// Attempts that each saga took.
    pub attempts: u64,
    /// CPU time.
    pub used: Used,
    /// WAL that the database wrote meanwhile.
    pub wal_bytes: Option<u64>,
    /// Rows that the journals took meanwhile.
    pub transitions: Option<u64>,
}

impl Bed {
    /// Makes one: on a database of its own if a store is asked for, else before the server that is named.
    ///
    /// # Errors
    /// If there is no database.
    pub async fn open(global: &Global, target: &Target) -> Result<Self, Failure> {
        let directory = tempfile::Builder::new().prefix("amends-bench-").tempdir();
        let directory = directory
            .map_err(|error| Failure::wrong("there is no temporary directory").because(error))?;
        let database = match target.store {
            Some(store) => Some(Database::open(directory.path(), store, target).await?),
            None => None,
        };
        let own = || u16::try_from(Config::default().lanes).unwrap_or(1);
        let lanes = target.lanes.map_or_else(own, u16::from);
        Ok(Self {
            address: database.is_none().then(|| global.server.clone()),
            namespace: match database {
                Some(_) => "default".to_owned(),
                None => global.namespace.clone(),
            },
            directory,
            database,
            lanes,
        })
    }

    /// Where its files are.
    #[must_use]
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Its database.
    ///
    /// # Errors
    /// [`crate::exit::Exit::Usage`] if a server was named instead.
    pub fn database(&mut self) -> Result<&mut Database, Failure> {
        self.database.as_mut().ok_or_else(|| {
            Failure::usage("this measures a server on a database of its own")
                .because("no --store is given")
                .advice("give --store sqlite or --store postgres")
        })
    }

    /// Where it is measured, in a word.
    #[must_use]
    pub fn place(&self) -> String {
        match (&self.database, &self.address) {
            (Some(database), _) => database.store().name().to_owned(),
            (None, address) => address.clone().unwrap_or_default(),
        }
    }

    /// Committer lanes of servers and of the floor.
    #[must_use]
    pub fn lanes(&self) -> u16 {
        self.lanes
    }

    /// Starts a server, as users run it, with further settings.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn start_server(
        &mut self,
        settings: &[(&str, String)],
    ) -> Result<ServerProcess, Failure> {
        let lanes = [("AMENDS__LANES", self.lanes.to_string())];
        let environment = [&lanes[..], settings].concat();
        let url = self.database()?.url().to_owned();
        let directory = self.directory.path();
        ServerProcess::start_with(directory, &url, READY_WITHIN, &environment).await
    }

    /// The database's counters, if it keeps any.
    ///
    /// # Errors
    /// If it cannot be reached.
    pub async fn counters(&self) -> Result<Option<Counters>, Failure> {
        match &self.database {
            Some(database) => database.counters().await,
            None => Ok(None),
        }
    }

    /// Lets a private cluster write a checkpoint, so that no measurement pays for what was written before it, and the log's files
    /// are used again.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn settle(&mut self) -> Result<(), Failure> {
        let own = self.database.as_ref().and_then(Database::cluster).is_some();
        match self.counters().await? {
            Some(mut counters) if own => counters.settle().await,
            _ => Ok(()),
        }
    }

    /// Starts a participant.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_participant(
        &self,
        server: &str,
        plan: &ParticipantPlan,
    ) -> Result<Companion, Failure> {
        let directory = self.directory.path();
        Companion::start("participant", directory, server, &self.namespace, plan)
    }

    /// Runs one load against a server that is started for it.
    ///
    /// # Errors
    /// If a process or the database does not do its part.
    pub async fn run(&mut self, leg: &Leg) -> Result<Sample, Failure> {
        let Some(address) = self.address.clone() else {
            let mut server = self.start_server(&[]).await?;
            let address = server.address().to_owned();
            let sample = self.load(leg, &address, server.process().id()).await;
            // A server that ends by itself gives its lease up, so that what comes next need not wait for it.
            server.process().stop().await?;
            return sample;
        };
        self.load(leg, &address, None).await
    }

    /// Runs one load against a server that runs.
    ///
    /// # Errors
    /// If a process or the database does not do its part.
    pub async fn load(
        &mut self,
        leg: &Leg,
        server: &str,
        server_process: Option<u32>,
    ) -> Result<Sample, Failure> {
        let concurrency = match leg.pace {
            Pace::InFlight(count) => count.saturating_mul(leg.workload.width()),
            Pace::PerSecond(_) => CONCURRENCY_MAX,
        };
        let plan = ParticipantPlan {
            concurrency: concurrency.clamp(CONCURRENCY_MIN, CONCURRENCY_MAX),
        };
        let participant = self.start_participant(server, &plan)?;
        let plan = ClientPlan {
            workload: leg.workload.clone(),
            pace: leg.pace,
            starts: leg.starts,
            sagas: leg.sagas,
            length: leg.length,
            warm_up: WARM_UP,
        };
        let directory = self.directory.path();
        let mut client = Companion::start("client", directory, server, &self.namespace, &plan)?;
        client.hear(CLIENT_WITHIN).await?;

        let mut gauge = Gauge::new(self, |meter| {
            let process = |id: Option<u32>| id.map(Watched::Process);
            meter
                .watch(Group::Server, process(server_process))
                .watch(Group::Participant, process(participant.id()))
                .watch(Group::Client, process(client.id()))
        })
        .await?;
        gauge.begin().await?;
        client.go().await?;
        let said = client
            .hear(leg.length.saturating_add(CLIENT_WITHIN))
            .await?;
        let Said::Measured(measured) = said else {
            return Err(Failure::wrong("the benchmark's client talks out of turn"));
        };
        let sample = gauge.end(measured, leg.workload.attempts()).await;
        client.stop().await?;
        participant.stop().await?;
        sample
    }

    /// Writes the rows alone, after as long a warm-up as a server's.
    ///
    /// # Errors
    /// If the database does not take them.
    pub async fn floor(&mut self, plan: floor::Plan) -> Result<Sample, Failure> {
        let store = self.database()?.open_store().await?;
        let mut floor = Floor::hold(Arc::clone(&store), plan).await?;
        let warm_up = floor::Plan {
            length: WARM_UP,
            ..plan
        };
        floor.write(warm_up).await?;
        let mut gauge = Gauge::new(self, |meter| meter).await?;
        gauge.begin().await?;
        let measured = floor.write(plan).await;
        let sample = gauge.end(measured?, Workload::Happy.attempts()).await;
        floor.release().await?;
        sample
    }
}

/// Reads what a leg costs.
struct Gauge {
    meter: Meter,
    counters: Option<Counters>,
    store: Option<Arc<dyn amends_server::amends_store::Store>>,
    before: Option<Before>,
}

/// What stood in the counters when a leg began.
struct Before {
    reading: super::meter::Reading,
    wal_bytes: Option<u64>,
    rows: Option<u64>,
}

impl Gauge {
    async fn new(bed: &mut Bed, watch: impl FnOnce(Meter) -> Meter) -> Result<Self, Failure> {
        let counters = bed.counters().await?;
        let store = match &bed.database {
            Some(database) => Some(database.open_store().await?),
            None => None,
        };
        let postgres = counters.as_ref().and_then(Counters::processes);
        let own = Some(Watched::Process(std::process::id()));
        let meter = Meter::default()
            .watch(Group::Postgres, postgres)
            .watch(Group::Bench, own);
        Ok(Self {
            meter: watch(meter),
            counters,
            store,
            before: None,
        })
    }

    /// The CPU times last: what is read before them is not part of the leg.
    async fn begin(&mut self) -> Result<(), Failure> {
        let (wal_bytes, rows) = self.counted().await?;
        self.before = Some(Before {
            wal_bytes,
            rows,
            reading: self.meter.read(),
        });
        Ok(())
    }

    async fn end(&mut self, measured: Measured, attempts: u64) -> Result<Sample, Failure> {
        let reading = self.meter.read();
        let (wal_bytes, rows) = self.counted().await?;
        let Some(before) = self.before.take() else {
            return Err(Failure::wrong("a measurement ended before it began"));
        };
        let grown = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        Ok(Sample {
            measured,
            attempts,
            used: reading.since(&before.reading),
            wal_bytes: grown(wal_bytes, before.wal_bytes),
            transitions: grown(rows, before.rows),
        })
    }

    async fn counted(&mut self) -> Result<(Option<u64>, Option<u64>), Failure> {
        let wal_bytes = match &mut self.counters {
            Some(counters) => Some(counters.wal_bytes().await?),
            None => None,
        };
        let rows = match &self.store {
            Some(store) => Some(journal_rows(store.as_ref()).await?),
            None => None,
        };
        Ok((wal_bytes, rows))
    }
}
