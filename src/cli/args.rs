//! What was typed: one variant a command. Each command's own options live in its file.

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use log::LevelFilter;

use super::Failure;
use crate::agent::logging::{self, LogFormat};

/// Moves Kafka topics into MaxCompute tables, and speaks to both by hand.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, propagate_version = true, max_term_width = 100, before_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
    #[command(flatten)]
    pub(super) log: LogOptions,
}

#[cfg(feature = "sandbox")]
const EXAMPLES: &str = "\
Examples:
  forebay demo                                        the whole tour, with nothing else installed
  forebay run job.json --set reader.server=host:9092  run a DataWorks or DataX job
  forebay sql -e 'select * from testkafka'            look at the rows";

#[cfg(not(feature = "sandbox"))]
const EXAMPLES: &str = "\
Examples:
  forebay check job.json --offline                    what a DataWorks or DataX job means
  forebay run job.json --set reader.server=host:9092  run it
  forebay sql -e 'select * from testkafka'            look at the rows";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run one job file to its end
    ///
    /// Reads the topic, writes the table, commits both, and ends by the job's own end rule. Nothing in the table changes before
    /// the one commit at the end: a run that fails or is stopped leaves table and group as they were. Exit codes: 0 done, 65
    /// too many dirty rows, 69 Kafka or MaxCompute unavailable, 76 a person must decide, 77 no permission, 78 the job cannot be
    /// used, 130 and 143 stopped.
    Run(super::run::RunArgs),
    /// Run jobs without an end: exactly once, shared by as many agents as there are
    ///
    /// Each job is a member of a consumer group, so that any number of agents on any hosts can run the same job: the group divides
    /// the partitions, and others take over what a dead agent had. Rows are appended by one commit after the other, exactly
    /// once; what is under way is kept in the group, nothing on disk. SIGTERM lets it come to its end, a second one stops at
    /// once.
    Agent(super::agent::AgentArgs),
    /// Let a job of a running agent rest: it comes to its end, and other agents take its partitions over
    Pause(super::control::ControlArgs),
    /// Let a paused job of a running agent go on
    Resume(super::control::ControlArgs),
    /// Give a running agent an order: read its jobs again, come to its end, log more, or say what its jobs are made of
    Control(super::control::OrderArgs),
    /// Ask a running agent how its jobs are
    ///
    /// The exit code is 0 when every job is at work, and 69 when one is not, or no agent answers.
    Status(super::status::StatusArgs),
    /// The same again and again, until q or Ctrl-C
    ///
    /// On a terminal it has keys: s or left and right sort, r turns the order round, / filters by name, p pauses, space looks now, up
    /// and down scroll, q ends.
    Top(super::top::TopArgs),
    /// Settle by hand what an agent cannot: sealed batches whose upload session MaxCompute has forgotten
    ///
    /// Without a decision it only shows what is under way (exit code 76 when something waits for a person). An agent that was away
    /// for longer than an upload session lives cannot know whether its last batch was committed; where the job maps a record's
    /// partition and offset to columns, the table tells it, and nothing has to be decided here.
    Resolve(super::resolve::ResolveArgs),
    /// Say what job files mean, and look whether they could run
    ///
    /// Says on standard output what each job means, and on standard error what may be a mistake. Then it asks every broker at its
    /// own address, looks at the topic, the group's offsets, the table and its columns, and Tunnel, without writing anything. Unlike a run it
    /// does not stop at the first mistake. The exit code is the one that a run would end with.
    Check(super::check::CheckArgs),
    /// Say what a run would read and write, from where, and why
    ///
    /// Asks both ends and prints each partition's range with the reason for its begin, the target, the columns with their types,
    /// limits, and the shares of memory. Writes nothing, commits nothing.
    Plan(super::plan::PlanArgs),
    /// Print the first rows as a run would write them
    ///
    /// Reads records from the begin of the job's range, makes rows of them as a run does, and prints these. Writes nothing,
    /// commits nothing. Records that cannot become rows are told on standard error.
    Preview(super::preview::PreviewArgs),
    /// Turn a DataWorks or DataX job into TOML
    ///
    /// Texts go over as they are, variables and all; what has no effect becomes a comment, and secrets stay behind: the new file takes
    /// them from the environment. The new job is read again and compared with the old one before it is printed. Variables that the
    /// job uses need a value for that (-p).
    Convert(super::convert::ConvertArgs),
    /// Print a commented job template
    New(super::convert::NewArgs),
    /// Run SQL on MaxCompute and print the result
    Sql(super::sql::SqlArgs),
    /// Download tables, upload files, look at sessions
    Tunnel(super::tunnel::TunnelArgs),
    /// Topics, groups, producing and consuming, as kafka-*.sh do
    Kafka(Box<super::kafka::KafkaArgs>),
    /// Records and metadata by kcat's flags and formats (forebay cat -h)
    Cat(super::cat::CatArgs),
    /// Print the completion script of a shell
    Completions(super::manual::CompletionsArgs),
    /// Print the manual page, or write one page a command into a folder
    Man(super::manual::ManArgs),
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
            Self::Agent(args) => args.run().await,
            Self::Pause(args) => args.run("pause"),
            Self::Resume(args) => args.run("resume"),
            Self::Control(args) => args.run(),
            Self::Status(args) => args.run().await,
            Self::Top(args) => args.run().await,
            Self::Resolve(args) => args.run().await,
            Self::Check(args) => args.run().await,
            Self::Plan(args) => args.run().await,
            Self::Preview(args) => args.run().await,
            Self::Convert(args) => args.run(),
            Self::New(args) => args.run(),
            Self::Sql(args) => args.run().await,
            Self::Tunnel(args) => args.run().await,
            Self::Kafka(args) => args.run().await,
            Self::Cat(args) => args.run().await,
            Self::Completions(args) => Ok(args.run()),
            Self::Man(args) => args.run(),
            #[cfg(feature = "sandbox")]
            Self::Sandbox(args) => args.run().await,
            #[cfg(feature = "sandbox")]
            Self::Demo(args) => args.run().await,
        }
    }

    /// A run's log is its account; elsewhere only what goes wrong is worth a line.
    const fn log_level(&self) -> LevelFilter {
        match self {
            Self::Run(_) | Self::Agent(_) => LevelFilter::Info,
            _ => LevelFilter::Warn,
        }
    }
}

