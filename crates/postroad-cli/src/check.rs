//! `postroad check`: whether a configuration file can be used.

use std::path::PathBuf;
use std::process::ExitCode;

use postroad::NetworkMode;

use crate::config::{Config, Difference, EXAMPLE, Notes, Roads, Said, Severity};

/// Checks a configuration file, and says what a node would make of it.
///
/// All that can be known without starting a node: keys, values, patterns,
/// files that are named. Everything wrong is reported, not only the first. The
/// exit code is 0 only if a node could be started with it.
#[derive(clap::Args)]
pub(crate) struct Check {
    /// The configuration file.
    #[arg(value_name = "FILE", required_unless_present = "example")]
    file: Option<PathBuf>,
    /// Prints what would change in a node that runs with this file.
    #[arg(long, value_name = "RUNNING")]
    against: Option<PathBuf>,
    /// Prints a file that shows every key, and checks nothing.
    #[arg(long, exclusive = true)]
    example: bool,
}

impl Check {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Some(file) = self.file.filter(|_| !self.example) else {
            print!("{EXAMPLE}");
            return Ok(ExitCode::SUCCESS);
        };
        let loaded = Config::load(&file, &Said::default())?;
        let notes = loaded.notes().clone();
        if notes.count(Severity::Error) + notes.count(Severity::Warning) > 0 {
            eprintln!("{notes}\n");
        }
        if notes.has_errors() {
            eprintln!("{} cannot be used: {}", file.display(), counted(&notes));
            return Ok(ExitCode::FAILURE);
        }
        let config = loaded.config()?;
        let roads = Roads::of(&config)?;
        roads.check(&config)?;
        match self.against {
            Some(running) => {
                let running = Config::load(&running, &Said::default())?.config()?;
                let difference = Difference::between(&running, &config);
                if difference.is_empty() {
                    println!("nothing would change");
                } else {
                    println!("{difference}");
                }
            }
            None => {
                println!("{} is good: {}", file.display(), counted(&notes));
                summarize(&config, &roads);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn counted(notes: &Notes) -> String {
    let count = |severity, what: &str| match notes.count(severity) {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        many => format!("{many} {what}s"),
    };
    format!("{}, {}", count(Severity::Error, "error"), count(Severity::Warning, "warning"))
}

/// What a node would be, in a few lines.
fn summarize(config: &Config, roads: &Roads) {
    println!("  node          {}", config.node.name.as_deref().unwrap_or("(its name comes from --name)"));
    let listens: Vec<String> = config.acceptors.iter().map(ToString::to_string).collect();
    let listens = match config.node.mode {
        NetworkMode::Enabled if listens.is_empty() => "the first free port from 11144".to_owned(),
        NetworkMode::Enabled => listens.join("; "),
        NetworkMode::Hidden => "nothing: it is hidden".to_owned(),
        NetworkMode::Disabled => "nothing: its network is disabled".to_owned(),
    };
    println!("  listens on    {listens}");
    println!("  registrar     {}", config.registrar);
    for (name, resolver) in &config.resolvers {
        println!("  resolver      {name}: {resolver}");
    }
    for certificate in roads.certificates.summary() {
        println!("  certificate   {certificate}");
    }
    println!("  routes        {}", config.routes.len());
    println!("  proxy routes  {}", config.proxy_routes.len());
    match &config.transit {
        None => println!("  transit       nobody may pass"),
        Some(transit) => {
            let facts = transit.facts().to_string();
            println!("  transit       {}", if facts.is_empty() { "with the usual limits" } else { &facts });
            transit.rules.iter().for_each(|rule| println!("  transit rule  {rule}"));
        }
    }
}
