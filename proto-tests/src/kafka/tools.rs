//! Kafka's own command-line tools as methods of a cluster, and what they print as values.

use super::version::Tool;
use super::{KafkaCluster, TOOL_LIMIT};
use crate::process::{Output, run};
use crate::scratch::Scratch;

/// One record as Kafka's console consumer printed it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Told {
    /// Partition.
    pub partition: i32,
    /// Offset within it.
    pub offset: i64,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// Key; `None` where the tool prints `null`.
    pub key: Option<Vec<u8>>,
    /// Value; `None` where the tool prints `null`.
    pub value: Option<Vec<u8>>,
}

/// One row of Kafka's group description.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupRow {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The committed offset; `None` where the tool prints `-`.
    pub committed: Option<i64>,
    /// The log's end.
    pub end: Option<i64>,
}

impl KafkaCluster {
    /// Kafka's TopicCommand with `arguments`, pointed at this cluster.
    #[must_use]
    pub fn topics(&self, arguments: &[&str]) -> Output {
        let mut command = self.tool(Tool::Topics);
        command.args(arguments);
        run(command, b"", TOOL_LIMIT)
    }

    /// Creates a topic with TopicCommand.
    pub fn create_topic(&self, topic: &str, partitions: u16, replication_factor: u16) {
        self.create_topic_with(topic, partitions, replication_factor, &[]);
    }

    /// The same with further arguments, such as `--config`.
    pub fn create_topic_with(&self, topic: &str, partitions: u16, replication_factor: u16, arguments: &[&str]) {
        let (partitions, replication_factor) = (partitions.to_string(), replication_factor.to_string());
        let words = ["--create", "--topic", topic, "--partitions", &partitions];
        let words = [&words[..], &["--replication-factor", &replication_factor], arguments].concat();
        let _output = self.topics(&words).expect_success();
    }

    /// Deletes a topic with TopicCommand.
    pub fn delete_topic(&self, topic: &str) {
        let _output = self.topics(&["--delete", "--topic", topic]).expect_success();
    }

    /// Deletes the records of a partition below `offset` with DeleteRecordsCommand.
    pub fn delete_records(&self, topic: &str, partition: i32, offset: i64) {
        let scratch = Scratch::new("delete-records");
        let wanted = format!(
            "{{\"version\":1,\"partitions\":[{{\"topic\":\"{topic}\",\"partition\":{partition},\"offset\":{offset}}}]}}"
        );
        let file = scratch.write("offsets.json", wanted);
        let mut command = self.tool(Tool::DeleteRecords);
        command.arg("--offset-json-file").arg(file);
        let _output = run(command, b"", TOOL_LIMIT).expect_success();
        let starts = self.offsets(topic, -2);
        assert!(starts.contains(&(partition, offset)), "{topic} begins at {starts:?}");
    }

    /// Types `lines` into Kafka's ConsoleProducer, with further `arguments`.
    pub fn produce(&self, topic: &str, lines: &str, arguments: &[&str]) {
        let mut command = self.tool(Tool::Producer);
        command.args(["--topic", topic]).args(arguments);
        let output = run(command, lines.as_bytes(), TOOL_LIMIT).expect_success();
        // This tool says on standard error what it could not send, and exits with 0 all the same.
        assert!(!output.stderr_text().contains("ERROR"), "{}", output.describe());
    }

    /// All records of a topic as Kafka's ConsoleConsumer prints them, sorted by partition and offset.
    ///
    /// Before 2.7 the tool prints no offsets, so it runs once for each partition: over a log whose ends, by GetOffsetShell,
    /// are as far apart as there are records, the n-th line is the record at the n-th offset.
    ///
    /// Records must not hold line breaks or tabs, nor be the text `null`.
    #[must_use]
    pub fn consume(&self, topic: &str) -> Vec<Told> {
        let (first, last) = (self.offsets(topic, -2), self.offsets(topic, -1));
        let mut told = Vec::new();
        if self.version().prints_offsets() {
            let count: i64 = first.iter().zip(&last).map(|((_, first), (_, last))| last - first).sum();
            let property = self.version().formatter_option();
            let words = ["--from-beginning", property, "print.partition=true", property, "print.offset=true"];
            let text = self.console_consumer(topic, count, &words);
            told.extend(text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(new_line));
        } else {
            for (&(partition, first), &(_, last)) in first.iter().zip(&last).filter(|(first, last)| first.1 < last.1) {
                let words = ["--partition", &partition.to_string(), "--offset", "earliest"];
                let text = self.console_consumer(topic, last - first, &words);
                let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
                assert_eq!(i64::try_from(lines.len()), Ok(last - first), "partition {partition} of {topic} has gaps");
                told.extend((first..).zip(lines).map(|(offset, line)| old_line(partition, offset, line)));
            }
        }
        told.sort();
        told
    }

    fn console_consumer(&self, topic: &str, count: i64, arguments: &[&str]) -> Vec<u8> {
        let mut command = self.tool(Tool::Consumer);
        let property = self.version().formatter_option();
        command.args(["--topic", topic]);
        command.args([property, "print.timestamp=true", property, "print.key=true"]);
        command.args(["--max-messages", &count.to_string(), "--timeout-ms", "60000"]).args(arguments);
        run(command, b"", TOOL_LIMIT).expect_success().stdout
    }

