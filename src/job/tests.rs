#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
//! Whole jobs: what is read from them, and what is said about them.

use std::time::Duration;

use super::*;

/// The reference job's shape with a usable address; `$reader`, `$writer` and `$setting` hold more members.
fn dataworks(reader: &str, writer: &str, setting: &str) -> String {
    format!(
        r#"{{"type":"job","version":"2.0","steps":[
{{"stepType":"kafka","name":"Reader","category":"reader","parameter":{{{reader}}}}},
{{"stepType":"odps","name":"Writer","category":"writer","parameter":{{{writer}}}}}],
"setting":{{{setting}}}}}"#
    )
}

const READER: &str = r#""server":"a:9092","topic":"t","column":["__key__"],"beginOffset":0,"endOffset":3"#;
const WRITER: &str = r#""table":"t","column":["k"],"truncate":true"#;

fn reader(more: &str) -> String {
    dataworks(&format!("{READER}{more}"), WRITER, "")
}

fn writer(more: &str) -> String {
    dataworks(READER, &format!("{WRITER}{more}"), "")
}

fn setting(members: &str) -> String {
    dataworks(READER, WRITER, members)
}

fn options() -> LoadOptions {
    let text = "[odps_first]\nproject='p'\nendpoint='http://h/api'\naccess_id='i'\naccess_key='canary'\nquota='q'\n\
                [kafka_prod]\ntype='kafka'\naddress=['k:1']\nkafkaConfig={'group.id'='from-source','client.id'='c'}\n";
    let sources = Sources { datasources: Datasources::parse("ds.toml", text).unwrap(), ..Sources::default() };
    LoadOptions { sources, ..LoadOptions::new("2024-03-01T00:00:00Z".parse().unwrap()) }
}

fn with_params(params: &[(&str, &str)]) -> LoadOptions {
    let params = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    LoadOptions { params, ..options() }
}

fn spec(text: &str) -> JobSpec {
    load("folder/j.json", text, &options()).unwrap()
}

/// The only error, as it is printed.
fn error(text: &str) -> String {
    error_with(text, &options())
}

fn error_with(text: &str, options: &LoadOptions) -> String {
    let errors = load("j.json", text, options).unwrap_err();
    assert_eq!(errors.errors.len(), 1, "{errors}");
    assert!(!errors.to_string().contains("canary"));
    errors.to_string()
}

fn notes(spec: &JobSpec, severity: Severity) -> Vec<String> {
    spec.notes.iter().filter(|note| note.severity == severity).map(|note| note.text.clone()).collect()
}

#[test]
fn a_small_job_has_the_documented_defaults() {
    let spec = spec(&dataworks(READER, WRITER, ""));
    assert_eq!((spec.name.as_str(), spec.shape), ("j", Shape::DataWorks));
    let reader = &spec.reader;
    assert_eq!(reader.servers, ["a:9092"]);
    assert_eq!((reader.begin, reader.end), (Begin::Offset(0), End::Offset(3)));
    assert_eq!((reader.key_type, reader.value_type), (FieldType::String, FieldType::String));
    assert_eq!((reader.encoding, reader.header_encoding), (Charset::Utf8, Charset::Utf8));
    assert_eq!(reader.data_format, DataFormat::Json);
    assert_eq!(reader.wait_time, Duration::from_secs(60));
    assert_eq!((reader.fetch_min_bytes, reader.fetch_wait_max), (1, Duration::from_millis(500)));
    assert_eq!(reader.session_timeout, Duration::from_secs(30));
    assert_eq!(reader.isolation, Isolation::ReadUncommitted);
    assert_eq!((reader.partitions.clone(), reader.group.clone(), reader.auto_offset_reset), (None, None, None));
    assert!(reader.old_form && reader.stop_when_poll_empty && !reader.commit_offsets);
    assert_eq!(reader.time_zone, zone::parse_zone("GMT+8").unwrap());
    let writer = &spec.writer;
    assert_eq!((writer.connection.project.as_str(), writer.connection.quota.as_deref()), ("p", Some("q")));
    assert_eq!(writer.columns, WriterColumns::Named(vec!["k".into()]));
    assert_eq!((writer.partition.as_str(), writer.block_bytes, writer.retries_max), ("", 64 << 20, 10));
    assert_eq!(writer.over_length, OverLength::KeepOn);
    assert_eq!((writer.odps_field_bytes_max, writer.field_bytes_max), (8_388_608, 8_388_608));
    assert_eq!(writer.write_timeout, Duration::from_secs(600));
    assert!(writer.truncate && !writer.empty_as_null && writer.pre_sql.is_empty() && writer.post_sql.is_empty());
    assert_eq!(writer.routing, Routing::default());
    assert_eq!(spec.settings.dirty_limit, DirtyLimit::default());
    assert_eq!((spec.settings.concurrent, spec.settings.dry_run), (3, false));
    assert_eq!((spec.settings.bytes_per_second, spec.settings.records_per_second), (None, None));
    assert_eq!(notes(&spec, Severity::Warning), Vec::<String>::new());
}

