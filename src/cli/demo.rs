//! `forebay demo`.

use std::process::ExitCode;

use super::Failure;

#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {}

impl DemoArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        Err(Failure::new(super::failure::code::BUG, "not built yet"))
    }
}
