//! Scheduling variables in job files: `${name}`, and the date forms `${yyyymmdd}` and `$[yyyymmddhh24miss-1/24]`.
//!
//! They are replaced inside texts after parsing, so that a value cannot inject structure. `$${` and `$$[` are literal.
//! `$name` without braces is left alone, so that passwords with a dollar survive. A value comes from the command line, else
//! from `bizdate` (the day before the start), `cyctime` (the start), else from a date form: `${…}` counts from bizdate and
//! `$[…]` from cyctime, as in DataWorks. All of it is fixed once, by the `now` that is passed in.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

use super::env;
use super::json::{Node, Value};
use super::report::{JobError, Place, Report};
use super::suggest::nearest;
use super::zone::{parse_compact, parse_compact_date};

/// Reads one `-p` argument: `name=value`, or DataX's `-Dname=value`, several of them if need be.
///
/// # Errors
/// What is wrong with the argument; the value is not repeated.
pub fn parse_params(argument: &str) -> Result<Vec<(String, String)>, String> {
    let argument = argument.trim();
    if !argument.starts_with("-D") {
        return parse_param(argument).map(|param| vec![param]);
    }
    // A value may hold blanks: only " -D" begins the next one.
    let pieces = format!(" {argument}");
    pieces.split(" -D").map(str::trim).filter(|piece| !piece.is_empty()).map(parse_param).collect()
}

