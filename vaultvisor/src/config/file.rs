//! The raw JSON of a configuration: syntax, known keys and types, each problem with its JSON path.
//!
//! Serde stops at the first problem, drops duplicate keys without a word and names no path; an operator
//! who edits this file at night needs all three. So the text is parsed into [`Json`], which keeps
//! duplicates, and read through [`Reader`], which collects problems instead of stopping.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::error_chain::Shown;

/// A place is some names deep; who writes longer ones finds it by its beginning.
const MAX_PATH_CHARS: usize = 300;
/// What was found and what was expected, the names of the keys or networks among it.
const MAX_PROBLEM_CHARS: usize = 1000;

/// A JSON value whose objects keep every entry, duplicates too, in the order of the file.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A whole number that fits; others are [`Json::OtherNumber`].
    Unsigned(u64),
    /// A negative or fractional number.
    OtherNumber(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// What it is, for "found …" in a message.
    fn kind(&self) -> String {
        match self {
            Json::Null => "null".into(),
            Json::Bool(value) => value.to_string(),
            Json::Unsigned(value) => value.to_string(),
            Json::OtherNumber(value) => value.to_string(),
            Json::Text(text) => {
                let short: String = text.chars().take(60).collect();
                format!("{short:?}")
            }
            Json::List(_) => "an array".into(),
            Json::Object(_) => "an object".into(),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct JsonVisitor;
        impl<'de> Visitor<'de> for JsonVisitor {
            type Value = Json;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E: de::Error>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Unsigned(value))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Json, E> {
                Ok(u64::try_from(value).map_or(Json::OtherNumber(value as f64), Json::Unsigned))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Json, E> {
                Ok(Json::OtherNumber(value))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Json, E> {
                Ok(Json::Text(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Json::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Json::Object(entries))
            }
        }
        deserializer.deserialize_any(JsonVisitor)
    }
}

/// One thing that is wrong in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, as a JSON path: `vaults.kintsugi-1.stop.grace_secs`.
    pub path: String,
    /// What was found there, and what was expected.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.what) } else { write!(f, "{}: {}", self.path, self.what) }
    }
}

/// The keys that an object may have.
#[derive(Debug, Clone, Copy)]
pub struct Keys {
    /// All of them. Others are refused: a key that is ignored would be a promise that nobody keeps.
    pub known: &'static [&'static str],
}

/// A value at its path. Reading never stops: a problem is noted and the reader's default goes on.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    /// The JSON path.
    pub path: String,
    value: &'a Json,
}

/// Collects the problems of one file.
#[derive(Debug, Default)]
pub struct Reader {
    /// Everything found so far, in the order of the file.
    pub problems: Vec<Problem>,
}

fn child_path(parent: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    match (parent.is_empty(), plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{parent}.{key}"),
        (_, false) => format!("{parent}[{key:?}]"),
    }
}

impl<'a> Node<'a> {
    /// The whole file.
    pub fn root(value: &'a Json) -> Self {
        Self { path: String::new(), value }
    }

    /// The string here, if it is one; for values whose type depends on what is written.
    pub fn as_text(&self) -> Option<&'a str> {
        match self.value {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether an array is here, so that its length may be judged.
    pub fn is_list(&self) -> bool {
        matches!(self.value, Json::List(_))
    }

    /// Whether an object is here, so that its size may be judged.
    pub fn is_object(&self) -> bool {
        matches!(self.value, Json::Object(_))
    }
}

impl Reader {
    /// Notes a problem at a place. Both quote the file, in which anything may stand.
    pub fn problem(&mut self, path: &str, what: impl fmt::Display) {
        let path = Shown(path, MAX_PATH_CHARS).to_string();
        self.problems.push(Problem { path, what: Shown(what, MAX_PROBLEM_CHARS).to_string() });
    }

    fn expected(&mut self, node: &Node<'_>, expected: &str) {
        let found = node.value.kind();
        self.problem(&node.path, format!("found {found}, expected {expected}"));
    }

    /// The entries of an object with any keys, such as `vaults`.
    pub fn entries<'a>(&mut self, node: &Node<'a>, expected: &str) -> Vec<(&'a str, Node<'a>)> {
        let Json::Object(entries) = node.value else {
            self.expected(node, expected);
            return Vec::new();
        };
        let mut seen = Vec::new();
        for (key, value) in entries {
            let child = Node { path: child_path(&node.path, key), value };
            if seen.iter().any(|(earlier, _)| earlier == key) {
                self.problem(&child.path, "is there twice; expected each name once");
            } else {
                seen.push((key.as_str(), child));
            }
        }
        seen
    }

