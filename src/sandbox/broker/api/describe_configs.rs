//! DescribeConfigs of topics and brokers.

use crate::sandbox::broker::cluster::Cluster;
use crate::sandbox::broker::codes;
use crate::sandbox::broker::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use crate::sandbox::broker::messages::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse, text,
};
use crate::sandbox::broker::topic::{CONFIGS, KnownConfig};

/// Kinds of resources ("DescribeConfigs" of the protocol guide).
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Where a value comes from.
const FROM_TOPIC: i8 = 1;
const FROM_STATIC_BROKER: i8 = 4;
const FROM_DEFAULT: i8 = 5;

pub(super) fn answer(cluster: &Cluster, request: &DescribeConfigsRequest, version: i16) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|asked| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(asked.resource_type)
            .with_resource_name(asked.resource_name.clone());
        match values(cluster, asked) {
            Ok(values) => result.with_configs(values.into_iter().map(|value| value.shown(version)).collect()),
            Err((code, why)) => result.with_error_code(code).with_error_message(Some(text(why))),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

struct Value {
    name: &'static str,
    value: String,
    source: i8,
    kind: i8,
}

impl Value {
    fn shown(self, version: i16) -> DescribeConfigsResourceResult {
        let shown = DescribeConfigsResourceResult::default()
            .with_name(text(self.name))
            .with_value(Some(text(self.value)))
            .with_config_source(self.source)
            .with_read_only(self.source == FROM_STATIC_BROKER);
        if version >= 3 { shown.with_config_type(self.kind) } else { shown }
    }
}

fn values(cluster: &Cluster, asked: &DescribeConfigsResource) -> Result<Vec<Value>, (i16, String)> {
    let name = asked.resource_name.as_str();
    let all = match asked.resource_type {
        TOPIC => topic_values(cluster, name)?,
        BROKER => broker_values(cluster, name)?,
        other => return Err((codes::INVALID_REQUEST, format!("no configuration of resource type {other}"))),
    };
    // A null list of keys asks for all.
    let wanted = |value: &Value| {
        asked.configuration_keys.as_ref().is_none_or(|keys| keys.iter().any(|key| key.as_str() == value.name))
    };
    Ok(all.into_iter().filter(wanted).collect())
}

fn topic_values(cluster: &Cluster, name: &str) -> Result<Vec<Value>, (i16, String)> {
    let Some(topic) = cluster.topics.get(name) else {
        return Err((codes::UNKNOWN_TOPIC_OR_PARTITION, format!("topic {name:?} does not exist")));
    };
    let value = |known: &KnownConfig| {
        let own = topic.configs.get(known.name).cloned();
        let source = if own.is_some() { FROM_TOPIC } else { FROM_DEFAULT };
        Value { name: known.name, value: own.unwrap_or_else(|| known.default.to_owned()), source, kind: known.kind }
    };
    Ok(CONFIGS.iter().map(value).collect())
}

fn broker_values(cluster: &Cluster, name: &str) -> Result<Vec<Value>, (i16, String)> {
    let known = cluster.nodes.iter().any(|node| node.id.to_string() == name);
    if !known {
        return Err((codes::INVALID_REQUEST, format!("broker {name:?} does not exist")));
    }
    let settings = &cluster.settings;
    let value = |name, value: String, kind| Value { name, value, source: FROM_STATIC_BROKER, kind };
    Ok(vec![
        value("auto.create.topics.enable", settings.auto_create.to_string(), 1),
        value("broker.id", name.to_owned(), 3),
        value("num.partitions", settings.default_partitions.to_string(), 3),
    ])
}
