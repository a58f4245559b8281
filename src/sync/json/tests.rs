#![allow(clippy::unwrap_used)]
use super::*;

fn steps(path: &[&str]) -> Vec<Step> {
    path.iter().map(|p| p.parse().map_or_else(|_| Step::Member((*p).to_owned()), Step::Index)).collect()
}

/// Finds one column in a document and renders it.
fn one(document: &str, name: &str, path: &[&str]) -> Result<Option<String>, NotJson> {
    let steps = steps(path);
    let members = Members::new([(name, steps.as_slice())]);
    let found = members.find(document)?;
    Ok(found.raw(0).and_then(|raw| match leaf(raw) {
        Leaf::Null => None,
        Leaf::Text { text, .. } => Some(text.into_owned()),
    }))
}

#[test]
fn the_seed_columns() {
    let document = r#"{"event_id":"e1","tag":{"desc":"d"}}"#;
    assert_eq!(one(document, "event_id", &["event_id"]), Ok(Some("e1".into())));
    assert_eq!(one(document, "tag.desc", &["tag", "desc"]), Ok(Some("d".into())));
}

#[test]
fn literal_name_comes_before_the_path() {
    let document = r#"{"tag":{"desc":"path"},"tag.desc":"literal"}"#;
    assert_eq!(one(document, "tag.desc", &["tag", "desc"]), Ok(Some("literal".into())));
    let document = r#"{"tag.desc":null,"tag":{"desc":"path"}}"#;
    assert_eq!(one(document, "tag.desc", &["tag", "desc"]), Ok(None));
}

#[test]
fn text_that_is_no_object_or_array_is_not_json() {
    for document in
        ["", "123", "abc", "null", "true", "\"s\"", "{", "{}x", "{\"a\":1,}", "[1,]", "  ", "{\"a\":\"\n\"}"]
    {
        assert_eq!(one(document, "a", &["a"]), Err(NotJson), "{document}");
    }
    assert_eq!(one(" {} ", "a", &["a"]), Ok(None));
}

#[test]
fn leaves_keep_their_text() {
    let document = r#"{"n":1.10,"b":true,"o":{"z": 1, "a":[ 1.0 , "x y\" z" ]},"s":"q\"\u00e9","z":null,"e":1E5}"#;
    let get = |name: &str| one(document, name, &[name]).unwrap();
    assert_eq!(get("n").as_deref(), Some("1.10"));
    assert_eq!(get("b").as_deref(), Some("true"));
    assert_eq!(get("o").as_deref(), Some(r#"{"z":1,"a":[1.0,"x y\" z"]}"#));
    assert_eq!(get("s").as_deref(), Some("q\"é"));
    assert_eq!(get("z"), None);
    assert_eq!(get("e").as_deref(), Some("1E5"));
    assert_eq!(get("missing"), None);
}

#[test]
fn the_last_duplicate_wins_with_all_that_is_in_it() {
    assert_eq!(one(r#"{"a":1,"a":2}"#, "a", &["a"]), Ok(Some("2".into())));
    assert_eq!(one(r#"{"t":{"d":1},"t":{}}"#, "t.d", &["t", "d"]), Ok(None));
    assert_eq!(one(r#"{"t":{"d":1},"t":5}"#, "t.d", &["t", "d"]), Ok(None));
    assert_eq!(one(r#"{"\u0061":1}"#, "a", &["a"]), Ok(Some("1".into())));
}

#[test]
fn arrays_by_index() {
    assert_eq!(one(r#"{"a":[{"b":1},{"b":2}]}"#, "a[1].b", &["a", "1", "b"]), Ok(Some("2".into())));
    assert_eq!(one(r#"[{"b":7}]"#, "[0].b", &["0", "b"]), Ok(Some("7".into())));
    assert_eq!(one(r#"{"a":[1]}"#, "a[3]", &["a", "3"]), Ok(None));
    assert_eq!(one(r#"{"a":{"0":1}}"#, "a[0]", &["a", "0"]), Ok(None));
}

#[test]
fn a_member_and_its_inside_at_once() {
    let (whole, inside) = (steps(&["t"]), steps(&["t", "d"]));
    let members = Members::new([("t", whole.as_slice()), ("t.d", inside.as_slice())]);
    let found = members.find(r#"{"t": {"d" : 1}}"#).unwrap();
    assert_eq!(found.raw(0).map(leaf), Some(Leaf::Text { text: r#"{"d":1}"#.into(), malformed: false }));
    assert_eq!(found.raw(1), Some("1"));
}

#[test]
fn lone_surrogates_are_replaced_and_reported() {
    let expected = |text: &str| Leaf::Text { text: text.to_owned().into(), malformed: true };
    assert_eq!(leaf(r#""a\ud800b\n""#), expected("a\u{fffd}b\n"));
    assert_eq!(leaf(r#""\ud83d\ude00\udc00""#), expected("😀\u{fffd}"));
}
