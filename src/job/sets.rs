//! Overrides of the command line: `--set STEP.KEY=VALUE`, applied to the parsed file before anything is read from it.
//!
//! STEP is a step's name (DataWorks), a plugin's name (DataX), `reader`, `writer`, `setting`, or another top-level key. KEY is
//! a parameter, with dots between levels; below `kafkaConfig` the rest is one property name, dots and all. VALUE is a text
//! (numbers and booleans may be texts everywhere), or a JSON list or object. A key that differs from one of the file only in
//! case replaces it.

use super::json::{self, Member, Node, Value};
use super::report::{JobError, Place, Report};
use super::spec::Shape;

/// Applies the overrides in order; what cannot be applied is reported.
pub(super) fn apply(document: &mut Node, shape: Shape, sets: &[(String, String)], report: &Report) {
    for (name, value) in sets {
        let place = Place::Set(name.clone());
        if let Err(message) = apply_one(document, shape, name, node_of(&place, value)) {
            let advice = "write --set STEP.KEY=VALUE, such as --set reader.server=127.0.0.1:9092";
            report.error(JobError::new(place, "", message).advise(advice));
        }
    }
}

fn apply_one(document: &mut Node, shape: Shape, name: &str, value: Node) -> Result<(), String> {
    let target = match shape {
        Shape::DataWorks | Shape::Forebay => dataworks_target(document, name)?,
        Shape::DataX => datax_target(document, name)?,
    };
    match target {
        Some((node, key)) => assign(node, key, value),
        None => {
            let (top, key) = split(name)?;
            if !TOP_LEVEL.contains(&top) {
                return Err(format!("the job has no step {top:?}"));
            }
            let root = match shape {
                Shape::DataX if top == "setting" => job_of(document)?,
                _ => document,
            };
            assign(child(root, top, &value.place)?, key, value)
        }
    }
}

/// Sections beside the steps that may be written to.
const TOP_LEVEL: [&str; 4] = ["setting", "common", "core", "extend"];

/// The parameters of the step that a name begins with, and the key behind it.
fn dataworks_target<'a, 'n>(document: &'a mut Node, name: &'n str) -> Result<Option<(&'a mut Node, &'n str)>, String> {
    let Some(Node { value: Value::Array(steps), .. }) = document.member_mut("steps") else { return Ok(None) };
    let text = |step: &Node, key: &str| match step.member(key).map(|node| &node.value) {
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    };
    let key_after = |prefix: &str, exact: bool| {
        let (head, tail) = (name.get(..prefix.len())?, name.get(prefix.len()..)?);
        let fits = if exact { head == prefix } else { head.eq_ignore_ascii_case(prefix) };
        tail.strip_prefix('.').filter(|key| fits && !key.is_empty() && !prefix.is_empty())
    };
    // A step's own name comes before the words reader and writer.
    let found = [("name", true), ("name", false), ("category", false)].iter().find_map(|(label, exact)| {
        let mut hits = steps.iter().enumerate().map(|(index, step)| (index, key_after(&text(step, label), *exact)));
        hits.find_map(|(index, key)| key.map(|key| (index, key)))
    });
    let Some((index, key)) = found else { return Ok(None) };
    let Some(step) = steps.get_mut(index) else { return Ok(None) };
    let place = step.place.clone();
    Ok(Some((child(step, "parameter", &place)?, key)))
}

fn datax_target<'a, 'n>(document: &'a mut Node, name: &'n str) -> Result<Option<(&'a mut Node, &'n str)>, String> {
    let (step, key) = split(name)?;
    let Some(Node { value: Value::Array(content), .. }) = job_of(document)?.member_mut("content") else {
        return Ok(None);
    };
    let Some(first) = content.first_mut() else { return Ok(None) };
    let called = |side: &&str| {
        let name = first.member(side).and_then(|plugin| plugin.member("name")).map(|node| &node.value);
        side.eq_ignore_ascii_case(step) || matches!(name, Some(Value::Text(name)) if name.eq_ignore_ascii_case(step))
    };
    let Some(side) = ["reader", "writer"].into_iter().find(called) else { return Ok(None) };
    let Some(plugin) = first.member_mut(side) else { return Ok(None) };
    let place = plugin.place.clone();
    Ok(Some((child(plugin, "parameter", &place)?, key)))
}