    /// What GetOffsetShell says of every partition at `time` (-1: the end, -2: the start), sorted by partition.
    #[must_use]
    pub fn offsets(&self, topic: &str, time: i64) -> Vec<(i32, i64)> {
        let mut command = self.tool(Tool::Offsets);
        command.args(["--topic", topic, "--time", &time.to_string()]);
        let output = run(command, b"", TOOL_LIMIT).expect_success();
        let mut offsets: Vec<(i32, i64)> = (output.stdout_text().lines())
            .map(|line| {
                let mut fields = line.rsplit(':');
                let (offset, partition) = (fields.next(), fields.next());
                let number = |field: Option<&str>| field.and_then(|field| field.parse::<i64>().ok());
                let (Some(offset), Some(partition)) = (number(offset), number(partition)) else {
                    panic!("not an offset line: {line:?}\n{}", output.describe())
                };
                (i32::try_from(partition).expect("a partition number"), offset)
            })
            .collect();
        offsets.sort_unstable();
        offsets
    }

    /// ConsumerGroupCommand's description of a group, sorted. A group that the cluster does not know has no rows.
    #[must_use]
    pub fn group(&self, group: &str) -> Vec<GroupRow> {
        let mut command = self.tool(Tool::Groups);
        command.args(["--describe", "--group", group]);
        let output = run(command, b"", TOOL_LIMIT);
        let said = format!("{}{}", output.stdout_text(), output.stderr_text());
        if said.contains("does not exist") || said.contains("GroupIdNotFoundException") || said.contains("not found") {
            return Vec::new();
        }
        let output = output.expect_success();
        let mut rows = group_rows(&output.stdout_text()).unwrap_or_else(|| panic!("no table in {}", output.describe()));
        rows.sort();
        rows
    }
}

/// `CreateTime:1500000000000<tab>key<tab>value`.
fn old_line(partition: i32, offset: i64, line: &[u8]) -> Told {
    let fields: Vec<&[u8]> = line.splitn(3, |byte| *byte == b'\t').collect();
    let [time, key, value] = fields[..] else { panic!("not a record line: {:?}", String::from_utf8_lossy(line)) };
    Told { partition, offset, timestamp: after_colon(time), key: unless_null(key), value: unless_null(value) }
}

/// `CreateTime:1500000000000<tab>Partition:0<tab>Offset:0<tab>key<tab>value`.
fn new_line(line: &[u8]) -> Told {
    let fields: Vec<&[u8]> = line.splitn(5, |byte| *byte == b'\t').collect();
    let [time, partition, offset, key, value] = fields[..] else {
        panic!("not a record line: {:?}", String::from_utf8_lossy(line))
    };
    Told {
        partition: i32::try_from(after_colon(partition)).expect("a partition number"),
        offset: after_colon(offset),
        timestamp: after_colon(time),
        key: unless_null(key),
        value: unless_null(value),
    }
}

fn after_colon(field: &[u8]) -> i64 {
    let text = String::from_utf8_lossy(field);
    let number = text.split_once(':').and_then(|(_, number)| number.parse().ok());
    number.unwrap_or_else(|| panic!("no number in {text:?}"))
}

fn unless_null(field: &[u8]) -> Option<Vec<u8>> {
    (field != b"null").then(|| field.to_owned())
}

/// The rows under the header line; `None` without one.
fn group_rows(text: &str) -> Option<Vec<GroupRow>> {
    let mut lines = text.lines().skip_while(|line| !line.contains("CURRENT-OFFSET"));
    let header: Vec<&str> = lines.next()?.split_whitespace().collect();
    let column = |name| header.iter().position(|word| *word == name);
    let (topic, partition) = (column("TOPIC")?, column("PARTITION")?);
    let (committed, end) = (column("CURRENT-OFFSET")?, column("LOG-END-OFFSET")?);
    // A member without a partition has a row, too, whose topic is `-`.
    let is_partition = |line: &&str| line.split_whitespace().nth(topic).is_some_and(|word| word != "-");
    let rows = lines.filter(is_partition).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = |index: usize| words.get(index).copied().unwrap_or_default();
        GroupRow {
            topic: word(topic).to_owned(),
            partition: word(partition).parse().unwrap_or_else(|_| panic!("no partition in {line:?}")),
            committed: word(committed).parse().ok(),
            end: word(end).parse().ok(),
        }
    });
    Some(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_tables_of_both_versions_are_read() {
        let old = "\nTOPIC                          PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG        CONSUMER-ID\n\
                   testkafka                      6          0               0               0          -\n\
                   testkafka                      1          1               2               1          -\n\
                   -                              -          -               -               -          forebay-1\n";
        let new = "\nGROUP  TOPIC      PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG  CONSUMER-ID  HOST  CLIENT-ID\n\
                   g      testkafka  1          -               2               -    -            -     -\n";
        let row = |partition, committed, end| GroupRow {
            topic: "testkafka".to_owned(),
            partition,
            committed,
            end: Some(end),
        };
        assert_eq!(group_rows(old), Some(vec![row(6, Some(0), 0), row(1, Some(1), 2)]));
        assert_eq!(group_rows(new), Some(vec![row(1, None, 2)]));
        assert_eq!(group_rows("Error: nothing here"), None);
    }

    #[test]
    fn record_lines_of_both_tools_are_read() {
        let told =
            Told { partition: 3, offset: 7, timestamp: 1_500_000_000_000, key: None, value: Some(b"a\tb".to_vec()) };
        assert_eq!(old_line(3, 7, b"CreateTime:1500000000000\tnull\ta\tb"), told);
        assert_eq!(new_line(b"CreateTime:1500000000000\tPartition:3\tOffset:7\tnull\ta\tb"), told);
    }
}
