//! `forebay tunnel show`.

use std::process::ExitCode;

use super::{ServiceArgs, Target};
use crate::cli::{Failure, out};
use crate::tunnel::ErrorKind;
use crate::tunnel::encode::Compression;

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// The session's table, and the partition it was created for
    #[arg(value_name = "TABLE[/PARTITION]", value_parser = Target::parse)]
    target: Target,

    /// The session's id, from the log of the run or the upload
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    service: ServiceArgs,
}

impl ShowArgs {
    pub(super) async fn run(self) -> Result<ExitCode, Failure> {
        let service = self.service.connect()?;
        let table = service.client.table(&self.target.table).await.map_err(|error| service.failure(&error))?;
        let partition = self.target.partition_in(&table.schema)?;
        let table = &self.target.table;
        match service.client.attach_upload(table, partition.as_ref(), &self.id, Compression::None).await {
            Ok(upload) => {
                let status = upload.status().await.map_err(|error| service.failure(&error))?;
                let blocks = upload.blocks().await.map_err(|error| service.failure(&error))?;
                let rows: u64 = blocks.iter().filter_map(|block| block.records).sum();
                let columns = ["kind", "status", "blocks", "rows"].map(str::to_owned);
                let row = ["upload".to_owned(), status.to_string(), blocks.len().to_string(), rows.to_string()];
                out::data(&out::table::bordered(&columns, &[row.map(Some).to_vec()]));
                return Ok(ExitCode::SUCCESS);
            }
            // The service knows no upload session of that id.
            Err(error) if matches!(error.kind(), ErrorKind::SessionDead | ErrorKind::NotFound) => {}
            Err(error) => return Err(service.failure(&error)),
        }
        let download = service.client.attach_download(table, partition.as_ref(), &self.id).await;
        let download = download.map_err(|error| match error.kind() {
            ErrorKind::NotFound => service.failure(&error).advise(
                "it may be of another table or partition, or have ended: the service forgets sessions some time after 24 h",
            ),
            _ => service.failure(&error),
        })?;
        let columns = ["kind", "status", "rows"].map(str::to_owned);
        let row = ["download".to_owned(), "normal".to_owned(), download.rows().to_string()];
        out::data(&out::table::bordered(&columns, &[row.map(Some).to_vec()]));
        Ok(ExitCode::SUCCESS)
    }
}