#[test]
fn every_reader_parameter_is_read() {
    let spec = spec(&reader(
        r#","keyType":"long","valueType":"ByteArray","encoding":"gbk","headerEncoding":"ISO-8859-1","groupId":"g",
        "kafkaConfig":{"group.id":"h","fetch.min.bytes":5,"fetch.max.wait.ms":6},"partition":[2,"0"],"waitTIme":"7",
        "autoOffsetReset":"Earliest","fetchMaxWaitMs":"8","sessionTimeoutMs":9000,"timeZone":"UTC",
        "stopWhenPollEmpty":"false""#,
    ));
    let reader = &spec.reader;
    assert_eq!((reader.key_type, reader.value_type), (FieldType::Long, FieldType::ByteArray));
    assert_eq!((reader.encoding, reader.header_encoding), (Charset::Gbk, Charset::Iso8859_1));
    assert_eq!(reader.group.as_deref(), Some("g"));
    assert_eq!(reader.partitions, Some(vec![0, 2]));
    assert_eq!(reader.wait_time, Duration::from_secs(7));
    assert_eq!(reader.auto_offset_reset, Some(Reset::Earliest));
    assert_eq!((reader.fetch_min_bytes, reader.fetch_wait_max), (5, Duration::from_millis(8)));
    assert_eq!(reader.session_timeout, Duration::from_secs(9));
    assert_eq!(reader.time_zone, jiff::tz::TimeZone::UTC);
    assert!(!reader.old_form && !reader.stop_when_poll_empty && reader.commit_offsets);
    assert_eq!(notes(&spec, Severity::Warning), Vec::<String>::new());
}