    /// The fields of an object whose keys are all known: others are problems.
    pub fn fields<'a>(&mut self, node: &Node<'a>, keys: &Keys) -> Fields<'a> {
        let entries = self.entries(node, "an object");
        for (key, child) in &entries {
            if !keys.known.contains(key) {
                let known = keys.known.join(", ");
                self.problem(&child.path, format!("unknown key, expected one of: {known}"));
            }
        }
        Fields { path: node.path.clone(), entries }
    }

    /// A string.
    pub fn text<'a>(&mut self, node: &Node<'a>) -> Option<&'a str> {
        if node.as_text().is_none() {
            self.expected(node, "a string");
        }
        node.as_text()
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, node: &Node<'_>) -> Option<bool> {
        if let Json::Bool(value) = node.value {
            return Some(*value);
        }
        self.expected(node, "true or false");
        None
    }

    /// A whole number in a range.
    pub fn number(&mut self, node: &Node<'_>, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        match node.value {
            Json::Unsigned(value) if range.contains(value) => Some(*value),
            _ => {
                self.expected(node, &format!("a whole number from {} to {}", range.start(), range.end()));
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn flag(&mut self, node: &Node<'_>) -> Option<bool> {
        match node.value {
            Json::Bool(value) => Some(*value),
            _ => {
                self.expected(node, "true or false");
                None
            }
        }
    }

    /// The items of an array.
    pub fn list<'a>(&mut self, node: &Node<'a>, expected: &str) -> Vec<Node<'a>> {
        let Json::List(items) = node.value else {
            self.expected(node, expected);
            return Vec::new();
        };
        let item = |(index, value)| Node { path: format!("{}[{index}]", node.path), value };
        items.iter().enumerate().map(item).collect()
    }

    /// An array of strings.
    pub fn texts(&mut self, node: &Node<'_>) -> Vec<String> {
        let items = self.list(node, "an array of strings");
        items.iter().filter_map(|item| self.text(item).map(str::to_owned)).collect()
    }

    /// A string that a type's own parser takes; its refusal becomes the problem.
    pub fn parsed<T>(&mut self, node: &Node<'_>) -> Option<T>
    where
        T: std::str::FromStr,
        T::Err: fmt::Display,
    {
        let text = self.text(node)?;
        text.parse().map_err(|refusal: T::Err| self.problem(&node.path, refusal.to_string())).ok()
    }
}

/// The fields of one object.
#[derive(Debug)]
pub struct Fields<'a> {
    path: String,
    entries: Vec<(&'a str, Node<'a>)>,
}

impl<'a> Fields<'a> {
    /// A field that may be absent.
    pub fn get(&self, key: &str) -> Option<&Node<'a>> {
        self.entries.iter().find(|(name, _)| *name == key).map(|(_, node)| node)
    }

    /// A field that must be there.
    pub fn required(&self, key: &str, reader: &mut Reader, what: &str) -> Option<&Node<'a>> {
        let found = self.get(key);
        if found.is_none() {
            reader.problem(&child_path(&self.path, key), format!("is missing, expected {what}"));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn a_key_that_is_there_twice_is_a_problem_and_not_dropped() {
        let value = json(r#"{"vaults": {"a": 1, "a": 2}}"#);
        let mut reader = Reader::default();
        let fields = reader.fields(&Node::root(&value), &Keys { known: &["vaults"] });
        let vaults = reader.entries(fields.get("vaults").expect("vaults"), "an object");
        assert_eq!(vaults.len(), 1);
        assert_eq!(reader.problems.len(), 1);
        assert_eq!(reader.problems[0].path, "vaults.a");
    }

    #[test]
    fn problems_carry_path_found_and_expected() {
        let value = json(r#"{"a": {"b c": [1, "x"]}, "typo": 0}"#);
        let mut reader = Reader::default();
        let fields = reader.fields(&Node::root(&value), &Keys { known: &["a"] });
        let inner = reader.entries(fields.get("a").expect("a"), "an object");
        reader.texts(&inner[0].1);
        let said: Vec<String> = reader.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            ["typo: unknown key, expected one of: a", r#"a["b c"][0]: found 1, expected a string"#]
        );
    }

    #[test]
    fn numbers_out_of_range_and_fractions_are_refused() {
        let value = json("[0, 5, 9, -1, 1.5, \"3\"]");
        let mut reader = Reader::default();
        let items = reader.list(&Node::root(&value), "an array");
        let read: Vec<_> = items.iter().map(|item| reader.number(item, 1..=8)).collect();
        assert_eq!(read, [None, Some(5), None, None, None, None]);
        assert_eq!(reader.problems.len(), 5);
    }
}
