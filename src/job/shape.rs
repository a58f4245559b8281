//! The two file shapes: where reader, writer and settings stand in each.

use super::json::{Node, Value};
use super::report::{JobError, Report};
use super::section::Section;
use super::settings::SettingNodes;
use super::spec::Shape;

/// A step: its parameters, under the name that messages use.
#[derive(Debug)]
pub(super) struct Step<'a> {
    /// The step's name in the file.
    pub(super) name: String,
    /// Its `parameter`.
    pub(super) parameter: &'a Node,
}

/// The parts of a job file.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    /// The Kafka side; `None` when it cannot be used, which was reported.
    pub(super) reader: Option<Step<'a>>,
    /// The MaxCompute side, likewise.
    pub(super) writer: Option<Step<'a>>,
    /// Settings.
    pub(super) settings: SettingNodes<'a>,
}

/// Tells the shape by the top level.
///
/// # Errors
/// It is neither, or not an object.
pub(super) fn shape_of(document: &Node) -> Result<Shape, JobError> {
    let has = |key: &str| document.member(key).is_some();
    let advice = "a DataWorks job has \"type\": \"job\" and \"steps\", a DataX job has \"job\": {\"content\": […]}";
    let error = |message: String| JobError::new(document.place.clone(), "", message).advise(advice);
    if document.members().is_none() {
        return Err(error(format!("the file must hold an object, but holds {}", document.kind())));
    }
    match (has("steps") || has("type"), has("job")) {
        (true, false) => Ok(Shape::DataWorks),
        (false, true) => Ok(Shape::DataX),
        (true, true) => Err(error("the file has both steps and job, so it is two jobs".to_owned())),
        (false, false) if has("configuration") => {
            Err(error("the file is a DataWorks job of version 1.0, which is not supported".to_owned()))
        }
        (false, false) => Err(error("the file has neither steps nor job, so it is no job".to_owned())),
    }
}

/// Where settings stand; usable before variables are filled in.
pub(super) fn setting_nodes(document: &Node, shape: Shape) -> SettingNodes<'_> {
    let setting = match shape {
        Shape::DataWorks | Shape::Forebay => document.member("setting"),
        Shape::DataX => document.member("job").and_then(|job| job.member("setting")),
    };
    let setting = setting.filter(|node| node.value != Value::Null);
    let common = [document.member("common"), setting.and_then(|setting| setting.member("common"))];
    SettingNodes { setting, common, core: document.member("core") }
}

/// Takes the file apart; what is wrong with its frame is reported.
pub(super) fn parts<'a>(document: &'a Node, shape: Shape, report: &'a Report) -> Parts<'a> {
    let (reader, writer) = match shape {
        Shape::DataWorks | Shape::Forebay => dataworks(document, report),
        Shape::DataX => datax(document, report),
    };
    Parts { reader, writer, settings: setting_nodes(document, shape) }
}

type Sides<'a> = (Option<Step<'a>>, Option<Step<'a>>);

fn dataworks<'a>(document: &'a Node, report: &'a Report) -> Sides<'a> {
    let top = Section::new("", document, report);
    match top.text("type") {
        Some(found) if !found.value.eq_ignore_ascii_case("job") => {
            top.error_with(
                "type",
                &found.place,
                format!("{:?} is not supported", found.value),
                "write \"type\": \"job\"",
            );
        }
        Some(_) => {}
        None if top.has("type") => {}
        None => top.error_with("type", top.place(), "is missing", "write \"type\": \"job\""),
    }
    if let Some(found) = top.text("version").filter(|found| found.value.trim() != "2.0") {
        report.warn(&found.place, format!("version {:?} is read as \"2.0\"", found.value));
    }
    for key in ["order", "setting", "extend", "core", "common"] {
        top.raw(key);
    }
    let steps = match top.node("steps") {
        Some(Node { value: Value::Array(steps), .. }) => steps.as_slice(),
        Some(node) => {
            top.error("steps", &node.place, format!("must be a list of steps, but is {}", node.kind()));
            return (None, None);
        }
        None => {
            top.error_with("steps", top.place(), "is missing", "add a step that reads kafka and one that writes odps");
            return (None, None);
        }
    };
    top.warn_unknown();
    let named: Vec<NamedStep<'_>> =
        steps.iter().enumerate().map(|(index, node)| named_step(&top, index, node)).collect();
    let reader = only(&named, Side::Reader, &top, report);
    let writer = only(&named, Side::Writer, &top, report);
    check_order(document, &named, report);
    (reader, writer)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Reader,
    Writer,
}

