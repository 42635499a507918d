//! The processes of the demo: one server, four services, and what befalls them.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::progress::Progress;
use super::story;
use crate::children::{Process, ServerProcess};
use crate::failure::Failure;

/// A service that dies more often than this is broken, not unlucky.
const DEATHS_MAX: u32 = 200;

/// A server and four services.
#[derive(Debug)]
pub struct Company {
    server: ServerProcess,
    services: Vec<Process>,
    unlucky: usize,
    server_kills: u32,
    service_kills: u32,
    deaths: u32,
}

impl Company {
    /// Starts all of them.
    ///
    /// # Errors
    /// If one does not start.
    pub async fn start(directory: &Path, seed: u64, orders: u32) -> Result<Self, Failure> {
        let database = directory.join("amends.db");
        let server =
            ServerProcess::start(directory, &format!("sqlite:{}", database.display())).await?;
        let mut services = Vec::new();
        for name in story::services() {
            let mut service = Process::new(
                name,
                directory,
                service_arguments(name, directory, &server, seed, orders),
            );
            service.start()?;
            services.push(service);
        }
        // Shipping dies by itself; the misfortune that comes from outside befalls one of the first two.
        let unlucky = usize::from(!seed.is_multiple_of(2));
        Ok(Self {
            server,
            services,
            unlucky,
            server_kills: 0,
            service_kills: 0,
            deaths: 0,
        })
    }

    /// Where the server listens.
    #[must_use]
    pub fn server_address(&self) -> &str {
        self.server.address()
    }

    /// Starts every service again that died by itself. A server that did is a failure.
    ///
    /// # Errors
    /// If the server died, or a service dies all the time.
    pub fn mend(&mut self, progress: &Progress) -> Result<(), Failure> {
        if let Some(status) = self.server.process().ended() {
            return Err(self
                .server
                .process()
                .failure(format!("ended by itself: {status}")));
        }
        for service in &mut self.services {
            if let Some(status) = service.ended() {
                self.deaths += 1;
                if self.deaths > DEATHS_MAX {
                    return Err(service.failure(format!("dies all the time: {status}")));
                }
                progress.tell(&format!(
                    "{} died by itself ({status}); started again",
                    service.name()
                ));
                service.start()?;
            }
        }
        Ok(())
    }

    /// Kills the server with SIGKILL, and starts it again after a while.
    ///
    /// # Errors
    /// If it does not start again.
    pub async fn kill_server(
        &mut self,
        progress: &Progress,
        away: Duration,
    ) -> Result<(), Failure> {
        self.server.process().kill().await?;
        self.server_kills += 1;
        progress.tell("killed the server with SIGKILL");
        tokio::time::sleep(away).await;
        self.server.start_again().await?;
        progress.tell("the server is back, and goes on from its journal");
        Ok(())
    }

    /// Kills a service with SIGKILL, and starts it again after a while.
    ///
    /// # Errors
    /// If it does not start again.
    pub async fn kill_service(
        &mut self,
        progress: &Progress,
        away: Duration,
    ) -> Result<(), Failure> {
        let service = &mut self.services[self.unlucky];
        service.kill().await?;
        self.service_kills += 1;
        progress.tell(&format!("killed {} with SIGKILL", service.name()));
        tokio::time::sleep(away).await;
        service.start()?;
        progress.tell(&format!("{} is back", service.name()));
        Ok(())
    }

    /// What befell it, in a sentence.
    #[must_use]
    pub fn misfortunes(&self) -> String {
        format!(
            "the server was killed {}, {} {}; services died by themselves {}",
            times(self.server_kills),
            self.services[self.unlucky].name(),
            times(self.service_kills),
            times(self.deaths)
        )
    }
}

fn times(count: u32) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

fn service_arguments(
    name: &str,
    directory: &Path,
    server: &ServerProcess,
    seed: u64,
    orders: u32,
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = [
        "demo-participant",
        name,
        "--server",
        server.address(),
        "--books",
    ]
    .map(OsString::from)
    .to_vec();
    arguments.push(directory.into());
    arguments.extend([format!("--seed={seed}"), format!("--orders={orders}")].map(OsString::from));
    arguments
}