/// What is logged, and how. The log goes to standard error.
#[derive(Debug, clap::Args)]
pub(super) struct LogOptions {
    /// More log lines; may be repeated
    #[arg(short = 'v', long, action = clap::ArgAction::Count, global = true, help_heading = LOG)]
    verbose: u8,

    /// Fewer log lines; may be repeated
    #[arg(short = 'q', long, action = clap::ArgAction::Count, global = true, help_heading = LOG)]
    quiet: u8,

    /// The level that is logged
    #[arg(long, value_name = "LEVEL", env = "FOREBAY_LOG_LEVEL", global = true, help_heading = LOG, ignore_case = true, value_enum)]
    log_level: Option<LogLevel>,

    /// The form of log lines
    #[arg(long, value_name = "FORMAT", env = "FOREBAY_LOG_FORMAT", global = true, help_heading = LOG,
          default_value = "text", value_enum)]
    log_format: LogFormatName,
}

const LOG: &str = "Log";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormatName {
    /// As DataX prints them
    Text,
    /// One JSON object a line
    Json,
}

impl Args {
    /// Starts the log as asked for.
    pub(super) fn start_log(&self) {
        let base = match self.log.log_level {
            None => self.command.log_level(),
            Some(LogLevel::Off) => LevelFilter::Off,
            Some(LogLevel::Error) => LevelFilter::Error,
            Some(LogLevel::Warn) => LevelFilter::Warn,
            Some(LogLevel::Info) => LevelFilter::Info,
            Some(LogLevel::Debug) => LevelFilter::Debug,
            Some(LogLevel::Trace) => LevelFilter::Trace,
        };
        let format = match self.log.log_format {
            LogFormatName::Text => LogFormat::Text,
            LogFormatName::Json => LogFormat::Json,
        };
        let steps = i32::from(self.log.verbose) - i32::from(self.log.quiet);
        logging::start(logging::shifted(base, steps), format);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }
}
