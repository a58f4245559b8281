//! Prints where each partition of a topic starts and ends, and what a group has committed; commits the ends with `--commit`.
//!
//! `cargo run --example offsets -- HOST:PORT TOPIC GROUP [--commit]`

use std::io::Write;

use forebay::kafka::{Client, ClientConfig, Isolation, OffsetAt, OffsetToCommit};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(server), Some(topic), Some(group)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: offsets HOST:PORT TOPIC GROUP [--commit]".into());
    };
    let commit = arguments.next().is_some_and(|argument| argument == "--commit");

    let client = Client::connect(ClientConfig::new([server])).await?;
    let metadata = client.topic(&topic).await?;
    let partitions: Vec<i32> = metadata.partitions.iter().map(|p| p.partition).collect();
    let at = |at: OffsetAt| partitions.iter().map(|partition| (*partition, at)).collect::<Vec<_>>();
    let starts = client.list_offsets(&topic, &at(OffsetAt::Earliest), Isolation::ReadUncommitted).await?;
    let ends = client.list_offsets(&topic, &at(OffsetAt::Latest), Isolation::ReadUncommitted).await?;

    if commit {
        let offsets: Vec<OffsetToCommit> = ends
            .iter()
            .filter_map(|(partition, listed)| {
                let (topic, offset) = (metadata.name.clone(), listed.offset?);
                let leader_epoch = listed.leader_epoch;
                Some(OffsetToCommit { topic, partition: *partition, offset, leader_epoch, metadata: String::new() })
            })
            .collect();
        client.commit_offsets(&group, &offsets).await?;
    }

    let committed = client.committed_offsets(&group, &[(topic, partitions)]).await?;
    let mut out = std::io::stdout().lock();
    let text = |offset: Option<i64>| offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
    writeln!(out, "{:>9} {:>6} {:>12} {:>12} {:>12}", "PARTITION", "LEADER", "START", "END", "COMMITTED")?;
    for p in &metadata.partitions {
        let listed = |list: &std::collections::BTreeMap<i32, forebay::kafka::ListedOffset>| {
            text(list.get(&p.partition).and_then(|listed| listed.offset))
        };
        let found = committed.iter().find(|found| found.partition == p.partition);
        let leader = p.leader.map_or_else(|| "-".to_owned(), |leader| leader.to_string());
        let (start, end) = (listed(&starts), listed(&ends));
        writeln!(
            out,
            "{:>9} {leader:>6} {start:>12} {end:>12} {:>12}",
            p.partition,
            text(found.and_then(|f| f.offset))
        )?;
    }
    Ok(())
}