fn job_of(document: &mut Node) -> Result<&mut Node, String> {
    document.member_mut("job").ok_or_else(|| "the file has no job".to_owned())
}

fn split(name: &str) -> Result<(&str, &str), String> {
    let parts = name.split_once('.').filter(|(step, key)| !step.is_empty() && !key.is_empty());
    parts.ok_or_else(|| format!("{name:?} names no step and key"))
}

/// Writes `value` under a key with dots.
fn assign(node: &mut Node, key: &str, value: Node) -> Result<(), String> {
    let kind = node.kind();
    let Value::Object(members) = &mut node.value else {
        return Err(format!("the key {key:?} would stand in {kind}"));
    };
    if let Some(index) = position(members, key) {
        if let Some(member) = members.get_mut(index) {
            member.node = value;
        }
        return Ok(());
    }
    let Some((head, tail)) = key.split_once('.').filter(|(head, tail)| !head.is_empty() && !tail.is_empty()) else {
        members.push(Member { key: key.to_owned(), place: value.place.clone(), node: value });
        return Ok(());
    };
    let head =
        position(members, head).and_then(|index| members.get(index)).map_or(head, |member| &member.key).to_owned();
    let below = child(node, &head, &value.place)?;
    if !RAW.contains(&head.as_str()) {
        return assign(below, tail, value);
    }
    // Consumer properties have dots in their names.
    if let Value::Object(properties) = &mut below.value {
        properties.retain(|property| property.key != tail);
        properties.push(Member { key: tail.to_owned(), place: value.place.clone(), node: value });
    }
    Ok(())
}

/// Objects whose keys are property names with dots.
const RAW: [&str; 2] = ["kafkaConfig", "properties"];

/// The member of that name, or the only one that differs from it in case.
fn position(members: &[Member], key: &str) -> Option<usize> {
    members.iter().position(|member| member.key == key).or_else(|| {
        let mut alike = members.iter().enumerate().filter(|(_, member)| member.key.eq_ignore_ascii_case(key));
        let first = alike.next();
        first.filter(|_| alike.next().is_none()).map(|(index, _)| index)
    })
}

/// The object under `key`, made when there is none, or only a blank.
fn child<'a>(node: &'a mut Node, key: &str, place: &Place) -> Result<&'a mut Node, String> {
    let kind = node.kind();
    let Value::Object(members) = &mut node.value else {
        return Err(format!("the key {key:?} would stand in {kind}"));
    };
    if !members.iter().any(|member| member.key == key) {
        let node = Node { place: place.clone(), value: Value::Null };
        members.push(Member { key: key.to_owned(), place: place.clone(), node });
    }
    let Some(member) = members.iter_mut().find(|member| member.key == key) else {
        return Err(format!("the key {key:?} cannot be added"));
    };
    match &member.node.value {
        Value::Object(_) => {}
        Value::Null => member.node.value = Value::Object(Vec::new()),
        Value::Text(text) if text.trim().is_empty() => member.node.value = Value::Object(Vec::new()),
        _ => return Err(format!("{key} is {}, so nothing can be set below it", member.node.kind())),
    }
    Ok(&mut member.node)
}

/// A value as typed: JSON when it is a list or an object, else a text.
fn node_of(place: &Place, value: &str) -> Node {
    if value.starts_with(['[', '{'])
        && let Ok(mut node) = json::parse(value, &Report::default())
    {
        settle(&mut node, place);
        return node;
    }
    Node::text(place.clone(), value)
}