fn parse_param(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| "write -p name=value or -p \"-Dname=value\"".to_owned())?;
    if !is_name(name) {
        return Err(format!("{name:?} is not a variable's name: letters, digits, '_', '.' and '-'"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// The variables of one run.
#[derive(Debug)]
pub(super) struct Vars {
    params: BTreeMap<String, String>,
    /// Where `${…}` also means `${NAME:-default}` and `${file:/path}`: the environment.
    env: Option<BTreeMap<String, String>>,
    /// The start, or what `cyctime` was set to; an unreadable setting is an error only when a date form needs it.
    cyctime: Result<DateTime, &'static str>,
    /// The day before it, or what `bizdate` was set to.
    bizdate: Result<Date, &'static str>,
    used: RefCell<Used>,
}

#[derive(Debug, Default)]
struct Used {
    params: BTreeSet<String>,
    resolved: BTreeMap<String, String>,
}

impl Vars {
    /// Fixes the variables: the command line's (a later one of the same name wins), and the dates of `now` in `zone`.
    pub(super) fn new(params: &[(String, String)], now: Timestamp, zone: &TimeZone) -> Self {
        let params: BTreeMap<String, String> = params.iter().cloned().collect();
        let cyctime = match params.get("cyctime") {
            Some(text) => parse_compact(text).ok_or("the given cyctime is not yyyymmddhh24miss"),
            None => Ok(zone.to_datetime(now)),
        };
        let bizdate = match params.get("bizdate") {
            Some(text) => parse_compact_date(text).ok_or("the given bizdate is not yyyymmdd"),
            None => {
                cyctime.and_then(|start| start.date().yesterday().map_err(|_| "the given cyctime has no day before it"))
            }
        };
        Self { params, env: None, cyctime, bizdate, used: RefCell::default() }
    }

    /// The same for a job of forebay's own shape: `${NAME}`, `${NAME:-default}`, `${NAME:?message}` and `${file:/path}` take the
    /// environment too, after the command line and before the dates.
    pub(super) fn with_env(mut self, env: &BTreeMap<String, String>) -> Self {
        self.env = Some(env.clone());
        self
    }

    /// Fills in every text below `node`; `name` is how messages call it.
    pub(super) fn fill(&self, node: &mut Node, name: &str, report: &Report) {
        match &mut node.value {
            Value::Text(text) => match self.replace(text) {
                Ok(filled) => *text = filled,
                Err((message, advice)) => {
                    report.error(JobError::new(node.place.clone(), name, message).advise(advice));
                    // Reads as absent from here on: the text with its hole would only bring a second complaint.
                    node.value = Value::Null;
                }
            },
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.fill(item, &format!("{name}[{index}]"), report);
                }
            }
            Value::Object(members) => {
                for member in members {
                    let name = if name.is_empty() { member.key.clone() } else { format!("{name}.{}", member.key) };
                    self.fill(&mut member.node, &name, report);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Fills in one text.
    pub(super) fn replace(&self, text: &str) -> Result<String, (String, String)> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            if let Some(after) = ["$${", "$$["].iter().find_map(|literal| from.strip_prefix(literal)) {
                out.push('$');
                out.push_str(from.get(2..3).unwrap_or_default());
                rest = after;
            } else if let Some((name, after)) = from.strip_prefix("${").and_then(|inside| inside.split_once('}')) {
                out.push_str(&self.braced(name)?);
                rest = after;
            } else if from.starts_with("${") {
                return Err(("a ${ has no closing }".into(), "close it, or write $${ for a literal ${".into()));
            } else if let Some((form, after)) = from.strip_prefix("$[").and_then(|inside| inside.split_once(']')) {
                out.push_str(&self.bracketed(form)?);
                rest = after;
            } else {
                out.push('$');
                rest = from.get(1..).unwrap_or_default();
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    /// Tells which dates were filled in, and which variables of the command line were not needed.
    pub(super) fn tell(&self, report: &Report) {
        let used = self.used.borrow();
        if !used.resolved.is_empty() {
            let list: Vec<String> = used.resolved.iter().map(|(form, value)| format!("{form} = {value}")).collect();
            report.info(&Place::Job, format!("variables fixed at the start: {}", list.join(", ")));
        }
        let unused: Vec<&str> =
            self.params.keys().map(String::as_str).filter(|name| !used.params.contains(*name)).collect();
        if !unused.is_empty() {
            report.info(&Place::Job, format!("variables given but not used by the job: {}", unused.join(", ")));
        }
    }

    fn braced(&self, name: &str) -> Result<String, (String, String)> {
        if let Some(value) = self.params.get(name) {
            self.used.borrow_mut().params.insert(name.to_owned());
            return Ok(value.clone());
        }
        if let Some(value) = self.environment(name) {
            return value;
        }
        let unresolved = |why: &str| (format!("variable ${{{name}}} {why}"), self.advice(name));
        let value = match name {
            "bizdate" => format_date(&self.bizdate.map_err(unresolved)?),
            "cyctime" => Form::parse("yyyymmddhh24miss").format(self.cyctime.map_err(unresolved)?),
            _ => match Form::parse(name) {
                Form::Dates { day_only: true, .. } => {
                    let start = self.bizdate.map_err(unresolved)?.to_datetime(jiff::civil::Time::midnight());
                    self.used.borrow_mut().params.insert("bizdate".to_owned());
                    self.shifted(&Form::parse(name), start, true).ok_or_else(|| unresolved("is out of the calendar"))?
                }
                Form::Dates { .. } => {
                    return Err(unresolved("has a time of day; ${…} counts from a day, $[…] from a time"));
                }
                Form::Other => return Err(unresolved("has no value")),
            },
        };
        self.used.borrow_mut().resolved.insert(format!("${{{name}}}"), value.clone());
        Ok(value)
    }

    /// What the environment or a file says, where they are asked at all and it is theirs to say.
    fn environment(&self, reference: &str) -> Option<Result<String, (String, String)>> {
        let env = self.env.as_ref()?;
        let name = reference.split(":-").next().and_then(|head| head.split(":?").next()).unwrap_or(reference);
        if let Some(value) = self.params.get(name) {
            self.used.borrow_mut().params.insert(name.to_owned());
            return Some(Ok(value.clone()));
        }
        let is_date = matches!(reference, "bizdate" | "cyctime") || Form::parse(reference) != Form::Other;
        if is_date && !env.contains_key(reference) {
            return None;
        }
        let advice = || {
            format!("set it in the environment, give it with -p {name}=…, or write $${{{name}}} for the text itself")
        };
        Some(env::value_of(reference, env).map_err(|message| (message, advice())))
    }

    /// A `$[…]` that is no date form is ordinary text, such as part of a password.
    fn bracketed(&self, text: &str) -> Result<String, (String, String)> {
        let form = Form::parse(text);
        if form == Form::Other {
            return Ok(format!("$[{text}]"));
        }
        let unresolved = |why: &str| (format!("variable $[{text}] {why}"), "write $$[ for a literal $[".to_owned());
        let start = self.cyctime.map_err(unresolved)?;
        self.used.borrow_mut().params.insert("cyctime".to_owned());
        let value = self.shifted(&form, start, false).ok_or_else(|| unresolved("is out of the calendar"))?;
        self.used.borrow_mut().resolved.insert(format!("$[{text}]"), value.clone());
        Ok(value)
    }

    /// In `${…}` a form without days counts in its own unit: `${yyyymm-1}` is the month before. In `$[…]` it is days always.
    fn shifted(&self, form: &Form, start: DateTime, by_own_unit: bool) -> Option<String> {
        let Form::Dates { parts, shift, .. } = form else { return None };
        let has = |part: Part| parts.contains(&part);
        let moved = match *shift {
            Shift::Months(months) => start.checked_add(Span::new().try_months(months).ok()?).ok()?,
            Shift::Days { seconds } if by_own_unit && !has(Part::Day) => {
                let count = seconds / SECONDS_PER_DAY;
                let months = if has(Part::Month) { count } else { count.checked_mul(12)? };
                start.checked_add(Span::new().try_months(months).ok()?).ok()?
            }
            Shift::Days { seconds } => start.checked_add(SignedDuration::from_secs(seconds)).ok()?,
        };
        Some(form.format(moved))
    }

    fn advice(&self, name: &str) -> String {
        match nearest(name, self.params.keys().map(String::as_str).chain(["bizdate", "cyctime"])) {
            Some(near) if near != name => format!("did you mean ${{{near}}}? Else give it a value: -p {name}=…"),
            _ => format!("give it a value: -p {name}=…, or write $${{{name}}} for the text itself"),
        }
    }
}

/// What stands inside `${…}` or `$[…]`, when it is made of dates.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Dates { parts: Vec<Part>, shift: Shift, day_only: bool },
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Year,
    ShortYear,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Literal(char),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shift {
    Days { seconds: i64 },
    Months(i64),
}

impl Form {
    /// `yyyymmdd`, `yyyy-mm-dd hh24:mi:ss`, with a distance in days behind it (`-1`, `+7*2`, `-1/24`, `-15/24/60`), or
    /// `add_months(yyyymm,-1)`.
    fn parse(text: &str) -> Self {
        let text = text.trim();
        if let Some(inside) = text.strip_prefix("add_months(").and_then(|rest| rest.strip_suffix(')')) {
            let parsed = inside.rsplit_once(',').and_then(|(form, months)| {
                let months = product(months.trim())?;
                Some((read_parts(form.trim())?, months))
            });
            return match parsed {
                Some(((parts, ""), months)) => Self::dates(parts, Shift::Months(months)),
                _ => Self::Other,
            };
        }
        match read_parts(text) {
            Some((parts, "")) => Self::dates(parts, Shift::Days { seconds: 0 }),
            Some((parts, distance)) => match days(distance) {
                Some(seconds) => Self::dates(parts, Shift::Days { seconds }),
                None => Self::Other,
            },
            None => Self::Other,
        }
    }

    fn dates(parts: Vec<Part>, shift: Shift) -> Self {
        let day_only = !parts.iter().any(|part| matches!(part, Part::Hour | Part::Minute | Part::Second));
        Self::Dates { parts, shift, day_only }
    }

    fn format(&self, moment: DateTime) -> String {
        let Self::Dates { parts, .. } = self else { return String::new() };
        let text = |part: &Part| match part {
            Part::Year => format!("{:04}", moment.year()),
            Part::ShortYear => format!("{:02}", moment.year().rem_euclid(100)),
            Part::Month => format!("{:02}", moment.month()),
            Part::Day => format!("{:02}", moment.day()),
            Part::Hour => format!("{:02}", moment.hour()),
            Part::Minute => format!("{:02}", moment.minute()),
            Part::Second => format!("{:02}", moment.second()),
            Part::Literal(c) => c.to_string(),
        };
        parts.iter().map(text).collect()
    }
}

fn format_date(date: &Date) -> String {
    Form::parse("yyyymmdd").format(date.to_datetime(jiff::civil::Time::midnight()))
}

/// The date parts at the beginning, at least one, and what follows them: nothing, or a distance.
fn read_parts(text: &str) -> Option<(Vec<Part>, &str)> {
    const WORDS: [(&str, Part); 7] = [
        ("yyyy", Part::Year),
        ("yy", Part::ShortYear),
        ("hh24", Part::Hour),
        ("mm", Part::Month),
        ("dd", Part::Day),
        ("mi", Part::Minute),
        ("ss", Part::Second),
    ];
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let word = WORDS.iter().find_map(|(word, part)| rest.strip_prefix(word).map(|after| (*part, after)));
        if let Some((part, after)) = word {
            parts.push(part);
            rest = after;
            continue;
        }
        let mut chars = rest.chars();
        let separator = chars.next().filter(|c| matches!(c, '-' | '/' | ':' | '.' | '_' | ' '));
        let goes_on = WORDS.iter().any(|(word, _)| chars.as_str().starts_with(word));
        match separator {
            Some(c) if goes_on && !parts.is_empty() => {
                parts.push(Part::Literal(c));
                rest = chars.as_str();
            }
            _ => break,
        }
    }
    (!parts.is_empty()).then_some((parts, rest.trim_start()))
}

/// A distance in days as seconds: a sign, a whole number, then `*n` and `/n`.
fn days(text: &str) -> Option<i64> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+')?),
    };
    let mut over = SECONDS_PER_DAY;
    let mut under: i64 = 1;
    let mut multiply = true;
    for piece in rest.split_inclusive(['*', '/']) {
        let (number, next) = match piece.strip_suffix('*') {
            Some(number) => (number, Some(true)),
            None => piece.strip_suffix('/').map_or((piece, None), |number| (number, Some(false))),
        };
        let number: i64 = number.trim().parse().ok().filter(|n| (0..=NUMBER_MAX).contains(n))?;
        if multiply {
            over = over.checked_mul(number)?;
        } else {
            under = under.checked_mul(number).filter(|n| *n > 0)?;
        }
        match next {
            Some(next) => multiply = next,
            None => return over.checked_div(under)?.checked_mul(sign),
        }
    }
    None
}

/// A product of whole numbers such as `12*-1`.
fn product(text: &str) -> Option<i64> {
    text.split('*').try_fold(1_i64, |product, number| {
        let number: i64 = number.trim().parse().ok()?;
        product.checked_mul(number)
    })
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

const SECONDS_PER_DAY: i64 = 86_400;
/// Larger numbers in a distance are slips, and would only overflow.
const NUMBER_MAX: i64 = 10_000_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::json;
    use super::super::zone::parse_zone;
    use super::*;

    fn vars(params: &[(&str, &str)]) -> Vars {
        let params: Vec<_> = params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        // 2024-03-01 00:30:05 in Shanghai, still February in UTC.
        Vars::new(&params, "2024-02-29T16:30:05Z".parse().unwrap(), &parse_zone("Asia/Shanghai").unwrap())
    }

    #[test]
    fn dates_count_from_bizdate_and_cyctime() {
        let vars = vars(&[]);
        for (text, wanted) in [
            ("${bizdate}", "20240229"),
            ("${cyctime}", "20240301003005"),
            ("${yyyymmdd}", "20240229"),
            ("${yyyymmdd-1}", "20240228"),
            ("${yyyy-mm-dd}", "2024-02-29"),
            ("${yyyy-mm-dd-1}", "2024-02-28"),
            ("${yyyymmdd+7*2}", "20240314"),
            ("${yyyymm-1}", "202401"),
            ("${yyyy-1}", "2023"),
            ("${yy}${mm}", "2402"),
            ("$[yyyymmdd]", "20240301"),
            ("$[yyyymmdd-1]", "20240229"),
            ("$[yyyymmddhh24miss]", "20240301003005"),
            ("$[yyyymmddhh24miss-1/24]", "20240229233005"),
            ("$[hh24miss-15/24/60]", "001505"),
            ("$[yyyy-mm-dd hh24:mi:ss]", "2024-03-01 00:30:05"),
            ("$[yyyymmdd - 1]", "20240229"),
            ("$[add_months(yyyymmdd,-1)]", "20240201"),
            ("$[add_months(yyyy,12*-1)]", "2023"),
            ("pt=${bizdate},h=$[hh24]", "pt=20240229,h=00"),
        ] {
            assert_eq!(vars.replace(text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn the_command_line_wins_and_moves_the_dates() {
        let vars = vars(&[("bizdate", "20200101"), ("dt", "x"), ("dt", "y"), ("mm", "own")]);
        for (text, wanted) in [
            ("${bizdate}", "20200101"),
            ("${yyyymmdd-1}", "20191231"),
            ("${dt}/${dt}", "y/y"),
            ("${mm}", "own"),
            ("$[yyyymmdd]", "20240301"),
        ] {
            assert_eq!(vars.replace(text).unwrap(), wanted, "{text}");
        }
        let vars = self::vars(&[("cyctime", "20200101120000")]);
        assert_eq!(vars.replace("${bizdate} $[yyyymmddhh24miss-1]").unwrap(), "20191231 20191231120000");
    }

    #[test]
    fn what_is_not_a_variable_stays() {
        let vars = vars(&[("x", "1")]);
        for text in ["$x", "pa$$word", "a$[0].b", "$[abc]", "$", "$]", "$[yyyymmdd", "cost $5 {x}", "$[yyyymmdd-x]"] {
            assert_eq!(vars.replace(text).unwrap(), text);
        }
        assert_eq!(vars.replace("$${x} $$[yyyymmdd] ${x}").unwrap(), "${x} $[yyyymmdd] 1");
    }

    #[test]
    fn a_value_is_not_read_again() {
        assert_eq!(vars(&[("a", "${b}$[yyyymmdd]")]).replace("${a}").unwrap(), "${b}$[yyyymmdd]");
    }

    #[test]
    fn unresolved_variables_are_errors_with_a_next_step() {
        let vars = vars(&[("date", "1")]);
        let refusal = |text: &str| vars.replace(text).unwrap_err();
        assert_eq!(refusal("a${dt}").0, "variable ${dt} has no value");
        assert!(refusal("${dt}").1.contains("-p dt=…"));
        assert!(refusal("${dates}").1.starts_with("did you mean ${date}?"));
        assert_eq!(refusal("${x").0, "a ${ has no closing }");
        assert!(refusal("${yyyymmddhh24}").0.contains("has a time of day"));
        assert!(refusal("${yyyymmdd-9999999}").0.contains("out of the calendar"));
        let odd = self::vars(&[("cyctime", "noon")]);
        assert!(odd.replace("$[yyyymmdd]").unwrap_err().0.contains("the given cyctime is not yyyymmddhh24miss"));
        assert_eq!(odd.replace("${cyctime}").unwrap(), "noon");
    }

    #[test]
    fn fills_a_tree_and_names_what_has_no_value() {
        let report = Report::default();
        let mut node = json::parse("{\"a\": {\"b\": [\"${x}\",\n \"${y}\"]}, \"n\": ${x}0}", &report).unwrap();
        vars(&[("x", "7")]).fill(&mut node, "", &report);
        assert_eq!(node.member("n").unwrap().value, Value::Text("70".into()));
        let said = report.finish("j").unwrap_err().to_string();
        assert!(said.starts_with("j:2:2: a.b[1]: variable ${y} has no value\n"), "{said}");
    }

    #[test]
    fn tells_what_it_fixed_and_what_was_not_needed() {
        let vars = vars(&[("x", "canary"), ("y", "canary")]);
        vars.replace("${x}${bizdate}$[yyyymm]").unwrap();
        let report = Report::default();
        vars.tell(&report);
        let notes: Vec<_> = report.finish("j").unwrap().into_iter().map(|note| note.text).collect();
        assert_eq!(
            notes,
            [
                "variables fixed at the start: $[yyyymm] = 202403, ${bizdate} = 20240229",
                "variables given but not used by the job: y"
            ]
        );
    }

    #[test]
    fn params_come_in_two_spellings() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(parse_params("a=b=c"), Ok(vec![pair("a", "b=c")]));
        assert_eq!(parse_params("-Da=1 -Db=x y -Dc="), Ok(vec![pair("a", "1"), pair("b", "x y"), pair("c", "")]));
        assert_eq!(parse_params(" -Da=1 "), Ok(vec![pair("a", "1")]));
        for wrong in ["a", "", "=1", "-D", "-Da", "a b=1", "${x}=1"] {
            assert!(parse_params(wrong).is_err_and(|why| !why.is_empty()) || wrong == "-D", "{wrong}");
        }
        assert_eq!(parse_params("-D").map(|p| p.len()), Ok(0));
    }
}
