//! `forebay sql`.

use std::process::ExitCode;

use super::Failure;

#[derive(Debug, clap::Args)]
pub(super) struct SqlArgs {}

impl SqlArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        Err(Failure::new(super::failure::code::BUG, "not built yet"))
    }
}