/// Gives a tree the place of the override it came from.
fn settle(node: &mut Node, place: &Place) {
    node.place = place.clone();
    match &mut node.value {
        Value::Array(items) => items.iter_mut().for_each(|item| settle(item, place)),
        Value::Object(members) => {
            for member in members {
                member.place = place.clone();
                settle(&mut member.node, place);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DATAWORKS: &str = r#"{"steps":[
        {"name":"Reader","category":"reader","parameter":{"server":"a","waitTIme":"1","kafkaConfig":{"group.id":"g"}}},
        {"name":"My.Writer","category":"writer","parameter":{"kafkaConfig":""}}],
        "setting":{"errorLimit":{"record":""}}}"#;
    const DATAX: &str = r#"{"job":{"content":[{"reader":{"name":"kafkareader","parameter":{"topic":"t"}},
        "writer":{"name":"odpswriter"}}]}}"#;

    fn set(text: &str, shape: Shape, sets: &[(&str, &str)]) -> Result<String, String> {
        let report = Report::default();
        let mut document = json::parse(text, &report).unwrap();
        let sets: Vec<_> = sets.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        apply(&mut document, shape, &sets, &report);
        report.finish("j").map_err(|errors| errors.to_string())?;
        Ok(document.redacted().split_whitespace().collect())
    }

    #[test]
    fn steps_are_found_by_name_then_by_side() {
        let done = set(
            DATAWORKS,
            Shape::DataWorks,
            &[
                ("Reader.server", "b:1"),
                ("reader.waitTime", "2"),
                ("READER.kafkaConfig.group.id", "h"),
                ("reader.kafkaConfig.client.id", "c"),
                ("reader.partition", "[0, 1]"),
                ("My.Writer.table", "t"),
                ("writer.truncate", "false"),
                ("setting.errorLimit.record", "0"),
                ("setting.speed.concurrent", "2"),
            ],
        );
        assert_eq!(
            done.unwrap(),
            r#"{"steps":[{"name":"Reader","category":"reader","parameter":{"server":"b:1","waitTIme":"2","kafkaConfig":{"group.id":"h","client.id":"c"},"partition":[0,1]}},{"name":"My.Writer","category":"writer","parameter":{"kafkaConfig":"","table":"t","truncate":"false"}}],"setting":{"errorLimit":{"record":"0"},"speed":{"concurrent":"2"}}}"#
        );
    }

    #[test]
    fn datax_plugins_are_found_by_name_and_side() {
        let done = set(
            DATAX,
            Shape::DataX,
            &[
                ("kafkareader.topic", "u"),
                ("reader.properties.group.id", "g"),
                ("writer.accessKey", "canary"),
                ("setting.speed.channel", "3"),
                ("common.column.timeZone", "UTC"),
            ],
        );
        assert_eq!(
            done.unwrap(),
            r#"{"job":{"content":[{"reader":{"name":"kafkareader","parameter":{"topic":"u","properties":{"group.id":"g"}}},"writer":{"name":"odpswriter","parameter":{"accessKey":"***"}}}],"setting":{"speed":{"channel":"3"}}},"common":{"column":{"timeZone":"UTC"}}}"#
        );
    }

    #[test]
    fn a_step_that_is_really_called_so_wins() {
        let text =
            r#"{"steps":[{"name":"writer","category":"reader","parameter":{}},{"name":"x","category":"writer"}]}"#;
        let done = set(text, Shape::DataWorks, &[("writer.a", "1"), ("x.b", "2")]).unwrap();
        assert!(done.contains(r#""reader","parameter":{"a":"1"}"#), "{done}");
        assert!(done.contains(r#""writer","parameter":{"b":"2"}"#), "{done}");
    }

    #[test]
    fn what_cannot_be_set_is_refused() {
        for (name, wanted) in [
            ("server", "names no step and key"),
            ("nobody.server", "the job has no step \"nobody\""),
            ("Reader.server.x", "server is a text, so nothing can be set below it"),
            ("Reader.", "names no step and key"),
        ] {
            let said = set(DATAWORKS, Shape::DataWorks, &[(name, "1")]).unwrap_err();
            assert!(said.starts_with(&format!("--set {name}: ")) && said.contains(wanted), "{said}");
        }
        assert!(set("{\"steps\":[]}", Shape::DataX, &[("reader.a", "1")]).is_err());
    }
}
