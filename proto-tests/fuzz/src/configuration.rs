//! Files and texts of users, and the JSON inside records.

use forebay::job::{Datasources, LoadOptions, OdpsConfig, Sources, load, resolve_odps, vars};
use forebay::kafka::{ClientConfig, ConsumerConfig};
use forebay::sync::json::{Members, leaf};
use forebay::tunnel::{ColumnType, PartitionSpec, TableSchema};

use super::choose;

#[derive(Clone, Copy)]
enum File {
    Job,
    Datasources,
    Configuration,
    OdpsConfig,
    Params,
}

/// Which file, then its text.
pub fn job_files(data: &[u8]) {
    const FILES: &[File] = &[File::Job, File::Datasources, File::Configuration, File::OdpsConfig, File::Params];
    let Some((file, text)) = choose(data, FILES) else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let resolve = |datasources: Datasources| {
        let sources = Sources { datasources, ..Sources::default() };
        let names: Vec<&str> = sources.datasources.names().collect();
        for name in names.into_iter().take(3) {
            let _found = resolve_odps(name, &sources).is_ok();
        }
    };
    match file {
        File::Job => {
            let options = LoadOptions::new(jiff::Timestamp::UNIX_EPOCH);
            match load("job.json", text, &options) {
                Ok(spec) => drop(format!("{spec:?}")),
                Err(errors) => assert!(!errors.errors.is_empty(), "refused without a reason"),
            }
        }
        File::Datasources => {
            if let Ok(tables) = Datasources::parse("sources.toml", text) {
                resolve(tables);
            }
        }
        File::Configuration => {
            if let Ok(tables) = Datasources::parse_config("forebay.toml", text) {
                resolve(tables);
            }
        }
        File::OdpsConfig => {
            let odps_config = Some(OdpsConfig::parse("odps_config.ini", text));
            let _found = resolve_odps("", &Sources { odps_config, ..Sources::default() }).is_ok();
        }
        File::Params => drop(vars::parse_params(text)),
    }
}

/// Types, partition specs and schemas.
pub fn types(data: &[u8]) {
    let Some((_, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    if let Ok(type_) = ColumnType::parse(text) {
        assert_eq!(ColumnType::parse(&type_.to_string()).as_ref(), Ok(&type_), "{type_} does not come back");
    }
    if let Ok(spec) = PartitionSpec::parse(text) {
        assert_eq!(PartitionSpec::parse(&spec.to_string()).as_ref(), Ok(&spec), "{spec} does not come back");
    }
    let _schema = TableSchema::from_json(text).is_ok();
}

/// Lines of `name=value`.
pub fn properties(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (mut client, mut consumer) = (ClientConfig::new(["a:1"]), ConsumerConfig::default());
    for line in text.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        let ours = client.set_property(name, value);
        if let Err(error) = &ours {
            assert!(error.to_string().contains("property"), "{error}");
        }
        let _ours = consumer.set_property(name, value).is_ok();
    }
    drop(format!("{client:?}"));
}

/// A document in which members are looked for.
pub fn json_members(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let members = Members::new([("a", &[][..]), ("a.b", &[][..]), ("long name", &[][..])]);
    if let Ok(found) = members.find(text) {
        for raw in (0..3).filter_map(|column| found.raw(column)) {
            assert!(text.contains(raw), "a member that is not in the document");
            let _leaf = leaf(raw);
        }
    }
}