#[test]
fn every_charset_and_type_has_its_names() {
    for (name, charset) in [
        ("UTF-8", Charset::Utf8),
        ("utf8", Charset::Utf8),
        ("GB18030", Charset::Gb18030),
        ("us-ascii", Charset::UsAscii),
        ("iso-8859-1", Charset::Iso8859_1),
    ] {
        assert_eq!(spec(&reader(&format!(r#","encoding":"{name}""#))).reader.encoding, charset);
    }
    for (name, field_type) in [
        ("BYTEARRAY", FieldType::ByteArray),
        ("Double", FieldType::Double),
        ("float", FieldType::Float),
        ("INTEGER", FieldType::Integer),
        ("LONG", FieldType::Long),
        ("short", FieldType::Short),
        ("string", FieldType::String),
    ] {
        assert_eq!(spec(&reader(&format!(r#","keyType":"{name}""#))).reader.key_type, field_type);
    }
    assert!(error(&reader(r#","encoding":"EBCDIC""#)).contains("Reader.encoding: \"EBCDIC\" is not one of UTF-8"));
    assert!(error(&reader(r#","keyType":"Bytes""#)).contains("Reader.keyType: \"Bytes\" is not one of BYTEARRAY"));
}

#[test]
fn reader_errors_name_the_key() {
    let job = |reader: &str| dataworks(reader, WRITER, "");
    for (text, wanted) in [
        (job(r#""topic":"t","column":["a"],"beginOffset":0,"endOffset":3"#), "Reader.server: no Kafka broker is named"),
        (job(r#""server":"a","topic":"t","column":["a"],"beginOffset":0,"endOffset":3"#), "\"a\" has no port"),
        (job(r#""server":"a:1","column":["a"],"beginOffset":0,"endOffset":3"#), "Reader.topic: is missing"),
        (
            job(r#""server":"a:1","topic":["t"],"column":["a"],"beginOffset":0,"endOffset":3"#),
            "Reader.topic: must be one topic",
        ),
        (
            job(r#""server":"a:1","topic":"t,u","column":["a"],"beginOffset":0,"endOffset":3"#),
            "\"t,u\" cannot be a topic",
        ),
        (job(r#""server":"a:1","topic":"t","beginOffset":0,"endOffset":3"#), "Reader.column: is missing"),
        (reader(r#","partition":"-1""#), "\"-1\" is not a partition's number"),
        (reader(r#","partition":[]"#), "Reader.partition: is an empty list"),
        (reader(r#","waitTime":"soon""#), "Reader.waitTime: \"soon\" is not a whole number"),
        (reader(r#","dataFormat":"text""#), "Reader.fieldDelimiter: is missing"),
        (reader(r#","dataFormat":"csv""#), "Reader.dataFormat: \"csv\" is not one of json, text"),
        (reader(r#","timeZone":"Moon""#), "Reader.timeZone: \"Moon\" is not a time zone"),
        (reader(r#","kafkaConfig":"a=b""#), "Reader.kafkaConfig: must be an object of consumer properties"),
        (reader(r#","datasource":"nobody""#), "Reader.datasource: data source \"nobody\" is not configured"),
        (reader(r#","kafkaConfig":{"security.protocol":"TLS"}"#), "Reader.kafkaConfig.security.protocol: \"TLS\""),
        (
            job(r#""server":"a:1","topic":"t","column":["a"],"beginOffset":"seekToLast","endOffset":3"#),
            "Reader.groupId: is missing",
        ),
    ] {
        let said = error(&text);
        assert!(said.starts_with("j.json:2:") && said.contains(wanted), "{said}");
    }
}

#[test]
fn all_errors_are_shown_at_once() {
    let errors =
        load("j.json", &dataworks(r#""waitTime":"x","column":[],"Topic":"t""#, r#""truncate":"""#, ""), &options());
    let errors = errors.unwrap_err();
    let keys: Vec<&str> = errors.errors.iter().map(|error| error.key.as_str()).collect();
    for key in
        ["Reader.server", "Reader.topic", "Reader.waitTime", "Reader.column", "Reader.beginOffset", "Reader.endOffset"]
    {
        assert!(keys.contains(&key), "{key} in {keys:?}");
    }
    for key in ["Writer.table", "Writer.column", "Writer.truncate"] {
        assert!(keys.contains(&key), "{key} in {keys:?}");
    }
    assert!(errors.notes.iter().any(|note| note.text.contains("did you mean topic?")));
}

#[test]
fn text_values_have_positions_and_a_delimiter() {
    let spec = spec(&dataworks(
        r#""server":"a:1","topic":"t","dataFormat":"TEXT","fieldDelimiter":"\t","column":["1","__offset__"],
        "beginOffset":0,"endOffset":3"#,
        r#""table":"t","column":["a","b"]"#,
        "",
    ));
    assert_eq!(spec.reader.data_format, DataFormat::Text { delimiter: "\t".into() });
    assert_eq!(spec.reader.columns, [SourceColumn::Field(1), SourceColumn::Offset]);
}

#[test]
fn a_masked_address_is_an_error_at_a_run_and_a_warning_at_a_check() {
    let text = dataworks(&READER.replace("a:9092", "47.xxx.xxx.xxx:9092"), WRITER, "");
    let said = error(&text);
    assert!(said.contains("is a masked address\n  next: ") && said.contains("--set reader.server="), "{said}");
    let checked = load("j.json", &text, &LoadOptions { purpose: Purpose::Check, ..options() }).unwrap();
    assert_eq!(notes(&checked, Severity::Warning).len(), 1);
    let sets = vec![("Reader.server".to_owned(), "127.0.0.1:9092,[::1]:1".to_owned())];
    let set = load("j.json", &text, &LoadOptions { sets, ..options() }).unwrap();
    assert_eq!(set.reader.servers, ["127.0.0.1:9092", "[::1]:1"]);
}

#[test]
fn a_kafka_data_source_fills_in_what_the_job_does_not_say() {
    let job = r#""datasource":"kafka_prod","topic":"t","column":["a"],"beginType":"current","endType":"latest""#;
    let read = spec(&dataworks(job, WRITER, ""));
    assert_eq!(read.reader.servers, ["k:1"]);
    assert_eq!((read.reader.group.as_deref(), read.reader.client_id.as_deref()), (Some("from-source"), Some("c")));
    let job = format!(r#"{job},"server":"own:1","kafkaConfig":{{"group.id":"own"}}"#);
    let read = spec(&dataworks(&job, WRITER, ""));
    assert_eq!(read.reader.servers, ["own:1"]);
    assert_eq!((read.reader.group.as_deref(), read.reader.client_id.as_deref()), (Some("own"), Some("c")));
}

#[test]
fn every_writer_parameter_is_read() {
    let spec = spec(&dataworks(
        READER,
        r#""project":"own","odpsServer":"https://h/api","tunnelServer":"https://t","accessId":"j","accessKey":"canary",
        "securityToken":"canary","schema":"s","tunnelQuota":"tq","table":" t1 ","partition":"pt='1' / b = 2",
        "column":["*"],"truncate":"FALSE","emptyAsNull":"true","blockSizeInMB":"4","maxRetryTime":3,
        "overLengthRule":"SETNULL","maxOdpsFieldLength":"100","maxFieldLength":50,"enableOverLengthOutput":false,
        "maxOverLengthOutputCount":5,"preSql":["a"," "],"postSql":"b","writeTimeoutInMs":"1000","uploadCompression":"ZSTD",
        "supportDynamicPartition":false,"calendarTimeZone":"UTC""#,
        "",
    ));
    let writer = &spec.writer;
    let connection = &writer.connection;
    assert_eq!((connection.project.as_str(), connection.access_id.as_str()), ("own", "j"));
    assert_eq!(connection.tunnel_endpoint.as_deref(), Some("https://t"));
    assert_eq!((connection.schema.as_deref(), connection.quota.as_deref()), (Some("s"), Some("tq")));
    assert_eq!((connection.access_key.expose(), connection.source.as_str()), ("canary", "the job file"));
    assert_eq!((writer.table.as_str(), writer.partition.as_str()), ("t1", "pt=1,b=2"));
    assert_eq!(writer.columns, WriterColumns::All);
    assert!(!writer.truncate && writer.empty_as_null);
    assert_eq!((writer.block_bytes, writer.retries_max), (8 << 20, 3));
    assert_eq!(writer.over_length, OverLength::SetNull);
    assert_eq!((writer.odps_field_bytes_max, writer.field_bytes_max), (100, 50));
    assert_eq!(writer.upload_compression, UploadCompression::Zstd);
    assert_eq!(writer.over_length_log, OverLengthLog { enabled: false, count_max: Some(5) });
    assert_eq!((writer.pre_sql.clone(), writer.post_sql.clone()), (vec!["a".to_owned()], vec!["b".to_owned()]));
    assert_eq!(writer.write_timeout, Duration::from_secs(1));
    assert_eq!(writer.routing, Routing { wanted: Some(false), ..Routing::default() });
    assert_eq!(writer.date_zone, Some(jiff::tz::TimeZone::UTC));
    assert!(!format!("{spec:?}").contains("canary"));
}

#[test]
fn job_keys_go_over_the_data_source() {
    let spec = spec(&writer(r#","project":"other","datasource":"odps_first""#));
    assert_eq!((spec.writer.connection.project.as_str(), spec.writer.connection.access_id.as_str()), ("other", "i"));
    assert!(notes(&spec, Severity::Info).iter().any(|note| note.contains("under the keys of the job")));
}

#[test]
fn writer_errors_name_the_key() {
    let job = |writer: &str| dataworks(READER, writer, "");
    for (text, wanted) in [
        (job(r#""column":["k"]"#), "Writer.table: is missing"),
        (job(r#""table":"p.t","column":["k"]"#), "Writer.table: \"p.t\" is not a table's name"),
        (job(r#""table":"t""#), "Writer.column: is missing"),
        (job(r#""table":"t","column":["k"],"truncate":"""#), "Writer.truncate: is blank"),
        (job(r#""table":"t","column":["k"],"truncate":"yes""#), "Writer.truncate: \"yes\" is not one of true, false"),
        (writer(r#","partition":"20240101""#), "Writer.partition: \"20240101\" is not of the form name=value"),
        (writer(r#","blockSizeInMB":513"#), "Writer.blockSizeInMB: \"513\" is not"),
        (writer(r#","maxRetryTime":0"#), "Writer.maxRetryTime: \"0\" is not a whole number from 1 to 10"),
        (writer(r#","maxRetryTime":"11""#), "\"11\" is not a whole number from 1 to 10"),
        (writer(r#","overLengthRule":"cut""#), "\"cut\" is not one of keepOn, truncate, setNull"),
        (writer(r#","partitionFormatType":"custom""#), "Writer.partitionFormatType: \"custom\" is not supported"),
        (writer(r#","customPartitionColumns":["a"]"#), "Writer.customPartitionColumns: is not supported"),
        (writer(r#","customPartitionFunctions":{"a":1}"#), "Writer.customPartitionFunctions: is not supported"),
        (writer(r#","partitionColumnMapping":[{"name":"a"}]"#), "partitionColumnMapping[0].dateFormat: is missing"),
        (
            writer(r#","partitionColumnMapping":[{"name":"k","dateFormat":"day"}]"#),
            "partitionColumnMapping[0].dateFormat: \"day\" is not a date pattern",
        ),
        (
            writer(r#","partitionColumnMapping":[{"name":"pt","dateFormat":"yyyyMMdd"}]"#),
            "Writer.partitionColumnMapping: formats \"pt\", which column does not name",
        ),
        (
            writer(r#","supportDynamicPartition":true,"partition":"pt=1""#),
            "asks for rows to be routed, but partition names one for all of them",
        ),
        (
            job(r#""table":"t","column":["*"],"truncate":true,"supportDynamicPartition":true"#),
            "Writer.supportDynamicPartition: asks for rows to be routed, but column is",
        ),
        (writer(r#","partition":"pt={__timestamp__}""#), "{__timestamp__} needs a date pattern"),
        (writer(r#","partition":"pt={a:day}""#), "Writer.partition: \"day\" is not a date pattern"),
        (
            writer(r#","partition":"pt={a}","supportDynamicPartition":false"#),
            "Writer.supportDynamicPartition: is false, but the partition has values in braces",
        ),
        (writer(r#","dynamicPartitionsMax":501"#), "Writer.dynamicPartitionsMax: \"501\" is not"),
        (writer(r#","datasource":"nobody""#), "known names: kafka_prod, odps_first"),
        (writer(r#","accessId":"only the id""#), "does not give access_key"),
        (writer(r#","odpsServer":"h""#), "does not begin with http:// or https://"),
    ] {
        let said = error(&text);
        assert!(said.starts_with("j.json:3:") && said.contains(wanted), "{said}");
    }
}

#[test]
fn truncate_is_true_in_dataworks_and_required_in_datax() {
    let spec = spec(&dataworks(READER, r#""table":"t","column":["k"]"#, ""));
    assert!(spec.writer.truncate);
    assert!(notes(&spec, Severity::Info).iter().any(|note| note.contains("truncate is not given: true")));
    assert!(error(&datax(r#""table":"t","column":["k"]"#, "")).contains("writer.truncate: is missing"));
}

#[test]
fn column_counts_are_compared() {
    let columns =
        |from: &str, to: &str| dataworks(&READER.replace(r#"["__key__"]"#, from), &WRITER.replace(r#"["k"]"#, to), "");
    let said = error(&columns(r#"["a","b"]"#, r#"["x"]"#));
    assert!(
        said.starts_with("j.json:3:") && said.contains("the reader has 2 columns, but the writer only 1"),
        "{said}"
    );
    let fewer = spec(&columns(r#"["a"]"#, r#"["x","y","z"]"#));
    let warnings = notes(&fewer, Severity::Warning);
    assert_eq!(warnings, ["the writer has 3 columns, but the reader only 1; NULL goes into y, z"]);
    assert_eq!(notes(&spec(&columns(r#"["a","b"]"#, r#"["*"]"#)), Severity::Warning), Vec::<String>::new());
}

#[test]
fn offsets_are_committed_with_a_group_unless_switched_off() {
    let job = |truncate: &str, config: &str| {
        let writer = WRITER.replace("true", truncate);
        let read = spec(&dataworks(&format!(r#"{READER},"kafkaConfig":{{{config}}}"#), &writer, ""));
        let said = notes(&read, Severity::Info).iter().any(|note| note.contains("enable.auto.commit is false, yet"));
        (read.reader.commit_offsets, said)
    };
    let group = r#""group.id":"g""#;
    let off = r#""group.id":"g","enable.auto.commit":"false""#;
    assert_eq!(job("true", group), (true, false));
    assert_eq!(job("true", ""), (false, false));
    assert_eq!(job("true", off), (false, false));
    assert_eq!(job("false", off), (true, true));
}

#[test]
fn the_limit_of_dirty_rows_in_all_its_forms() {
    let limit = |text: &str| spec(&setting(&format!(r#""errorLimit":{{{text}}}"#))).settings.dirty_limit;
    let records = |n| DirtyLimit { records: Some(n), percentage: None };
    assert_eq!(limit(""), DirtyLimit::default());
    assert_eq!(limit(r#""record":"""#), DirtyLimit::default());
    assert_eq!(limit(r#""record":"0""#), records(0));
    assert_eq!(limit(r#""record":5,"percentage":0.1"#), records(5));
    assert_eq!(limit(r#""percentage":"0.25""#), DirtyLimit { records: None, percentage: Some(0.25) });
    assert_eq!(limit(r#""strategy":"ignore""#), DirtyLimit::default());
    assert_eq!(limit(r#""strategy":"ZeroTolerance""#), records(0));
    assert_eq!(limit(r#""strategy":"Tolerance","record":7"#), records(7));
    for conflict in [r#""strategy":"Ignore","record":7"#, r#""strategy":"ZeroTolerance","record":7"#] {
        let read = spec(&setting(&format!(r#""errorLimit":{{{conflict}}}"#)));
        assert_eq!(notes(&read, Severity::Warning).len(), 1, "{conflict}");
    }
    for (text, wanted) in [
        (r#""record":"-1""#, "setting.errorLimit.record: \"-1\" is not a whole number of 0 or more"),
        (r#""percentage":1.5"#, "setting.errorLimit.percentage: \"1.5\" is not a number from 0 to 1"),
        (r#""strategy":"Tolerance""#, "setting.errorLimit.record: is missing"),
        (r#""strategy":"Some""#, "\"Some\" is not one of Ignore, Tolerance, ZeroTolerance"),
    ] {
        let said = error(&setting(&format!(r#""errorLimit":{{{text}}}"#)));
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn speed_in_all_its_forms() {
    let speed = |text: &str| {
        let settings = spec(&setting(&format!(r#""speed":{{{text}}}"#))).settings;
        (settings.concurrent, settings.bytes_per_second, settings.records_per_second)
    };
    assert_eq!(speed(r#""throttle":false,"concurrent":1,"dmu":1"#), (1, None, None));
    assert_eq!(speed(r#""throttle":"true","mbps":"1.5","concurrent":"2""#), (2, Some(1_572_864), None));
    assert_eq!(speed(r#""throttle":false,"mbps":5"#), (3, None, None));
    assert_eq!(speed(r#""channel":50"#), (32, None, None));
    assert_eq!(speed(r#""byte":1000,"record":"10""#), (3, Some(1000), Some(10)));
    assert_eq!(speed(r#""byte":-1,"record":0"#), (3, None, None));
    assert!(error(&setting(r#""speed":{"throttle":true}"#)).contains("setting.speed.mbps: is missing"));
    assert!(error(&setting(r#""speed":{"concurrent":0}"#)).contains("setting.speed.concurrent: \"0\" is not"));
    assert!(error(&setting(r#""speed":{"throttle":true,"mbps":0}"#)).contains("setting.speed.mbps: \"0\" is not"));
}

#[test]
fn modes_that_do_not_exist_here_are_told() {
    let read =
        spec(&setting(r#""executeMode":"distribute","failoverEnable":true,"jvmOption":"-Xmx1g","dryRun":"true""#));
    assert_eq!(notes(&read, Severity::Warning).len(), 1);
    let ignored = notes(&read, Severity::Info);
    assert!(ignored.iter().any(|note| note.contains("failoverEnable") && note.contains("jvmOption")), "{ignored:?}");
    assert!(read.settings.dry_run);
    assert_eq!(notes(&spec(&setting(r#""executeMode":null"#)), Severity::Warning), Vec::<String>::new());
}

#[test]
fn the_jobs_zone_comes_from_the_settings() {
    let tokyo = zone::parse_zone("Asia/Tokyo").unwrap();
    for text in [
        r#""common":{"column":{"timeZone":"Asia/Tokyo"}}"#,
        r#""common.column.timeZone":"Asia/Tokyo""#,
        r#""common":{"column.timeZone":"Asia/Tokyo"}"#,
    ] {
        let read = spec(&setting(text));
        assert_eq!((&read.settings.time_zone, &read.reader.time_zone), (&tokyo, &tokyo), "{text}");
        assert_eq!(notes(&read, Severity::Warning), Vec::<String>::new(), "{text}");
    }
    let options = with_params(&[("zone", "Asia/Tokyo")]);
    let read = load("j.json", &setting(r#""common":{"column":{"timeZone":"${zone}"}}"#), &options).unwrap();
    assert_eq!(read.settings.time_zone, tokyo);
    assert!(error(&setting(r#""common":{"column":{"timeZone":"Moon"}}"#)).contains("common.column.timeZone: \"Moon\""));
    assert!(error(&setting(r#""common":{"column":{"timeZone":"${moon}"}}"#)).contains("${moon} has no value"));
    assert_eq!(spec(&setting(r#""common":{"column":{"encoding":"gbk"}}"#)).reader.encoding, Charset::Gbk);
    assert!(error(&setting(r#""common":{"column":{"encoding":"x"}}"#)).contains("common.column.encoding: \"x\""));
}

#[test]
fn the_zone_of_date_times_is_told_when_none_is_named() {
    let times = |more: &str| {
        let job = format!(
            r#""server":"a:1","topic":"t","column":["a"],"beginDateTime":"20240101000000","endDateTime":"20240102000000"{more}"#
        );
        spec(&dataworks(&job, WRITER, ""))
    };
    let read = times("");
    assert_eq!(read.reader.begin, Begin::Time(1_704_038_400_000));
    let said = notes(&read, Severity::Info);
    assert!(said.iter().any(|note| note == "Reader names no timeZone: date-times are read in GMT+08"), "{said:?}");
    let read = times(r#","timeZone":"UTC""#);
    assert_eq!(read.reader.begin, Begin::Time(1_704_067_200_000));
    assert!(!notes(&read, Severity::Info).iter().any(|note| note.contains("timeZone")));
}

#[test]
fn spellings_of_wait_time_are_one_key() {
    let read = spec(&reader(r#","waitTime":"5","waitTIme":6"#));
    assert_eq!(read.reader.wait_time, Duration::from_secs(6));
    assert_eq!(notes(&read, Severity::Warning), ["Reader.waitTime has no effect beside waitTIme"]);
}

#[test]
fn variables_are_filled_in_before_anything_is_read() {
    let options = with_params(&[("topic", "orders"), ("end", "9"), ("secret", "canary")]);
    let text = dataworks(
        &READER.replace(r#""t""#, r#""${topic}""#).replace(r#""endOffset":3"#, r#""endOffset":${end}"#),
        &format!(r#"{WRITER},"partition":"pt=${{bizdate}}","accessId":"i","accessKey":"${{secret}}""#),
        "",
    );
    let read = load("j.json", &text, &options).unwrap();
    assert_eq!((read.reader.topic.as_str(), read.reader.end), ("orders", End::Offset(9)));
    assert_eq!(read.writer.partition, "pt=20240229");
    assert_eq!(read.writer.connection.access_key.expose(), "canary");
    assert!(
        read.redacted_json.contains("\"topic\": \"orders\"") && read.redacted_json.contains("\"accessKey\": \"***\"")
    );
    assert!(!read.redacted_json.contains("canary") && !format!("{:?}", read.notes).contains("canary"));
    let said = error(&reader(r#","groupId":"${who}""#));
    assert!(said.starts_with("j.json:2:") && said.contains("groupId: variable ${who} has no value"), "{said}");
}

#[test]
fn a_missing_variable_does_not_bring_a_second_error() {
    let said = error(&READER_WITH_HOLE.replace('#', "\""));
    assert!(said.contains("variable ${t} has no value"), "{said}");
}

const READER_WITH_HOLE: &str = r##"{#type#:#job#,#steps#:[
{#stepType#:#kafka#,#name#:#R#,#category#:#reader#,#parameter#:{#server#:#a:1#,#topic#:#t#,#column#:[#a#],#beginOffset#:0,#endOffset#:3,#groupId#:#${t}#}},
{#stepType#:#odps#,#name#:#W#,#category#:#writer#,#parameter#:{#table#:#t#,#column#:[#a#]}}]}"##;

#[test]
fn the_frame_of_a_dataworks_job_is_checked() {
    let step = |step_type: &str, name: &str, category: &str, parameter: &str| {
        format!(r#"{{"stepType":"{step_type}","name":"{name}","category":"{category}","parameter":{{{parameter}}}}}"#)
    };
    let job = |steps: &[String], more: &str| format!(r#"{{"type":"job","steps":[{}]{more}}}"#, steps.join(","));
    let kafka = step("kafka", "R", "Reader", READER);
    let odps = step("odps", "W", "writer", WRITER);
    assert!(load("j.json", &job(&[odps.clone(), kafka.clone()], ""), &options()).is_ok());
    for (text, wanted) in [
        (
            job(&[kafka.clone(), step("mysql", "W", "writer", WRITER)], ""),
            "steps[1].stepType: \"mysql\" is not supported",
        ),
        (
            job(&[step("stream", "R", "reader", READER), odps.clone()], ""),
            "steps[0].stepType: \"stream\" is not supported",
        ),
        (job(std::slice::from_ref(&kafka), ""), "steps: the job has no writer"),
        (job(&[odps.clone(), kafka.clone(), kafka.clone()], ""), "step \"R\" is a second reader"),
        (
            job(&[kafka.clone(), odps.clone(), step("x", "P", "processor", "")], ""),
            "step \"P\" is of category \"processor\"",
        ),
        (
            job(&[kafka.clone(), odps.clone()], r#","order":{"hops":[{"from":"W","to":"R"}]}"#),
            "\"W\" is not the job's reader",
        ),
        (job(&[kafka.clone(), odps.clone()], r#","order":{"hops":[{"from":"R","to":"Q"}]}"#), "there is no step \"Q\""),
        (format!(r#"{{"type":"dag","steps":[{kafka},{odps}]}}"#), "type: \"dag\" is not supported"),
        (format!(r#"{{"steps":[{kafka},{odps}]}}"#), "type: is missing"),
        (r#"{"type":"job"}"#.to_owned(), "steps: is missing"),
        (r#"{"type":"job","steps":{}}"#.to_owned(), "steps: must be a list of steps"),
        ("[]".to_owned(), "the file must hold an object, but holds a list"),
        ("{}".to_owned(), "the file has neither steps nor job"),
        (r#"{"steps":[],"job":{}}"#.to_owned(), "the file has both steps and job"),
        (r#"{"configuration":{}}"#.to_owned(), "a DataWorks job of version 1.0"),
        ("{\"type\": \"job\",\n  \"steps\" [".to_owned(), "j.json:2:11: not valid JSON"),
    ] {
        let errors = load("j.json", &text, &options()).unwrap_err();
        assert!(errors.to_string().contains(wanted), "{text}\n{errors}");
        assert!(errors.errors.len() <= 2, "{errors}");
    }
    let version = spec(&format!(r#"{{"type":"job","version":"3.0","extend":{{"x":1}},"steps":[{kafka},{odps}]}}"#));
    assert_eq!(notes(&version, Severity::Warning), ["version \"3.0\" is read as \"2.0\""]);
}

fn datax(writer: &str, more: &str) -> String {
    format!(
        r#"{{"job":{{"setting":{{"speed":{{"channel":2}},"errorLimit":{{"record":0,"percentage":0.02}}}},"content":[{{
"reader":{{"name":"kafkareader","parameter":{{"brokerList":"a:1,b:2","topic":"t","column":["__value__"],
  "properties":{{"group.id":"g"}},"beginOffset":0,"endOffset":3}}}},
"writer":{{"name":"odpswriter","parameter":{{{writer}}}}}}}]}}{more}}}"#
    )
}

#[test]
fn a_datax_job_is_read_by_the_same_rules() {
    let read = spec(&datax(WRITER, r#","common":{"column":{"timeZone":"UTC"}},"entry":{"jvm":"-Xmx1g"}"#));
    assert_eq!(read.shape, Shape::DataX);
    assert_eq!(read.reader.servers, ["a:1", "b:2"]);
    assert_eq!(read.reader.group.as_deref(), Some("g"));
    assert_eq!(read.settings.concurrent, 2);
    assert_eq!(read.settings.dirty_limit, DirtyLimit { records: Some(0), percentage: None });
    assert_eq!(read.settings.time_zone, jiff::tz::TimeZone::UTC);
    assert_eq!(notes(&read, Severity::Warning), Vec::<String>::new());
    assert!(notes(&read, Severity::Info).iter().any(|note| note.contains("accepted without effect: entry")));
}

#[test]
fn channel_limits_make_a_total() {
    let core = |speed: &str| format!(r#","core":{{"transport":{{"channel":{{"speed":{{{speed}}}}}}}}}"#);
    let read = spec(&datax(WRITER, &core(r#""byte":1000,"record":-1"#)));
    assert_eq!((read.settings.bytes_per_second, read.settings.records_per_second), (Some(2000), None));
    let text = datax(WRITER, &core(r#""byte":1000"#)).replace(r#""channel":2"#, r#""channel":2,"byte":5500"#);
    let read = spec(&text);
    assert_eq!((read.settings.concurrent, read.settings.bytes_per_second), (5, Some(5500)));
}

#[test]
fn the_frame_of_a_datax_job_is_checked() {
    let good = datax(WRITER, "");
    for (text, wanted) in [
        (good.replace("kafkareader", "mysqlreader"), "job.content[0].reader.name: \"mysqlreader\" is not supported"),
        (
            good.replace("odpswriter", "hdfswriter"),
            "\"hdfswriter\" is not supported: forebay writes to odpswriter only",
        ),
        (
            good.replace(r#""reader":{"#, r#""transformer":[{"name":"dx_substr"}],"reader":{"#),
            "content[0].transformer: is not supported",
        ),
        (good.replace("}]}", r"},{}]}"), "job.content: holds a second entry"),
        (r#"{"job":{"content":[]}}"#.to_owned(), "job.content: is missing"),
        (r#"{"job":{}}"#.to_owned(), "job.content: is missing"),
    ] {
        let said = error(&text);
        assert!(said.contains(wanted), "{said}");
    }
    assert!(load("j.json", &good.replace(r#""reader":{"#, r#""transformer":[],"reader":{"#), &options()).is_ok());
    let both = load("j.json", r#"{"job":{"content":[{}]}}"#, &options()).unwrap_err();
    assert_eq!(both.errors.len(), 2, "{both}");
}

#[test]
fn accepted_keys_without_effect_are_said_once() {
    let read = spec(&dataworks(
        &format!(
            r#"{READER},"skipExceedRecord":false,"stopWhenReachEndOffset":true,"dmu":1,"kafkaConfig":{{"key.deserializer":"x"}}"#
        ),
        &format!(r#"{WRITER},"compress":false,"isCompress":"","consistencyCommit":false,"batchSize":1"#),
        r#""speed":{"dmu":1}"#,
    ));
    let info = notes(&read, Severity::Info);
    let said: Vec<&String> = info.iter().filter(|note| note.starts_with("accepted without effect: ")).collect();
    assert_eq!(said.len(), 1);
    for key in [
        "Reader.dmu",
        "Reader.kafkaConfig.key.deserializer",
        "Reader.stopWhenReachEndOffset",
        "Writer.compress",
        "Writer.consistencyCommit",
        "setting.speed.dmu",
    ] {
        assert!(said[0].contains(key), "{key} in {said:?}");
    }
    assert!(info.iter().any(|note| note.contains("skipExceedRecord is false")));
    assert_eq!(notes(&read, Severity::Warning), ["Writer.batchSize is not a known key and has no effect"]);
}

#[test]
fn a_default_data_source_that_is_not_configured_stops_a_run_and_not_a_check() {
    let bare = LoadOptions { sources: Sources::default(), ..options() };
    let text = dataworks(READER, WRITER, "");
    let said = error_with(&text, &bare);
    assert!(
        said.contains("Writer.datasource: data source odps_first is not configured\n  next: give --datasources"),
        "{said}"
    );
    let checked = load("j.json", &text, &LoadOptions { purpose: Purpose::Check, ..bare }).unwrap();
    assert_eq!(checked.writer.connection.source, "odps_first, not configured");
    assert_eq!(notes(&checked, Severity::Warning), Vec::<String>::new());
}

#[test]
fn the_name_comes_from_the_file() {
    for (file, name) in [("a/b.c.json", "b.c"), ("-", "stdin"), ("<stdin>", "stdin"), ("job", "job"), ("", "stdin")] {
        assert_eq!(name_of(file), name);
    }
}

#[test]
fn hostile_texts_are_errors_and_not_panics() {
    let good = dataworks(READER, WRITER, r#""speed":{"concurrent":1}"#);
    let options = options();
    for (at, _) in good.char_indices() {
        assert!(load("j.json", &good[..at], &options).is_err());
        // Each value in turn becomes something else.
        for other in ["null", "[]", "{}", "-1", "\"\"", "9e99", "\"${x}\"", "[[\"é\"]]"] {
            if let Some((value, rest)) = good[at..].strip_prefix(':').and_then(|rest| rest.split_once(',')) {
                let _ = (value, load("j.json", &format!("{}:{other},{rest}", &good[..at]), &options));
            }
        }
    }
}

#[test]
fn a_partition_may_be_made_from_each_record() {
    let routing =
        spec(&writer(r#","partition":"pt='{__timestamp__:yyyyMMdd}'/r=x-{tag.desc}","dynamicPartitionsMax":"9""#));
    let routing = routing.writer.routing;
    let names: Vec<&str> = routing.levels.iter().map(|level| level.key.as_str()).collect();
    assert_eq!((names, routing.partitions_max), (vec!["pt", "r"], 9));
    let [PartitionPiece::Text(text), PartitionPiece::Value { source, format, .. }] =
        routing.levels[1].pieces.as_slice()
    else {
        panic!("{routing:?}")
    };
    assert_eq!((text.as_str(), source.to_string().as_str(), format), ("x-", "tag.desc", &None));
    let mapped =
        spec(&writer(r#","partitionColumnMapping":[{"name":"K","srcDateFormat":"yyyy-MM-dd","dateFormat":"yyyyMM"}]"#));
    let mapping = &mapped.writer.routing.mapping[0];
    assert_eq!(mapping.format, DateFormat::parse("yyyyMM").unwrap());
    assert_eq!(mapping.source_format, Some(DateFormat::parse("yyyy-MM-dd").unwrap()));
}

const OWN: &str = r#"
mode = "batch"
[source]
brokers = ["a:9092", "b:9092"]
topic = "t"
group = "g"
start = "earliest"
stop = "latest"
config = { "isolation.level" = "read_committed" }
[target]
datasource = "odps_first"
table = "t"
partition = "ds={record.time:%Y%m%d}/region={value.region}"
block_size = "16MiB"
compression = "zstd"
[[columns]]
to = "k"
from = "key"
[[columns]]
to = "e"
from = "value.tag.desc"
[[columns]]
to = "c"
const = "x"
[limits]
concurrent = 2
dirty_rows = 0
bytes_per_second = "1MiB"
commit_every = { rows = 100_000, bytes = "64MiB", time = "60s" }
memory_max = "32MiB"
"#;

#[test]
fn a_job_of_forebays_own_is_the_same_description() {
    let job = load("j.toml", OWN, &options()).unwrap();
    assert_eq!((job.shape, job.unbounded, job.writer.mode), (Shape::Forebay, false, Mode::Batch));
    assert_eq!(job.reader.servers, ["a:9092", "b:9092"]);
    assert_eq!((job.reader.begin, job.reader.end), (Begin::LogStart, End::Latest));
    assert_eq!((job.reader.group.as_deref(), job.reader.commit_offsets), (Some("g"), true));
    assert_eq!(job.reader.isolation, Isolation::ReadCommitted);
    let columns: Vec<String> = job.reader.columns.iter().map(ToString::to_string).collect();
    assert_eq!(columns, ["__key__", "tag.desc", "'x'"]);
    assert_eq!(job.writer.columns, WriterColumns::Named(vec!["k".into(), "e".into(), "c".into()]));
    assert_eq!((job.writer.truncate, job.writer.block_bytes), (false, 16 << 20));
    assert_eq!(job.writer.upload_compression, UploadCompression::Zstd);
    let json = spec(&writer(r#","partition":"ds={__timestamp__:%Y%m%d}/region={region}""#));
    assert_eq!(job.writer.routing, json.writer.routing, "both shapes say the same");
    assert_eq!((job.settings.concurrent, job.settings.bytes_per_second), (2, Some(1 << 20)));
    assert_eq!(job.settings.dirty_limit.records, Some(0));
    let age = Some(Duration::from_secs(60));
    assert_eq!(job.batch, BatchLimits { rows: Some(100_000), bytes: Some(64 << 20), age });
    assert_eq!(job.memory_max, Some(32 << 20));
    // Told apart by content, not by name.
    assert_eq!(load("job", OWN, &options()).unwrap().shape, Shape::Forebay);
    let set = vec![("source.topic".to_owned(), "u".to_owned()), ("source.brokers".to_owned(), "c:1".to_owned())];
    let set = load("j.toml", OWN, &LoadOptions { sets: set, ..options() }).unwrap();
    assert_eq!((set.reader.topic.as_str(), set.reader.servers), ("u", vec!["c:1".to_owned()]));
}

#[test]
fn what_is_wrong_with_a_job_of_forebays_own_has_its_place() {
    for (from, to, said) in [
        ("topic = \"t\"", "topic = \"t/\"", "j.toml:5:9: source.topic"),
        ("topic = \"t\"", "", "source.topic: is missing"),
        ("start = \"earliest\"", "start = \"begin\"", "j.toml:7:9: source.start: \"begin\" is not one of group"),
        ("start = \"earliest\"", "start = { time = \"today\" }", "source.start.time: is not a time"),
        ("block_size = \"16MiB\"", "block_size = \"16MB\"", "j.toml:14:14: target.block_size: is not a size"),
        ("[target]", "[tragte]", "target: is missing"),
        ("to = \"k\"", "", "columns[0].to: is missing"),
        ("mode = \"batch\"", "mode = \"bulk\"", "j.toml:2:8: mode: \"bulk\" is not one of batch, stream"),
        (
            "memory_max = \"32MiB\"",
            "memory_max = \"1MiB\"",
            "limits.memory_max: is 1048576 bytes, and a job needs 16777216",
        ),
        ("table = \"t\"", "table = \"t\"\ntruncate = true", ""),
    ] {
        let text = OWN.replacen(from, to, 1);
        match load("j.toml", &text, &options()) {
            Ok(job) => assert!(said.is_empty() && job.writer.truncate, "{to}"),
            Err(errors) => assert!(!said.is_empty() && errors.to_string().contains(said), "{to}: {errors}"),
        }
    }
    let stream = OWN.replacen("batch", "stream", 1).replacen("stop = \"latest\"\n", "", 1);
    let job = load("j.toml", &stream, &options()).unwrap();
    assert_eq!((job.unbounded, job.writer.mode), (true, Mode::Stream));
    let both = stream.replacen("table = \"t\"", "table = \"t\"\ntruncate = true", 1);
    assert!(load("j.toml", &both, &options()).unwrap_err().to_string().contains("mode stream only adds rows"));
    let dirty = format!("{OWN}[dirty]\npolicy = \"skip\"\ntopic = \"dead\"\n");
    let job = load("j.toml", &dirty, &options()).unwrap();
    assert_eq!(job.dead_letters, Some(DeadLetters::Topic("dead".into())));
}