impl Side {
    const fn word(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
        }
    }

    /// The step type of DataWorks, and plugin names of DataX beside it.
    const fn types(self) -> [&'static str; 2] {
        match self {
            Self::Reader => ["kafka", "kafkareader"],
            Self::Writer => ["odps", "odpswriter"],
        }
    }
}

struct NamedStep<'a> {
    name: String,
    node: &'a Node,
    /// `None` when the category is not one of the two, which was reported.
    side: Option<Side>,
    type_fits: bool,
}

/// Reads the frame of a step.
fn named_step<'a>(top: &Section<'a>, index: usize, node: &'a Node) -> NamedStep<'a> {
    let section = top.entry(&format!("steps[{index}]"), node);
    let name = section.text("name").map_or_else(|| format!("steps[{index}]"), |found| found.value);
    let advice = "write \"category\": \"reader\" or \"writer\"";
    let category = section.required_text("category", advice);
    let side = category.and_then(|category| {
        let word = category.value.trim();
        let side = [Side::Reader, Side::Writer].into_iter().find(|side| side.word().eq_ignore_ascii_case(word));
        if side.is_none() {
            let message = format!("step {name:?} is of category {word:?}, which is not supported");
            let advice = "a job is one reader and one writer; take the step out";
            section.error_with("category", &category.place, message, advice);
        }
        side
    });
    let type_fits = side.is_none_or(|side| check_type(&section, "stepType", side));
    for key in ["parameter", "copies", "displayName", "description", "gui"] {
        section.raw(key);
    }
    if side.is_some() {
        section.warn_unknown();
    }
    NamedStep { name, node, side, type_fits }
}

/// Whether the type of a step is the one its side supports; if not, that is reported.
fn check_type(section: &Section<'_>, key: &str, side: Side) -> bool {
    let [step_type, plugin] = side.types();
    let wanted = if key == "name" { plugin } else { step_type };
    let Some(found) = section.required_text(key, &format!("write {wanted:?}")) else { return false };
    if side.types().iter().any(|name| name.eq_ignore_ascii_case(found.value.trim())) {
        return true;
    }
    let verb = if side == Side::Reader { "reads" } else { "writes to" };
    let message = format!("{:?} is not supported: forebay {verb} {wanted} only", found.value);
    section.error_with(key, &found.place, message, &format!("the {} must be of type {wanted:?}", side.word()));
    false
}

/// The one step of a side.
fn only<'a>(steps: &[NamedStep<'a>], side: Side, top: &Section<'a>, report: &Report) -> Option<Step<'a>> {
    let mut of_side = steps.iter().filter(|step| step.side == Some(side));
    let Some(step) = of_side.next() else {
        // A step of unknown category was reported; it may be the one that is missed here.
        if steps.iter().all(|step| step.side.is_some()) {
            let [wanted, _] = side.types();
            let message = format!("the job has no {}", side.word());
            top.error_with("steps", top.place(), message, &format!("add a step of stepType {wanted:?}"));
        }
        return None;
    };
    if let Some(second) = of_side.next() {
        let message = format!("step {:?} is a second {}", second.name, side.word());
        report.error(
            JobError::new(second.node.place.clone(), "steps", message).advise("a job is one reader and one writer"),
        );
        return None;
    }
    if !step.type_fits {
        return None;
    }
    let step = Step { name: step.name.clone(), parameter: parameter(step.node, &step.name, report)? };
    Some(step)
}

