//! `postroad ping`: whether a node answers, and how fast.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use postroad::network::PeerInfo;
use postroad::{CallError, Node, SendError};
use serde_json::json;

use crate::cookie::NO_COOKIE;
use crate::guest::{GuestArgs, explain_failure};
use crate::output::{microseconds, milliseconds};

/// Connects with a node and calls a process there.
///
/// Prints how long the answers took. The exit code is 0 only if every call was
/// answered; otherwise it says what was tried, how far that came, and why it
/// went no further.
#[derive(clap::Args)]
pub(crate) struct Ping {
    #[command(flatten)]
    guest: GuestArgs,
    /// How many calls to make.
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// The process to call: one that answers with the request.
    #[arg(long, value_name = "NAME", default_value = "echo")]
    process: String,
    /// How long to wait for each answer, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// How long to wait between one call and the next, in seconds: to watch a road.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    interval: u64,
    /// Prints one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

impl Ping {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.guest.config()?;
        anyhow::ensure!(config.node.cookie.is_some() || config.has_route_cookie(), NO_COOKIE);
        let node = self.guest.start(&config, "ping").await?;
        let outcome = self.ping(&node).await;
        node.stop().await;
        outcome
    }

    async fn ping(&self, node: &Node) -> anyhow::Result<ExitCode> {
        let began = Instant::now();
        let peer = match node.network().connect(&self.guest.name).await {
            Ok(peer) => peer.info().clone(),
            Err(error) => {
                let why = explain_failure(node.name().as_str(), &error);
                if self.json {
                    println!("{}", json!({"node": self.guest.name, "error": why}));
                }
                anyhow::bail!(why);
            }
        };
        let connected = began.elapsed();
        if !self.json {
            println!("connected with {} ({}) in {}", peer.name, peer.version, milliseconds(connected));
        }
        let mut round_trips = Vec::new();
        let mut errors = Vec::new();
        for number in 1..=self.count {
            if number > 1 {
                tokio::time::sleep(Duration::from_secs(self.interval)).await;
            }
            match self.call(node, number).await {
                Ok(took) => {
                    round_trips.push(took);
                    self.say(format_args!("{number}: answered in {}", milliseconds(took)));
                }
                Err(why) => {
                    self.say(format_args!("{number}: {why}"));
                    errors.push(why);
                }
            }
        }
        self.summarize(&peer, connected, &round_trips, &errors);
        Ok(if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Calls once; how long the answer took, or why there is none.
    async fn call(&self, node: &Node, number: u64) -> Result<Duration, String> {
        let to = (self.process.as_str(), self.guest.name.as_str());
        let began = Instant::now();
        match node.call_with_timeout::<u64>(to, number, Duration::from_secs(self.timeout)).await {
            Ok(answer) if answer == number => Ok(began.elapsed()),
            Ok(answer) => Err(format!("{} answered {answer} instead of {number}", self.process)),
            Err(CallError::Send(SendError::ProcessUnknown)) => Err(format!(
                "{} has no process named {}; --process names another one",
                self.guest.name, self.process
            )),
            Err(error) => Err(error.to_string()),
        }
    }

    fn say(&self, line: std::fmt::Arguments<'_>) {
        if !self.json {
            println!("{line}");
        }
    }

    fn summarize(&self, peer: &PeerInfo, connected: Duration, round_trips: &[Duration], errors: &[String]) {
        let total: Duration = round_trips.iter().sum();
        let mean = total.checked_div(u32::try_from(round_trips.len()).unwrap_or(u32::MAX));
        let figures = [round_trips.iter().min().copied(), mean, round_trips.iter().max().copied()];
        if self.json {
            let [min, mean, max] = figures.map(|figure| json!(figure.map(microseconds)));
            let summary = json!({
                "node": peer.name.as_str(),
                "version": peer.version,
                "connect_us": microseconds(connected),
                "calls": self.count,
                "answered": round_trips.len(),
                "round_trips_us": round_trips.iter().copied().map(microseconds).collect::<Vec<_>>(),
                "min_us": min,
                "mean_us": mean,
                "max_us": max,
                "errors": errors,
            });
            println!("{summary}");
        } else {
            print!("{} of {} calls answered", round_trips.len(), self.count);
            if let [Some(min), Some(mean), Some(max)] = figures.map(|figure| figure.map(milliseconds)) {
                print!("; round trip min {min}, mean {mean}, max {max}");
            }
            println!();
        }
    }
}
