//! What was typed: one variant a command. Each command's own options live in its file.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::Failure;

/// Moves Kafka topics into MaxCompute tables, and speaks to both by hand.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, max_term_width = 100)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run one job file to its end
    Run(super::run::RunArgs),
    /// Run SQL on MaxCompute and print the result
    Sql(super::sql::SqlArgs),
    /// Topics, groups, producing and consuming, as kafka-*.sh do
    Kafka(super::kafka::KafkaArgs),
    /// An embedded Kafka broker and a local MaxCompute
    #[cfg(feature = "sandbox")]
    Sandbox(super::sandbox::SandboxArgs),
    /// The five-minute tour: topic, records, job, table, SELECT, with nothing else installed
    #[cfg(feature = "sandbox")]
    Demo(super::demo::DemoArgs),
}

impl Command {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Run(args) => args.run().await,
            Self::Sql(args) => args.run().await,
            Self::Kafka(args) => args.run().await,
            #[cfg(feature = "sandbox")]
            Self::Sandbox(args) => args.run().await,
            #[cfg(feature = "sandbox")]
            Self::Demo(args) => args.run().await,
        }
    }
}
