//! The workload as a real broker holds it: every record, under every codec.

use forebay_benches::JsonRecords;
use forebay_benches::produce::produce;
use forebay_proto_tests::kafka::{KafkaCluster, Version};

#[test]
fn every_codec_carries_the_records() {
    let cluster = KafkaCluster::shared(Version::V4_4_0);
    let workload = JsonRecords::small(2_000);
    let mut expected: Vec<String> = (0..workload.records).map(|number| workload.record(number)).collect();
    expected.sort();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        cluster.create_topic(codec, 3, 1);
        let report = produce(&cluster.server(), codec, codec, workload);
        assert!(report.starts_with("2000 records acknowledged"), "{report}");
        let values = cluster.consume(codec).into_iter().filter_map(|record| record.value);
        let mut found: Vec<String> = values.map(|value| String::from_utf8_lossy(&value).into_owned()).collect();
        found.sort();
        assert!(found == expected, "{codec}: other records came back");
    }
}
