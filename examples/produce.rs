//! Writes the lines of standard input to a topic, each as one record: `key<TAB>value`, or only a value.
//!
//! `cargo run --example produce -- HOST:PORT TOPIC [PROPERTY=VALUE...]`, where a property is one of Kafka's Java client or of
//! librdkafka, such as `compression.type=zstd`. With `transactional.id=NAME` all lines become visible at once, or none.

use std::io::{BufRead, Write};

use forebay::kafka::{Client, ClientConfig, Producer, ProducerConfig, ProducerRecord};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, topic, properties @ ..] = &arguments[..] else {
        return Err("usage: produce HOST:PORT TOPIC [PROPERTY=VALUE...]".into());
    };
    let properties = properties.iter().filter_map(|property| property.split_once('='));
    let (config, rest) = ProducerConfig::from_properties(properties)?;
    let mut client = ClientConfig::new([server]);
    for (name, value) in rest {
        if !client.set_property(name, value)? {
            return Err(format!("unknown property {name}").into());
        }
    }
    let is_transactional = config.transactional_id.is_some();
    let producer = Producer::new(&Client::connect(client).await?, config)?;
    if is_transactional {
        producer.init_transactions().await?;
        producer.begin_transaction()?;
    }

    let mut deliveries = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let record = match line.split_once('\t') {
            Some((key, value)) => ProducerRecord::new(topic.as_str()).key(key.to_owned()).value(value.to_owned()),
            None => ProducerRecord::new(topic.as_str()).value(line),
        };
        // Waits only while the buffer is full; the order of the records is settled here.
        deliveries.push(producer.send(record).await?);
    }
    if is_transactional {
        producer.commit_transaction().await?;
    }
    producer.flush().await;

    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for delivery in deliveries {
        let written = delivery.await?;
        let offset = written.offset.map_or_else(|| "?".to_owned(), |offset| offset.to_string());
        writeln!(out, "{}\t{offset}\t{}", written.partition, written.timestamp)?;
    }
    out.flush()?;
    producer.close().await?;
    Ok(())
}
