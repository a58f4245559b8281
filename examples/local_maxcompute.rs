//! Starts a local MaxCompute and runs until it is interrupted.
//!
//! `cargo run --example local_maxcompute -- [--listen 127.0.0.1:8080] [--project NAME] [--data FOLDER] [--access-id ID --access-key KEY]`
//!
//! Prints one JSON line with the endpoints when it is ready.

use forebay::sandbox::maxcompute::{MaxComputeSandboxConfig, start};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the line is what a caller waits for")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = MaxComputeSandboxConfig::default();
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--listen" => config.listen = value.parse()?,
            "--project" => config.project = value,
            "--data" => config.data_dir = Some(value.into()),
            "--access-id" => config.access_id = value,
            "--access-key" => config.access_key = Some(value),
            _ => return Err(format!("unknown option {name}").into()),
        }
    }
    let local = start(config).await?;
    println!(
        "{}",
        serde_json::json!({
            "endpoint": local.endpoint(),
            "tunnel_endpoint": local.tunnel_endpoint(),
            "project": local.project(),
        })
    );
    tokio::signal::ctrl_c().await?;
    local.shutdown().await;
    Ok(())
}
