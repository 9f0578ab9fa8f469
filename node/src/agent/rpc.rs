//! JSON-RPC 2.0: one line of bytes becomes a checked call, or the failure to send back, exactly once.
//!
//! Only the envelope is kept in memory while it is checked; params are read straight into the command, so a large
//! line costs its own size once more at most, and secrets are not copied into a generic tree.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::app::{Answer, Command, Notice, Refusal};

const PARSE_ERROR: i32 = -32_700;
const INVALID_REQUEST: i32 = -32_600;
const METHOD_NOT_FOUND: i32 = -32_601;
const INVALID_PARAMS: i32 = -32_602;
const APPLICATION: i32 = -32_000;

/// A request's id: given back as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum Id {
    Number(serde_json::Number),
    Text(String),
    Null,
}

/// A request whose form is right; without an id nobody waits for the answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) id: Option<Id>,
    pub(super) command: Command,
}

/// An error of the form of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    id: Id,
    code: i32,
    message: String,
}

impl Failure {
    fn new(id: Id, code: i32, message: impl Into<String>) -> Self {
        Self { id, code, message: message.into() }
    }

    /// A line over the limit.
    pub(super) fn too_long() -> Self {
        Self::new(Id::Null, INVALID_REQUEST, "invalid request: the line is over 16 MiB")
    }

    /// The error reply, without a line end.
    pub(super) fn to_line(&self) -> Option<Vec<u8>> {
        let error = ErrorBody { code: self.code, message: &self.message, data: None };
        line(&Response { jsonrpc: "2.0", id: &self.id, result: None, error: Some(error) })
    }
}

/// Reads one line.
///
/// # Errors
/// `Some` is the failure to send back; `None` is a notification that cannot be followed, which gets no reply.
pub(super) fn parse(bytes: &[u8]) -> Result<Call, Option<Failure>> {
    let fail = |code, message: &str| Some(Failure::new(Id::Null, code, message));
    let text = std::str::from_utf8(bytes).map_err(|_| fail(PARSE_ERROR, "parse error: not UTF-8"))?;
    if !text.trim_start_matches([' ', '\t', '\r']).starts_with('{') {
        let json = serde_json::from_str::<IgnoredAny>(text).is_ok();
        return Err(if json {
            fail(INVALID_REQUEST, "invalid request: one object per line, no batches")
        } else {
            fail(PARSE_ERROR, "parse error: not JSON")
        });
    }
    let head: Head = serde_json::from_str(text).map_err(|e| match e.classify() {
        serde_json::error::Category::Data => fail(INVALID_REQUEST, "invalid request: a member appears twice"),
        _ => fail(PARSE_ERROR, "parse error: not JSON"),
    })?;
    let id = match head.id {
        None => None,
        Some(Shape::Null) => Some(Id::Null),
        Some(Shape::Number(number)) => Some(Id::Number(number)),
        Some(Shape::Text(text)) => Some(Id::Text(text)),
        Some(_) => return Err(fail(INVALID_REQUEST, "invalid request: id is a number, a string or null")),
    };
    let invalid = |message: &str| {
        let id = id.clone().unwrap_or(Id::Null);
        Some(Failure::new(id, INVALID_REQUEST, message))
    };
    if !matches!(&head.jsonrpc, Some(Shape::Text(version)) if version == "2.0") {
        return Err(invalid("invalid request: jsonrpc must be \"2.0\""));
    }
    let Some(Shape::Text(method)) = head.method else {
        return Err(invalid("invalid request: method must be a string"));
    };
    let refuse = |code, message: String| id.clone().map(|id| Failure::new(id, code, message));
    if !Command::METHODS.contains(&method.as_str()) {
        return Err(refuse(METHOD_NOT_FOUND, "method not found".into()));
    }
    let command = match head.params {
        None => serde_json::from_value(serde_json::json!({ "method": method, "params": {} })),
        Some(Shape::Object) => serde_json::from_str(text),
        Some(_) => return Err(refuse(INVALID_PARAMS, "invalid params: params must be an object".into())),
    };
    match command {
        Ok(command) => Ok(Call { id, command }),
        Err(e) => Err(refuse(INVALID_PARAMS, explain(&e))),
    }
}

/// What is wrong with params, without repeating what was sent: it may be a secret.
fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(before, _)| before);
    if let Some((_, expected)) = text.rsplit_once(", expected ") {
        return format!("invalid params: expected {expected}");
    }
    let known = ["missing field ", "duplicate field ", "an id is "].iter().any(|start| text.starts_with(start));
    if known { format!("invalid params: {text}") } else { "invalid params: a field has a wrong value".into() }
}

/// The reply to a request, without a line end.
pub(super) fn reply(id: &Id, result: &Result<Answer, Refusal>) -> Option<Vec<u8>> {
    let response = match result {
        Ok(answer) => Response { jsonrpc: "2.0", id, result: Some(answer), error: None },
        Err(refusal) => {
            let data = Some(Data { kind: refusal.kind.as_str() });
            let error = ErrorBody { code: APPLICATION, message: refusal.message, data };
            Response { jsonrpc: "2.0", id, result: None, error: Some(error) }
        }
    };
    line(&response)
}

/// An event, without a line end.
pub(super) fn notification(notice: &Notice) -> Option<Vec<u8>> {
    line(&Notification { jsonrpc: "2.0", method: "event", params: notice })
}

/// Says that events were dropped because the reader was too slow.
pub(super) fn events_missed() -> Option<Vec<u8>> {
    notification(&Notice::Warning { text: "events came faster than they were read, and some were dropped: list again" })
}

fn line<T: Serialize>(value: &T) -> Option<Vec<u8>> {
    serde_json::to_vec(value).map_err(|_| tracing::error!("a reply could not be written as JSON")).ok()
}

#[derive(Serialize)]
struct Response<'a> {
    jsonrpc: &'static str,
    id: &'a Id,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorBody<'a>>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: i32,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Data>,
}

#[derive(Serialize)]
struct Data {
    kind: &'static str,
}

#[derive(Serialize)]
struct Notification<'a> {
    jsonrpc: &'static str,
    method: &'static str,
    params: &'a Notice,
}

/// The members of a request, whatever their types; others are ignored.
#[derive(Deserialize)]
struct Head {
    #[serde(default, deserialize_with = "present")]
    jsonrpc: Option<Shape>,
    #[serde(default, deserialize_with = "present")]
    id: Option<Shape>,
    #[serde(default, deserialize_with = "present")]
    method: Option<Shape>,
    #[serde(default, deserialize_with = "present")]
    params: Option<Shape>,
}

/// Keeps "absent" apart from `null`.
fn present<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Shape>, D::Error> {
    Shape::deserialize(d).map(Some)
}

/// Any JSON value, without what is inside it.
enum Shape {
    Null,
    Bool,
    Number(serde_json::Number),
    Text(String),
    Array,
    Object,
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Bool)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Shape, E> {
        Ok(Shape::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Shape, E> {
        Ok(Shape::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Shape, E> {
        Ok(serde_json::Number::from_f64(number).map_or(Shape::Null, Shape::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Shape, E> {
        Ok(Shape::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Shape::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Shape::Object)
    }
}

#[cfg(test)]
mod tests;