fn parameter<'a>(node: &'a Node, name: &str, report: &Report) -> Option<&'a Node> {
    match node.member("parameter") {
        Some(parameter) if parameter.members().is_some() => Some(parameter),
        Some(other) => {
            let message = format!("must be an object, but is {}", other.kind());
            report.error(JobError::new(other.place.clone(), format!("{name}.parameter"), message));
            None
        }
        None => {
            report.error(JobError::new(node.place.clone(), format!("{name}.parameter"), "is missing"));
            None
        }
    }
}

/// `order.hops` must lead from the reader to the writer, when they are there.
fn check_order(document: &Node, steps: &[NamedStep<'_>], report: &Report) {
    let Some(order) = document.member("order").filter(|node| node.members().is_some()) else { return };
    let Some(Node { value: Value::Array(hops), .. }) = order.member("hops") else { return };
    for (index, hop) in hops.iter().enumerate() {
        let section = Section::new(format!("order.hops[{index}]"), hop, report);
        for (key, side) in [("from", Side::Reader), ("to", Side::Writer)] {
            let Some(found) = section.required_text(key, "name a step") else { continue };
            match steps.iter().find(|step| step.name == found.value) {
                Some(step) if step.side.is_none_or(|of| of == side) => {}
                Some(_) => {
                    let message = format!("{:?} is not the job's {}", found.value, side.word());
                    section.error_with(key, &found.place, message, "the order leads from the reader to the writer");
                }
                None => {
                    let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
                    let advice = format!("the steps are {}", names.join(", "));
                    section.error_with(key, &found.place, format!("there is no step {:?}", found.value), &advice);
                }
            }
        }
    }
}

fn datax<'a>(document: &'a Node, report: &'a Report) -> Sides<'a> {
    let top = Section::new("", document, report);
    for key in ["job", "core", "common"] {
        top.raw(key);
    }
    top.ignore(&["entry"]);
    if document.member("core").is_some() {
        report.ignored("core (beside transport.channel.speed)");
    }
    top.warn_unknown();
    let Some(job) = top.section("job") else { return (None, None) };
    job.raw("setting");
    job.ignore(&["preHandler", "postHandler"]);
    let content = match job.node("content") {
        Some(Node { value: Value::Array(content), .. }) => content.as_slice(),
        Some(node) => {
            job.error("content", &node.place, format!("must be a list of one entry, but is {}", node.kind()));
            return (None, None);
        }
        None => &[],
    };
    job.warn_unknown();
    let Some((first, rest)) = content.split_first() else {
        job.error_with("content", job.place(), "is missing", "add one entry with a reader and a writer");
        return (None, None);
    };
    if let Some(second) = rest.first() {
        let message = "holds a second entry, which would never run";
        job.error_with("content", &second.place, message, "write one job file for each entry");
    }
    let entry = job.entry("content[0]", first);
    transformers(&entry);
    let sides = (plugin(&entry, Side::Reader, report), plugin(&entry, Side::Writer, report));
    entry.warn_unknown();
    sides
}

fn transformers(entry: &Section<'_>) {
    let Some(node) = entry.node("transformer") else { return };
    if !matches!(&node.value, Value::Array(items) if items.is_empty()) {
        let advice = "take it out, and transform with SQL after the load";
        entry.error_with("transformer", &node.place, "is not supported", advice);
    }
}

fn plugin<'a>(entry: &Section<'a>, side: Side, report: &Report) -> Option<Step<'a>> {
    let word = side.word();
    let Some(node) = entry.node(word) else {
        let [_, wanted] = side.types();
        let advice = format!("add {{\"name\": {wanted:?}, \"parameter\": {{…}}}}");
        entry.error_with(word, entry.place(), "is missing", &advice);
        return None;
    };
    let section = entry.entry(word, node);
    let type_fits = check_type(&section, "name", side);
    section.raw("parameter");
    section.warn_unknown();
    if !type_fits || node.members().is_none() {
        return None;
    }
    Some(Step { name: word.to_owned(), parameter: parameter(node, word, report)? })
}
